//! The metrics of a run from its requests.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::sla::Limits;
use super::stability::Span;
use super::timing;
use super::timing::Timing;
use crate::rows::kinds::{LoadMode, Request, RequestStatus, Spread};
use crate::rows::words::{Latency, Statistic};

/// The `q`-th percentile of sorted values, q from 0 to 100: Hyndman and Fan's type 7, linear between the order statistics
/// at (n − 1)·q/100, as in numpy. Any weight on an infinite value gives infinity. `None` without values.
#[must_use]
pub fn percentile<T: Copy + Into<f64>>(sorted: &[T], q: f64) -> Option<f64> {
    percentile_with(sorted, 0, q)
}

/// The same for sorted values followed by `infinite` infinite ones.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub fn percentile_with<T: Copy + Into<f64>>(sorted: &[T], infinite: usize, q: f64) -> Option<f64> {
    let at = ((sorted.len() + infinite).checked_sub(1)? as f64) * q / 100.0;
    let (low, part) = (at.floor() as usize, at.fract());
    let value = |i: usize| sorted.get(i).map_or(f64::INFINITY, |value| (*value).into());
    let lower = value(low);
    if part == 0.0 {
        return Some(lower);
    }
    let upper = value(low + 1);
    Some(if upper.is_infinite() { upper } else { lower + (upper - lower) * part })
}

/// The mean; `None` without values.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of requests")]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The spread of sorted values: their number, standard deviation (of a sample: n − 1), minimum and maximum. `None` without
/// values.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of requests")]
pub fn spread(sorted: &[f64]) -> Option<Spread> {
    let (mean, n) = (mean(sorted)?, sorted.len());
    let squares = sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let sd = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
    Some(Spread { n: n as u64, sd, min: *sorted.first()?, max: *sorted.last()? })
}

/// A statistic of the gaps between tokens, ms; `None` without values.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "µs far below 2^52")]
pub fn gap_ms(gaps: Option<&Histogram<u64>>, statistic: Statistic) -> Option<f64> {
    let gaps = gaps.filter(|gaps| !gaps.is_empty())?;
    let us = match statistic.quantile() {
        Some(q) => gaps.value_at_quantile(q) as f64,
        None => gaps.mean(),
    };
    Some(us / 1000.0)
}

/// A distribution in the form of a row: HdrHistogram V2, compressed, base64; `None` if it is empty.
#[must_use]
pub fn encode(histogram: &Histogram<u64>) -> Option<String> {
    let mut bytes = Vec::new();
    if histogram.is_empty() || V2DeflateSerializer::new().serialize(histogram, &mut bytes).is_err() {
        return None;
    }
    Some(STANDARD.encode(bytes))
}

/// The distribution that [`encode`] wrote; `None` for any other text.
#[must_use]
pub fn decode(text: &str) -> Option<Histogram<u64>> {
    Deserializer::new().deserialize(&mut STANDARD.decode(text).ok()?.as_slice()).ok()
}

/// Metrics that a row also has per GPU.
const PER_GPU: [&str; 6] =
    ["request_throughput", "output_token_throughput", "total_token_throughput", "goodput", "max_qps", "max_users"];

/// A successful request, for the throughput within the measured time.
#[derive(Debug, Clone, Copy)]
struct ServedRequest {
    first_s: f64,
    last_s: f64,
    input: f64,
    output: f64,
}

/// The measured requests of a run in compact form.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Number of requests that were scheduled.
    pub scheduled: u32,
    /// Number of requests by status.
    pub by_status: BTreeMap<RequestStatus, u64>,
    /// TTFT of the successful ones, ms; sorted after [`Sample::close`], like the next ones.
    pub ttft: Vec<f64>,
    /// Time to the first token of the answer itself, ms, for answers with reasoning before it.
    pub ttfat: Vec<f64>,
    /// TPOT, ms.
    pub tpot: Vec<f64>,
    /// E2E, ms.
    pub e2e: Vec<f64>,
    /// Prompt tokens of the successful ones.
    pub input: Vec<u32>,
    /// Output tokens of the successful ones, as counted by the server.
    pub output: Vec<u32>,
    /// Prompt tokens that came from a cache.
    pub cached: f64,
    /// Number of successful requests within every limit.
    pub good: u32,
    /// The highest that TPOT can have been of those whose tokens arrived all at once, ms.
    pub tpot_bounds: Vec<f64>,
    /// Answers of which more than a tenth of the tokens arrived together with the first one.
    pub together: u32,
    /// Largest number of choices of an answer.
    pub choices: u32,
    /// For some request only chunks were counted, not tokens.
    pub counted_chunks: bool,
    /// Start and end of each request.
    pub spans: Vec<Span>,
    /// Start of the first and of the last of them, s.
    pub starts: Option<(f64, f64)>,
    /// The load also ran before and after the measured requests: throughput then counts what was served within the measured
    /// time, for all requests.
    pub steady: bool,
    served: Vec<ServedRequest>,
    chunks: f64,
    first_sent_s: Option<f64>,
    last_due_s: f64,
    last_token_s: f64,
    last_end_s: f64,
}

impl Sample {
    /// An empty sample; `steady` if the load also runs before and after the measured requests.
    #[must_use]
    pub fn of(steady: bool) -> Self {
        Self { steady, ..Self::default() }
    }

    /// Adds one measured request.
    pub fn add(&mut self, request: &Request, limits: &Limits) {
        self.scheduled += 1;
        *self.by_status.entry(request.status).or_default() += 1;
        let seconds = |at: Option<crate::rows::units::Micros>| at.map(crate::rows::units::Micros::seconds);
        if let Some(sent) = seconds(request.sent_us) {
            self.first_sent_s = Some(self.first_sent_s.map_or(sent, |first| first.min(sent)));
        }
        self.last_due_s = self.last_due_s.max(seconds(request.due_us).unwrap_or(0.0));
        let begun = seconds(request.due_us).or(seconds(request.sent_us));
        // A dropped request was never in flight.
        let ended = seconds(request.end_us).filter(|_| request.status != RequestStatus::Dropped);
        let timing = timing::timing(request);
        if let (Some(start), Some(end)) = (begun, ended) {
            let latency = timing.as_ref().map(|timing| timing.ttft.unwrap_or(timing.e2e).0 / 1000.0);
            let (from, to) = self.starts.unwrap_or((start, start));
            self.starts = Some((from.min(start), to.max(start)));
            #[allow(clippy::cast_possible_truncation, reason = "as its type says")]
            self.spans.push(Span { start: start as f32, end: end as f32, ttft: latency.map(|s| s as f32) });
        }
        let Some(timing) = timing else {
            // The time of failures is part of the run: a server that answers a few requests and then none is not fast.
            let end = seconds(request.end_us).or(seconds(request.due_us)).unwrap_or(0.0);
            self.last_token_s = self.last_token_s.max(end);
            self.last_end_s = self.last_end_s.max(end);
            return;
        };
        self.last_end_s = self.last_end_s.max(seconds(request.end_us).unwrap_or(0.0));
        let last = seconds(request.last_token_us.or(request.end_us)).unwrap_or(0.0);
        self.last_token_s = self.last_token_s.max(last);
        self.around(request);
        self.chunks += f64::from(request.chunks);
        self.ttft.extend(timing.ttft.map(|t| t.0));
        self.ttfat.extend(timing.ttfat.map(|t| t.0));
        self.tpot.extend(timing.tpot.map(|t| t.0));
        self.tpot_bounds.extend(timing.tpot_bound.map(|bound| bound.0));
        let at_once = request.first_tokens.zip(request.output_tokens).is_some_and(|(first, all)| first * 10 > all);
        self.together += u32::from(at_once);
        self.choices = self.choices.max(request.choices.unwrap_or(1));
        self.e2e.push(timing.e2e.0);
        self.input.extend(request.input_tokens);
        match timing::output_tokens(request) {
            Some(tokens) => self.output.push(tokens),
            None => self.counted_chunks = true,
        }
        self.cached += request.cached_tokens.map_or(0.0, f64::from);
        self.good += u32::from(is_good(&timing, limits));
    }

    /// Adds a request to the throughput within the measured time, whether or not it is measured itself.
    pub fn around(&mut self, request: &Request) {
        if request.status != RequestStatus::Ok || !self.steady {
            return;
        }
        let last = request.last_token_us.or(request.end_us);
        let (Some(first), Some(last)) = (request.first_token_us.or(last), last) else { return };
        self.served.push(ServedRequest {
            first_s: first.seconds(),
            last_s: last.seconds(),
            input: request.input_tokens.map_or(0.0, f64::from),
            output: timing::output_tokens(request).map_or(0.0, f64::from),
        });
    }

    /// Requests, input tokens and output tokens per second of the measured time. A request counts at its last token, its prompt
    /// at its first token, and its output evenly between the two.
    fn within(&self) -> Option<(f64, f64, f64)> {
        let (from, to) = self.starts?;
        let width = to - from;
        if !self.steady || width <= 0.0 {
            return None;
        }
        let inside = |at: f64| at >= from && at < to;
        let mut sums = (0.0, 0.0, 0.0);
        for one in &self.served {
            sums.0 += f64::from(u8::from(inside(one.last_s)));
            sums.1 += if inside(one.first_s) { one.input } else { 0.0 };
            let length = one.last_s - one.first_s;
            let share = match length > 0.0 {
                true => (one.last_s.min(to) - one.first_s.max(from)).max(0.0) / length,
                false => f64::from(u8::from(inside(one.last_s))),
            };
            sums.2 += one.output * share;
        }
        Some((sums.0 / width, sums.1 / width, sums.2 / width))
    }

    /// Time from the first request sent to the last end, s; `None` if the send times are unknown.
    #[must_use]
    pub fn window(&self) -> Option<f64> {
        let (first, last) = self.starts?;
        self.first_sent_s.map(|sent| self.last_end_s - sent).filter(|window| *window > 0.0 && last > first)
    }

    /// Sorts the values for percentiles.
    pub fn close(&mut self) {
        for values in [&mut self.ttft, &mut self.ttfat, &mut self.tpot, &mut self.e2e] {
            values.sort_unstable_by(f64::total_cmp);
        }
        self.input.sort_unstable();
        self.output.sort_unstable();
    }

    /// Number of requests that succeeded.
    #[must_use]
    pub fn ok(&self) -> u32 {
        u32::try_from(self.e2e.len()).unwrap_or(u32::MAX)
    }

    /// Share of the scheduled requests that succeeded.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        (self.scheduled > 0).then(|| f64::from(self.ok()) / f64::from(self.scheduled))
    }

    /// The values of a latency, sorted.
    #[must_use]
    pub fn values(&self, latency: Latency) -> &[f64] {
        match latency {
            Latency::Ttft => &self.ttft,
            Latency::Ttfat => &self.ttfat,
            Latency::Tpot => &self.tpot,
            // A request has many gaps; they are in the histograms of the run.
            Latency::Itl => &[],
            Latency::E2e => &self.e2e,
        }
    }

    /// A statistic of a latency over the successful requests, ms.
    #[must_use]
    pub fn statistic(&self, latency: Latency, statistic: Statistic) -> Option<f64> {
        let values = self.values(latency);
        statistic.quantile().map_or_else(|| mean(values), |q| percentile(values, q * 100.0))
    }

    /// The metrics by the names of the source document. Metrics that were not measured are absent.
    ///
    /// Throughput counts over W, from the first request sent to the last token or the end of the last failure, like the
    /// frameworks' own clients. This includes the tail of an open loop, so throughput is a little below the rate even if the
    /// server keeps up. If the load also ran before and after the measured requests, throughput counts over the time in which
    /// these were due.
    #[must_use]
    pub fn metrics(&self, mode: LoadMode, has_limits: bool) -> BTreeMap<String, Option<f64>> {
        let mut metrics = BTreeMap::new();
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value.filter(|v| v.is_finite()) {
                metrics.insert(name.to_string(), Some(value));
            }
        };
        for latency in Latency::ALL.iter().copied() {
            for statistic in Statistic::ALL.iter().copied() {
                put(latency.key(statistic), self.statistic(latency, statistic));
            }
        }
        let ok = f64::from(self.ok());
        let window = self.first_sent_s.map(|first| self.last_token_s - first).filter(|w| *w > 0.0);
        let rate = |count: f64| window.map(|w| count / w);
        let (input, output) = (total(&self.input), total(&self.output));
        let counted = !self.counted_chunks && self.ok() > 0;
        let tokens_in = input;
        let (requests, input, output_rate) = match self.within() {
            Some((requests, input, output)) => (Some(requests), Some(input), Some(output)),
            None => (rate(ok), rate(input), rate(output)),
        };
        put("request_throughput", requests.or(Some(0.0)));
        put("output_token_throughput", output_rate.filter(|_| counted));
        put("total_token_throughput", input.zip(output_rate).map(|(i, o)| i + o).filter(|_| counted));
        put("tokens_per_chunk", (self.chunks > 0.0 && counted).then(|| output / self.chunks));
        put("success_rate", self.success_rate());
        if has_limits {
            put("goodput", rate(self.good.into()).or(Some(0.0)));
            put("slo_attainment", (self.scheduled > 0).then(|| f64::from(self.good) / f64::from(self.scheduled)));
        }
        if mode == LoadMode::Open && self.last_due_s > 0.0 {
            put("offered_qps", Some(f64::from(self.scheduled) / self.last_due_s));
        }
        let compat = self.first_sent_s.map(|first| self.last_end_s - first).filter(|w| *w > 0.0);
        let compat = |count: f64| compat.map(|w| count / w);
        put("compat_request_throughput", compat(ok));
        put("compat_output_token_throughput", compat(output).filter(|_| counted));
        put("compat_total_token_throughput", compat(tokens_in + output).filter(|_| counted));
        put("completed", Some(ok));
        put("total_input_tokens", Some(tokens_in).filter(|_| self.ok() > 0));
        put("total_output_tokens", Some(output).filter(|_| counted));
        put("failed", Some(f64::from(self.scheduled) - ok));
        metrics
    }
}

/// The sum of counts.
#[must_use]
pub fn total(counts: &[u32]) -> f64 {
    counts.iter().map(|n| f64::from(*n)).sum()
}

/// Adds the throughputs per GPU to those of all GPUs, or the other way round.
pub fn per_gpu(metrics: &mut BTreeMap<String, Option<f64>>, gpus: Option<u32>) {
    let Some(gpus) = gpus.filter(|n| *n > 0).map(f64::from) else { return };
    for name in PER_GPU {
        let each = format!("{name}_per_gpu");
        let known = |name: &str| metrics.get(name).copied().flatten();
        match (known(name), known(&each)) {
            (Some(value), _) => metrics.insert(each, Some(value / gpus)),
            // An imported row may have only the latter.
            (None, Some(value)) => metrics.insert(name.to_string(), Some(value * gpus)),
            (None, None) => None,
        };
    }
}

/// True if a request is within every limit on a latency, whatever its statistic; one with a single token meets any TPOT limit.
fn is_good(timing: &Timing, limits: &Limits) -> bool {
    limits.latencies().all(|(latency, threshold)| match latency {
        Latency::Ttft => timing.ttft.is_some_and(|ttft| ttft.0 <= threshold),
        // Of tokens that arrived all at once only the bound is known.
        Latency::Tpot => timing.tpot.or(timing.tpot_bound).is_none_or(|tpot| tpot.0 <= threshold),
        Latency::Ttfat => timing.ttfat.is_none_or(|ttfat| ttfat.0 <= threshold),
        Latency::E2e => timing.e2e.0 <= threshold,
        // It has values per gap, not per request.
        Latency::Itl => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::timing::tests::request;

    #[test]
    fn percentiles_are_type_7() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&hundred, 99.0).unwrap() - 99.01).abs() < 1e-9);
        assert_eq!(percentile(&hundred, 100.0), Some(100.0));
        assert_eq!(percentile(&[5.0], 99.0), Some(5.0));
        assert_eq!(percentile(&[1.0, 2.0], 50.0), Some(1.5));
        assert_eq!(percentile::<f64>(&[], 50.0), None);
        assert_eq!(percentile(&[1.0, f64::INFINITY], 1.0), Some(f64::INFINITY));
        assert_eq!(percentile(&[1.0, f64::INFINITY], 0.0), Some(1.0));
    }

    #[test]
    fn a_run_by_hand() {
        let mut sample = Sample::default();
        for (due, first, last) in [(0, 50, 140), (1000, 1100, 2000)] {
            sample.add(&request(due, due, first, last, 10), &Limits::default());
        }
        let failed = Request { status: RequestStatus::Http5xx, ..request(1500, 1500, 1600, 1700, 10) };
        sample.add(&failed, &Limits::default());
        sample.close();
        let metrics = sample.metrics(LoadMode::Open, false);
        let get = |name: &str| metrics[name].unwrap();
        assert_eq!((get("mean_ttft_ms"), get("mean_e2e_ms"), get("mean_tpot_ms")), (75.0, 570.0, 55.0));
        assert_eq!((get("request_throughput"), get("output_token_throughput")), (1.0, 10.0));
        assert!((get("success_rate") - 2.0 / 3.0).abs() < 1e-12);
        assert!(!metrics.contains_key("goodput") && !metrics.contains_key("mean_itl_ms"));
    }

    #[test]
    fn nothing_measured_is_absent_not_zero() {
        let metrics = Sample::default().metrics(LoadMode::Closed, true);
        assert!(!metrics.contains_key("mean_ttft_ms") && !metrics.contains_key("success_rate"));
    }
}
