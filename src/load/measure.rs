//! When requests are due, and what is known of the client that sent them.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use tokio::time::Instant;

use super::flight::Course;
use super::jobs::Job;
use super::pace::Heartbeat;
use super::request::Clock;
use crate::schedule::{self, Arrivals, generator};
use crate::schema::{ClientHealth, Load, LoadMode, Run, Scenario};
use crate::units::Micros;

/// Later than this a request counts as sent late.
const LATE: f64 = 10.0;
/// More than this share of late requests, and the client did not keep up.
const LATE_SHARE: f64 = 0.01;
/// Not running for longer than this, ms, and the client did not keep up.
const HEARTBEAT_GAP: f64 = 100.0;

/// When the sessions of a run are due: before them, with a warm-up under load of so many seconds, those of the warm-up, and
/// after them as many again, so that the load goes on until all that count are back.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
pub(super) fn course(run: &Run, scenario: &Scenario, sessions: &[Vec<Job>], steady: Option<f64>) -> Course {
    let (load, n) = (&run.load, sessions.len());
    let mut course = Course {
        clock: Clock(Instant::now()),
        due: None,
        warm: 0,
        sessions: n,
        lead: steady.map(Micros::from_seconds),
    };
    let count = u32::try_from(n).unwrap_or(u32::MAX);
    match load.mode {
        LoadMode::Closed => {}
        LoadMode::Burst => course.due = Some(vec![Micros(0); n]),
        LoadMode::Open => {
            let requests: usize = sessions.iter().map(Vec::len).sum();
            // As many requests per second as asked, later turns included.
            let rate = load.rate.unwrap_or(1.0) * n as f64 / requests.max(1) as f64;
            let draw = |what: &str, kind, n| {
                let mut rng = generator(run.seed, &[what, &scenario.name, &run.repeat.to_string()]);
                schedule::arrivals(kind, n, rate, &mut rng)
            };
            let own = scenario.dataset.as_ref().and_then(|dataset| dataset.rate);
            let mut due = match (load.arrivals.as_deref().map(Arrivals::parse), own) {
                (Some(Ok(Arrivals::Trace)), Some(own)) => {
                    let stamps = sessions.iter().filter_map(|session| session.first()?.timestamp);
                    schedule::replay(stamps, own / load.rate.unwrap_or(own))
                }
                (Some(Ok(kind)), _) => draw("arrivals", kind, count),
                _ => draw("arrivals", Arrivals::Poisson, count),
            };
            if let Some(warmup_s) = steady {
                let warm = draw("warmup", Arrivals::Poisson, ((rate * warmup_s).ceil() as u32).max(1));
                let lead = warm.last().map_or(0, |at| at.0);
                let last = due.last().map_or(0, |at| at.0);
                let tail = draw("tail", Arrivals::Poisson, count);
                course.warm = warm.len();
                course.lead = Some(Micros(lead));
                let measured = due.into_iter().map(|at| Micros(lead + at.0));
                due = warm
                    .into_iter()
                    .chain(measured)
                    .chain(tail.into_iter().map(|at| Micros(lead + last + at.0)))
                    .collect();
            }
            course.due = Some(due);
        }
    }
    course
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
        connections: None,
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
