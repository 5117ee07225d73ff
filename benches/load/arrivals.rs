//! Statistics of when requests arrived and of what was told of their first tokens.

use serde_json::Value;

/// The measured requests among the server's rows: the first is the warm-up.
pub fn after_warmup(mut rows: Vec<Value>) -> Vec<Value> {
    rows.remove(0);
    rows
}

/// Arrivals by the server's clock, µs, sorted.
pub struct Arrivals(Vec<f64>);

impl Arrivals {
    /// The arrivals of these rows.
    pub fn of(did: &[Value]) -> Self {
        Self(sorted(did, "arrived_us"))
    }

    /// The due times of these rows of bench-load: what arrivals would be without any lateness.
    pub fn due(said: &[Value]) -> Self {
        let measured: Vec<Value> = said.iter().filter(|row| row["phase"] == "measured").cloned().collect();
        Self(sorted(&measured, "due_us"))
    }

    fn gaps(&self) -> Vec<f64> {
        self.0.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn span(&self) -> f64 {
        self.0[self.0.len() - 1] - self.0[0]
    }

    /// Requests per second, from the first arrival to the last.
    pub fn rate(&self) -> f64 {
        (self.0.len() - 1) as f64 * 1e6 / self.span()
    }

    /// Kolmogorov and Smirnov's distance of the gaps' distribution from 1 − exp(−rate × gap).
    pub fn ks(&self, rate: f64) -> f64 {
        let mut gaps = self.gaps();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        let distance = |(i, gap): (usize, &f64)| {
            let expected = 1.0 - (-rate * gap / 1e6).exp();
            (expected - i as f64 / n).abs().max((expected - (i + 1) as f64 / n).abs())
        };
        gaps.iter().enumerate().map(distance).fold(0.0, f64::max)
    }

    /// Standard deviation of the gaps over their mean.
    pub fn cv(&self) -> f64 {
        let gaps = self.gaps();
        variance(&gaps).sqrt() / mean(&gaps)
    }

    /// Variance of the counts in windows of so many µs, over their mean.
    pub fn dispersion(&self, window: f64) -> f64 {
        let mut counts = vec![0.0; (self.span() / window) as usize];
        for at in &self.0 {
            // What is left of the last window is no window.
            if let Some(count) = counts.get_mut(((at - self.0[0]) / window) as usize) {
                *count += 1.0;
            }
        }
        variance(&counts) / mean(&counts)
    }

    /// How much a gap says about the next: 0 for independent ones.
    pub fn autocorrelation(&self) -> f64 {
        let gaps = self.gaps();
        let mean = mean(&gaps);
        let together: f64 = gaps.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        together / (variance(&gaps) * gaps.len() as f64)
    }
}

/// What TTFT was told beyond the true one, from the due time to the server's write of the first token; request by request,
/// in sorted order, ms.
///
/// The two clocks differ by an unknown constant. A request takes some time from its stamp to the server, an answer some
/// from the server to its stamp; the least of both is taken for equal, as NTP does.
pub fn ttft_errors_ms(said: &[Value], did: &[Value]) -> Vec<f64> {
    let measured: Vec<Value> = said.iter().filter(|row| row["phase"] == "measured").cloned().collect();
    let least = |later: &[f64], earlier: &[f64]| {
        later.iter().zip(earlier).map(|(later, earlier)| later - earlier).fold(f64::INFINITY, f64::min)
    };
    let (sent, arrived) = (sorted(&measured, "sent_us"), sorted(did, "arrived_us"));
    let (written, read) = (sorted(did, "first_token_us"), sorted(&measured, "first_token_us"));
    let difference = (least(&arrived, &sent) - least(&read, &written)) / 2.0;
    written.iter().zip(&read).map(|(written, read)| (read + difference - written) / 1000.0).collect()
}

/// From the arrival of each request to the server's write of its first token, ms.
pub fn true_ttft_ms(did: &[Value]) -> Vec<f64> {
    let ttft = |row: &Value| Some((row["first_token_us"].as_f64()? - row["arrived_us"].as_f64()?) / 1000.0);
    did.iter().filter_map(ttft).collect()
}

/// Most requests that were under way at once.
pub fn most_in_flight(did: &[Value]) -> f64 {
    let (arrived, ended) = (sorted(did, "arrived_us"), sorted(did, "end_us"));
    let at_once = |(i, at): (usize, &f64)| i + 1 - ended.partition_point(|end| end < at);
    arrived.iter().enumerate().map(at_once).max().unwrap_or(0) as f64
}

fn sorted(rows: &[Value], key: &str) -> Vec<f64> {
    let mut values: Vec<f64> = rows.iter().filter_map(|row| row[key].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The mean of the values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

/// A percentile of values in any order; NaN of none.
pub fn percentile(values: &[f64], q: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    serving_bench::metrics::sample::percentile(&values, q).unwrap_or(f64::NAN)
}
