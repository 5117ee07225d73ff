//! When requests are due, and what is known of the client that sent them.

use tokio::time::Instant;

use super::flight::SendSchedule;
use super::pace::Heartbeat;
use super::request::Clock;
use super::schedule;
use crate::base::random::generator;
use crate::rows::kinds::{ClientHealth, Load, LoadMode, Run, Scenario};
use crate::rows::units::Micros;
use crate::rows::words::Arrivals;

/// Later than this a request counts as sent late.
const LATE: f64 = 10.0;
/// More than this share of late requests, and the client did not keep up.
const LATE_SHARE: f64 = 0.01;
/// Not running for longer than this, ms, and the client did not keep up.
const HEARTBEAT_GAP: f64 = 100.0;

/// When the sessions of a run are due, those of every client that shares it; before them, with a warm-up under load of so
/// many seconds, those of the warm-up, and after them as many again, so that the load goes on until all that count are back.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn due_times(run: &Run, scenario: &Scenario, sessions: &[(u32, Option<f64>)], steady: Option<f64>) -> [Vec<Micros>; 3] {
    let (load, n) = (&run.load, sessions.len());
    let count = u32::try_from(n).unwrap_or(u32::MAX);
    if load.mode == LoadMode::Burst {
        return [Vec::new(), vec![Micros(0); n], Vec::new()];
    }
    // As many requests per second as asked, later turns included.
    let requests: u32 = sessions.iter().map(|(requests, _)| requests).sum();
    let rate = load.rate.unwrap_or(1.0) * n as f64 / f64::from(requests.max(1));
    let draw = |what: &str, kind, n| {
        let mut rng = generator(run.seed, &[what, &scenario.name, &run.repeat.to_string()]);
        schedule::arrivals(kind, n, rate, &mut rng)
    };
    let own = scenario.dataset.as_ref().and_then(|dataset| dataset.rate);
    let measured = match (load.arrivals.unwrap_or(Arrivals::Poisson), own) {
        (Arrivals::Trace, Some(own)) => {
            schedule::replay(sessions.iter().filter_map(|(_, at)| *at), own / load.rate.unwrap_or(own))
        }
        (kind, _) => draw("arrivals", kind, count),
    };
    let Some(warmup_s) = steady else { return [Vec::new(), measured, Vec::new()] };
    let warm = draw("warmup", Arrivals::Poisson, ((rate * warmup_s).ceil() as u32).max(1));
    let after = |begin: u64, times: Vec<Micros>| times.into_iter().map(|at| Micros(begin + at.0)).collect::<Vec<_>>();
    let lead = warm.last().map_or(0, |at| at.0);
    let end = lead + measured.last().map_or(0, |at| at.0);
    [warm, after(lead, measured), after(end, draw("tail", Arrivals::Poisson, count))]
}

/// The course of a run, our part of it where others share it, and the hash of its whole schedule.
pub(super) fn course(
    run: &Run,
    scenario: &Scenario,
    sessions: &[(u32, Option<f64>)],
    steady: Option<f64>,
) -> (SendSchedule, Option<String>) {
    let ours = |times: &[Micros]| -> Vec<Micros> {
        let kept = times.iter().enumerate().filter(|(i, _)| run.shard.is_none_or(|shard| shard.has(*i)));
        kept.map(|(_, at)| *at).collect()
    };
    let mut course =
        SendSchedule { clock: Clock(Instant::now()), due: None, warm: 0, lead: steady.map(Micros::from_seconds) };
    if run.load.mode == LoadMode::Closed {
        return (course, None);
    }
    let [warm, measured, tail] = due_times(run, scenario, sessions, steady);
    course.lead = warm.last().copied();
    let zero = course.lead.unwrap_or_default().0;
    let hashed: Vec<Micros> = measured.iter().map(|at| Micros(at.0 - zero)).collect();
    let warm = ours(&warm);
    course.warm = warm.len();
    course.due = Some([warm, ours(&measured), ours(&tail)].concat());
    (course, Some(schedule::sha256(&hashed)))
}

#[allow(clippy::cast_precision_loss, reason = "counts of requests")]
pub(super) fn health(lags: &mut [f64], heartbeat: &Heartbeat, load: &Load) -> ClientHealth {
    lags.sort_by(f64::total_cmp);
    let at = |q: f64| crate::metrics::sample::percentile(lags, q);
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
