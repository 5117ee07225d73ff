//! Whether the client kept up with its own schedule.

use super::pace::Heartbeat;
use crate::metrics::sample::percentile;
use crate::rows::kinds::{ClientHealth, Load, LoadMode};

/// A request sent later than this counts as late, ms.
const LATE_MS: f64 = 10.0;
/// The client is saturated if more than this share of its requests is late.
const LATE_SHARE: f64 = 0.01;
/// The client is saturated if it did not run for longer than this, ms.
const HEARTBEAT_GAP_MS: f64 = 100.0;

/// The health of a client from the lags of its requests (sent − due, ms) and its heartbeat.
#[allow(clippy::cast_precision_loss, reason = "counts of requests")]
pub fn client_health(lags: &mut [f64], heartbeat: &Heartbeat, load: &Load) -> ClientHealth {
    lags.sort_by(f64::total_cmp);
    let late = lags.iter().filter(|lag| **lag > LATE_MS).count();
    // In a burst all requests are due at once: that they leave one after the other is the load, not lateness of the client.
    let late_share = (!lags.is_empty() && load.mode == LoadMode::Open).then(|| late as f64 / lags.len() as f64);
    let gap = heartbeat.gap_ms();
    ClientHealth {
        lag_p50_ms: percentile(lags, 50.0),
        lag_p99_ms: percentile(lags, 99.0),
        late_share,
        heartbeat_gap_ms: Some(gap),
        cpu_share: Some(heartbeat.cpu_share()),
        connections: None,
        // A single late request says nothing, even if it is more than 1 % of a short run.
        saturated: (late > 1 && late_share.is_some_and(|share| share > LATE_SHARE)) || gap > HEARTBEAT_GAP_MS,
    }
}
