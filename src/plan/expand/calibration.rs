//! The calibration of a node: each framework's baseline at one fixed load, the same on every node.

use super::unit::UnitKeys;
use crate::rows::kinds::{Candidate, Load, LoadMode, Members};

/// Requests in flight.
const CONCURRENCY: u32 = 4;
/// Fewest and most requests.
const REQUESTS: (u32, u32) = (16, 200);

/// The baselines of these candidates with the one unit that calibrates `node`.
#[must_use]
pub fn calibration(candidates: &[Candidate], node: &str) -> Vec<Candidate> {
    let baselines = candidates.iter().filter(|candidate| candidate.search.baseline && candidate.status.is_none());
    let one = |baseline: &Candidate| {
        let mut candidate = baseline.clone();
        candidate.search.calibration = true;
        candidate.loads =
            vec![Load { mode: LoadMode::Closed, concurrency: Some(CONCURRENCY), ..Load::default() }].into();
        candidate.scenarios.truncate(1);
        candidate.benchmark.num_prompts = candidate.benchmark.num_prompts.clamp(REQUESTS.0, REQUESTS.1);
        // Its figures are compared with those of other nodes, not with limits.
        (candidate.sla, candidate.check) = (Members::new().into(), None);
        candidate.units = UnitKeys::of(&candidate).one_each(&candidate, &format!("\n{node}"), |_| None);
        candidate
    };
    baselines.map(one).collect()
}
