//! Whether the client kept up with its own schedule.

use super::pace::Heartbeat;
use crate::metrics::sample::percentile;
use crate::rows::kinds::{ClientHealth, Load, LoadMode};

/// A request sent later than this counts as late, ms.
const LATE_MS: f64 = 10.0;
/// The client is saturated if more than this share of its requests is late.
const LATE_SHARE: f64 = 0.01;
/// In a run of fewer requests than this, 1 % are too few to tell: there the size of the lag counts too.
const FEW: usize = 300;
/// In such a run the client is saturated if the 99th percentile of its lags is more than this share of that of the
/// latencies that include it.
const LAG_SHARE: f64 = 0.1;
/// The client is saturated if it did not run for longer than this, ms.
const HEARTBEAT_GAP_MS: f64 = 100.0;

/// When the measured requests of a run left, and how long they took.
#[derive(Debug, Clone, Default)]
pub struct Lateness {
    /// Sent − due of each, ms; empty in closed loop.
    pub lags: Vec<f64>,
    /// First token − due of those that succeeded, or end − due where there is no first token, ms.
    pub latencies: Vec<f64>,
}

impl Lateness {
    /// The health of the client, and if it fell behind, how that was seen.
    pub fn health(&mut self, heartbeat: &Heartbeat, load: &Load) -> (ClientHealth, Option<String>) {
        self.judge(load, heartbeat.gap_ms(), heartbeat.cpu_share(), heartbeat.host_cpu_share())
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of requests")]
    fn judge(&mut self, load: &Load, gap: f64, cpu: f64, host: Option<f64>) -> (ClientHealth, Option<String>) {
        let Self { lags, latencies } = self;
        lags.sort_by(f64::total_cmp);
        latencies.sort_by(f64::total_cmp);
        let late = lags.iter().filter(|lag| **lag > LATE_MS).count();
        let n = lags.len();
        // In a burst all requests are due at once: that they leave one after the other is the load, not lateness of the client.
        let late_share = (n > 0 && load.mode == LoadMode::Open).then(|| late as f64 / n as f64);
        let weighs = n >= FEW
            || percentile(lags, 99.0)
                .zip(percentile(latencies, 99.0))
                .is_none_or(|(lag, latency)| lag > LAG_SHARE * latency);
        // A single late request says nothing, even if it is more than 1 % of a short run.
        let behind = late > 1 && weighs && late_share.is_some_and(|share| share > LATE_SHARE);
        let starved = gap > HEARTBEAT_GAP_MS;
        let mut why = Vec::new();
        if behind {
            let most = lags.last().copied().unwrap_or_default();
            why.push(format!("{late} of {n} requests left up to {most:.0} ms late"));
        }
        if starved {
            why.push(format!("the load generator got no CPU for {gap:.0} ms"));
        }
        let busy = host.map(|share| format!("; this host's CPUs were {:.0} % busy", 100.0 * share));
        let why = (!why.is_empty()).then(|| {
            let seen = why.join(", ");
            format!("{seen}{}; use an idle machine or a lower rate", busy.unwrap_or_default())
        });
        let health = ClientHealth {
            lag_p50_ms: percentile(lags, 50.0),
            lag_p99_ms: percentile(lags, 99.0),
            late_share,
            heartbeat_gap_ms: Some(gap),
            cpu_share: Some(cpu),
            host_cpu_share: host,
            connections: None,
            saturated: why.is_some(),
        };
        (health, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(lags: Vec<f64>, latencies: Vec<f64>, gap: f64) -> Option<String> {
        let load = Load { mode: LoadMode::Open, ..Load::default() };
        let (health, why) = Lateness { lags, latencies }.judge(&load, gap, 0.2, Some(0.97));
        assert_eq!(health.saturated, why.is_some());
        why
    }

    fn few(late: &[f64]) -> Vec<f64> {
        late.iter().copied().chain(std::iter::repeat_n(0.1, 40 - late.len())).collect()
    }

    #[test]
    fn in_a_short_run_lag_counts_against_the_latencies_that_include_it() {
        assert_eq!(judge(few(&[13.0, 28.0]), vec![600.0; 40], 5.0), None);
        let why = judge(few(&[13.0, 28.0]), vec![60.0; 40], 5.0).unwrap();
        assert!(why.starts_with("2 of 40 requests left up to 28 ms late; this host's CPUs were 97 % busy"), "{why}");
        assert_eq!(judge(few(&[28.0]), vec![60.0; 40], 5.0), None, "one request says nothing");
        assert!(judge(few(&[13.0, 28.0]), vec![], 5.0).is_some(), "nothing to compare with");
    }

    #[test]
    fn in_a_long_run_one_percent_late_is_enough() {
        let lags = |late: usize| (0..400).map(|i| if i < late { 12.0 } else { 0.1 }).collect();
        assert_eq!(judge(lags(4), vec![5000.0; 400], 5.0), None);
        assert!(judge(lags(5), vec![5000.0; 400], 5.0).is_some());
    }

    #[test]
    fn a_client_that_got_no_cpu_says_for_how_long() {
        let why = judge(few(&[]), vec![5000.0; 40], 412.3).unwrap();
        assert!(why.starts_with("the load generator got no CPU for 412 ms; this host's"), "{why}");
    }
}
