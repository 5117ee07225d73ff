//! The check whether servers in slots disturb each other: each framework's baseline alone, then in every slot at the same time.

use super::unit::UnitKeys;
use crate::base::slots::SlotList;
use crate::rows::kinds::{Candidate, Load, LoadMode, Members, Unit};
use crate::rows::words::SlotPart;

/// Requests in flight, unless the plan asks for more.
const CONCURRENCY: u32 = 16;
/// Fewest and most requests of a run, and at least so many for each in flight.
const REQUESTS: (u32, u32) = (48, 200);
const EACH: u32 = 3;
/// Runs on each server: so many tell a difference from noise.
const REPEATS: u32 = 5;

/// The baselines of these candidates with the units that show on `node` how much servers in `slots` disturb each other.
#[must_use]
pub fn slot_check(candidates: &[Candidate], slots: &SlotList, node: &str) -> Vec<Candidate> {
    let baselines = candidates.iter().filter(|candidate| candidate.search.baseline && candidate.status.is_none());
    let part = |baseline: &Candidate, part: SlotPart, index: usize| {
        let mut candidate = baseline.clone();
        candidate.search.slot_check = Some(part);
        let most = candidate.loads.iter().filter_map(|load| load.concurrency).max().unwrap_or(0).max(CONCURRENCY);
        candidate.loads = vec![Load { mode: LoadMode::Closed, concurrency: Some(most), ..Load::default() }].into();
        candidate.scenarios.truncate(1);
        candidate.benchmark.num_prompts =
            candidate.benchmark.num_prompts.clamp(REQUESTS.0, REQUESTS.1).max(EACH * most);
        // Its figures are compared with each other, not with limits.
        (candidate.sla, candidate.check) = (Members::new().into(), None);
        let keys = UnitKeys::of(&candidate);
        let unit = |repeat: u32| {
            let purpose = format!("\n{node}\n{slots} {part} {index} {repeat}");
            keys.one_each(&candidate, &purpose, |_| None).into_iter().map(move |unit| Unit { repeat, ..unit })
        };
        candidate.units = (0..REPEATS).flat_map(unit).collect();
        candidate
    };
    let parts = |baseline: &Candidate| -> Vec<Candidate> {
        let beside = (0..slots.slots().len()).map(|index| part(baseline, SlotPart::Beside, index));
        std::iter::once(part(baseline, SlotPart::Alone, 0)).chain(beside).collect()
    };
    baselines.flat_map(parts).collect()
}
