//! When requests are due, and what is known of the client that sent them.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use super::pace::Heartbeat;
use crate::schedule::{self, Arrivals, generator};
use crate::schema::{ClientHealth, Load, LoadMode};
use crate::units::Micros;

/// Later than this a request counts as sent late.
const LATE: f64 = 10.0;
/// More than this share of late requests, and the client did not keep up.
const LATE_SHARE: f64 = 0.01;
/// Not running for longer than this, ms, and the client did not keep up.
const HEARTBEAT_GAP: f64 = 100.0;

/// Due times of an open loop or a burst; none in closed loop.
pub(super) fn due_times(load: &Load, n: u32, seed: u64, scenario: &str, repeat: u32) -> Option<Vec<Micros>> {
    match load.mode {
        LoadMode::Closed => None,
        LoadMode::Burst => Some(vec![Micros(0); n as usize]),
        LoadMode::Open => {
            let mut rng = generator(seed, &["arrivals", scenario, &repeat.to_string()]);
            let kind = load.arrivals.as_deref().and_then(|text| Arrivals::parse(text).ok());
            Some(schedule::arrivals(kind.unwrap_or(Arrivals::Poisson), n, load.rate.unwrap_or(1.0), &mut rng))
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of requests")]
pub(super) fn health(lags: &mut [f64], heartbeat: &Heartbeat, load: &Load) -> ClientHealth {
    lags.sort_by(f64::total_cmp);
    let at = |q: f64| crate::summary::percentile(lags, q);
    let late = lags.iter().filter(|lag| **lag > LATE).count();
    // In a burst all are due at once: that they leave one after the other is the load, not the client's lateness.
    let late_share = (!lags.is_empty() && load.mode == LoadMode::Open).then(|| late as f64 / lags.len() as f64);
    let gap = heartbeat.gap_ms();
    ClientHealth {
        lag_p50_ms: at(50.0),
        lag_p99_ms: at(99.0),
        late_share,
        heartbeat_gap_ms: Some(gap),
        cpu_share: Some(heartbeat.cpu_share()),
        // One late request of a few dozen is no share of anything.
        saturated: (late > 1 && late_share.is_some_and(|share| share > LATE_SHARE)) || gap > HEARTBEAT_GAP,
    }
}

/// HdrHistogram V2, compressed, base64; nothing for an empty one.
pub(super) fn encode(histogram: &Histogram<u64>) -> Option<String> {
    let mut bytes = Vec::new();
    if histogram.is_empty() || V2DeflateSerializer::new().serialize(histogram, &mut bytes).is_err() {
        return None;
    }
    Some(base64::engine::general_purpose::STANDARD.encode(bytes))
}
