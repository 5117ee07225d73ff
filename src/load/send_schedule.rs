//! When the sessions of a run are sent.

use tokio::time::Instant;

use super::request::Clock;
use super::schedule;
use crate::base::random::generator;
use crate::rows::kinds::{LoadMode, Run, Scenario};
use crate::rows::units::Micros;
use crate::rows::words::{Arrivals, Phase};

/// When the sessions of a run are sent.
#[derive(Debug, Clone)]
pub struct SendSchedule {
    /// Time zero.
    pub clock: Clock,
    /// Due times of the warm-up sessions, the measured ones and the tail, in this order; `None` in closed loop.
    pub due: Option<Vec<Micros>>,
    /// Number of warm-up sessions among them.
    pub warm: usize,
    /// When the measured sessions begin, if there is a warm-up under load; the load then continues until they finish.
    pub lead: Option<Micros>,
}

impl SendSchedule {
    /// The schedule of this client, and the hash of the whole schedule, which all clients of a shared load have in common. No
    /// hash in closed loop.
    ///
    /// `sessions` are those of all clients: the number of requests of each, and its timestamp, ms.
    pub fn new(
        run: &Run,
        scenario: &Scenario,
        sessions: &[(u32, Option<f64>)],
        warmup_s: Option<f64>,
    ) -> (Self, Option<String>) {
        let ours = |times: &[Micros]| -> Vec<Micros> {
            let ours = times.iter().enumerate().filter(|(i, _)| run.shard.is_none_or(|shard| shard.has(*i)));
            ours.map(|(_, at)| *at).collect()
        };
        let clock = Clock(Instant::now());
        if run.load.mode == LoadMode::Closed {
            return (Self { clock, due: None, warm: 0, lead: warmup_s.map(Micros::from_seconds) }, None);
        }
        let [warm, measured, tail] = due_times(run, scenario, sessions, warmup_s);
        let lead = warm.last().copied();
        let zero = lead.unwrap_or_default().0;
        let hashed: Vec<Micros> = measured.iter().map(|at| Micros(at.0 - zero)).collect();
        let warm = ours(&warm);
        let schedule = Self { clock, warm: warm.len(), due: Some([warm, ours(&measured), ours(&tail)].concat()), lead };
        (schedule, Some(schedule::sha256(&hashed)))
    }

    /// The phase of the `k`-th launch while `left` measured sessions are unsent; `None` if nothing is left to send.
    pub fn phase(&self, k: usize, left: usize) -> Option<Phase> {
        let warming = match &self.due {
            Some(_) => k < self.warm,
            None => self.lead.is_some_and(|lead| self.clock.now() < lead),
        };
        match () {
            () if warming => Some(Phase::Warmup),
            () if left > 0 => Some(Phase::Measured),
            () => self.lead.map(|_| Phase::Tail),
        }
    }
}

/// Due times of all clients' sessions: warm-up, measured, tail. With a warm-up under load of `warmup_s` seconds the tail has
/// as many sessions as are measured, so that the load continues until these finish; without one both are empty.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn due_times(
    run: &Run,
    scenario: &Scenario,
    sessions: &[(u32, Option<f64>)],
    warmup_s: Option<f64>,
) -> [Vec<Micros>; 3] {
    let (load, n) = (&run.load, sessions.len());
    let count = u32::try_from(n).unwrap_or(u32::MAX);
    if load.mode == LoadMode::Burst {
        return [Vec::new(), vec![Micros(0); n], Vec::new()];
    }
    // The rate counts requests, later turns included.
    let requests: u32 = sessions.iter().map(|(requests, _)| requests).sum();
    let rate = load.rate.unwrap_or(1.0) * n as f64 / f64::from(requests.max(1));
    let draw = |what: &str, kind, n| {
        let mut rng = generator(run.seed, &[what, &scenario.name, &run.repeat.to_string()]);
        schedule::arrivals(kind, n, rate, &mut rng)
    };
    let trace_rate = scenario.dataset.as_ref().and_then(|dataset| dataset.rate);
    let measured = match (load.arrivals.unwrap_or(Arrivals::Poisson), trace_rate) {
        (Arrivals::Trace, Some(trace_rate)) => {
            let stamps = sessions.iter().filter_map(|(_, at)| *at);
            schedule::replay(stamps, trace_rate / load.rate.unwrap_or(trace_rate))
        }
        (kind, _) => draw("arrivals", kind, count),
    };
    let Some(warmup_s) = warmup_s else { return [Vec::new(), measured, Vec::new()] };
    let warm = draw("warmup", Arrivals::Poisson, ((rate * warmup_s).ceil() as u32).max(1));
    let after = |begin: u64, times: Vec<Micros>| times.into_iter().map(|at| Micros(begin + at.0)).collect::<Vec<_>>();
    let lead = warm.last().map_or(0, |at| at.0);
    let end = lead + measured.last().map_or(0, |at| at.0);
    [warm, after(lead, measured), after(end, draw("tail", Arrivals::Poisson, count))]
}
