//! Merges the ends of one run that several clients shared.

use crate::metrics::sample::{decode, encode};
use crate::rows::kinds::{ClientHealth, Histograms, RunEnd, Status};
use crate::rows::words::FailureClass;

/// The failure reason of a run with missing shares.
const MISSING: &str = "parts of the run are missing: give the files of all clients that shared it";

/// The merged end of all shares: the first failure decides, the worst health counts, distributions are added.
pub fn merge(mut ends: Vec<RunEnd>, of: u32) -> Option<RunEnd> {
    let missing = ends.len() < of as usize;
    let failed = ends.iter().position(|end| end.status != Status::Ok).unwrap_or(0);
    if ends.is_empty() {
        return None;
    }
    let mut first = ends.swap_remove(failed);
    for end in &ends {
        if first.failure_class.is_none() {
            first.failure_class.clone_from(&end.failure_class);
            first.failure_reason.clone_from(&end.failure_reason);
        }
        first.duration_s = first.duration_s.max(end.duration_s);
        first.client = worst(&first.client, &end.client);
        first.histograms = Histograms {
            chunk_gap_us: add(first.histograms.chunk_gap_us.as_ref(), end.histograms.chunk_gap_us.as_ref()),
            // Gaps between tokens are known for all requests or for none.
            itl_us: match (&first.histograms.itl_us, &end.histograms.itl_us) {
                (Some(a), Some(b)) => add(Some(a), Some(b)),
                _ => None,
            },
        };
        first.ended_at = first.ended_at.max(end.ended_at.clone());
    }
    first.shard = None;
    if missing && first.status == Status::Ok {
        first.status = Status::Failed;
        first.failure_class = Some(FailureClass::ShardsMissing);
        first.failure_reason = Some(MISSING.into());
    }
    Some(first)
}

fn worst(a: &ClientHealth, b: &ClientHealth) -> ClientHealth {
    let most = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
    ClientHealth {
        lag_p50_ms: most(a.lag_p50_ms, b.lag_p50_ms),
        lag_p99_ms: most(a.lag_p99_ms, b.lag_p99_ms),
        late_share: most(a.late_share, b.late_share),
        heartbeat_gap_ms: most(a.heartbeat_gap_ms, b.heartbeat_gap_ms),
        cpu_share: most(a.cpu_share, b.cpu_share),
        host_cpu_share: most(a.host_cpu_share, b.host_cpu_share),
        connections: a.connections.into_iter().chain(b.connections).reduce(|a, b| a + b),
        saturated: a.saturated || b.saturated,
    }
}

fn add(a: Option<&String>, b: Option<&String>) -> Option<String> {
    let (Some(one), Some(two)) = (a, b) else { return a.or(b).cloned() };
    let mut sum = decode(one)?;
    sum.add(decode(two)?).ok()?;
    encode(&sum)
}
