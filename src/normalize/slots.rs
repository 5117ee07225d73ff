//! The results of slot checks as figures: a baseline alone, and in every slot at the same time.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::metrics::slots::{METRICS, RUNS, change, noise};
use crate::rows::kinds::{CandidateBlock, ResultRow, SlotChange, SlotCheck, Status};
use crate::rows::words::SlotPart;

/// Share of the time under load of a server during which each of the others has to be under load too.
const OVERLAP: f64 = 0.8;

/// The runs of one server of a check.
#[derive(Debug, Default)]
struct CheckedServer<'a> {
    results: Vec<&'a ResultRow>,
}

impl CheckedServer<'_> {
    /// From its first run to the end of its last, if all of them succeeded.
    fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let runs: Vec<_> = self.ok().filter_map(|result| result.run.as_ref()).collect();
        let from = runs.iter().filter_map(|run| run.started_at.parse().ok()).min()?;
        let to = runs.iter().filter_map(|run| run.ended_at.as_ref()?.parse().ok()).max()?;
        (runs.len() >= RUNS).then_some((from, to))
    }

    fn ok(&self) -> impl Iterator<Item = &ResultRow> {
        self.results.iter().copied().filter(|result| result.status == Status::Ok)
    }

    /// Why it is of no use.
    fn failure(&self) -> String {
        let failed = self.results.iter().find(|result| result.status != Status::Ok);
        let why = failed.and_then(|result| result.failure_reason.clone());
        why.unwrap_or_else(|| format!("it has {} of {RUNS} runs", self.ok().count()))
    }

    fn values(&self, metric: &str) -> Vec<(u32, f64)> {
        let one =
            |result: &ResultRow| Some((result.run.as_ref()?.repeat, result.metrics.get(metric).copied().flatten()?));
        self.ok().filter_map(one).collect()
    }
}

/// The latest server of each part of a check: alone, and in each slot.
type CheckParts<'a> = BTreeMap<(SlotPart, usize), CheckedServer<'a>>;

/// The checks among results of one node, in the order of their starts; and the units that they complete.
pub fn checks(results: &[&ResultRow]) -> (Vec<SlotCheck>, Vec<String>) {
    let mut all: BTreeMap<(&str, &str), (CheckParts, &ResultRow, usize)> = BTreeMap::new();
    for &result in results {
        let Some(CandidateBlock { slot: Some(slot), slot_check: Some(part), .. }) = &result.candidate else { continue };
        let (parts, latest, of) =
            all.entry((&slot.slots, &result.framework)).or_insert_with(|| (CheckParts::new(), result, slot.of));
        (*latest, *of) = (result, slot.of);
        let server = parts.entry((*part, slot.index.unwrap_or(0))).or_default();
        let id = |result: &ResultRow| result.run.as_ref().map(|run| run.server_id.clone());
        if server.results.first().is_some_and(|first| id(first) != id(result)) {
            server.results.clear();
        }
        server.results.push(result);
    }
    let (mut checks, mut units) = (Vec::new(), Vec::new());
    for ((slots, framework), (parts, result, of)) in all {
        let (metrics, failure) = match compared(&parts, of) {
            Ok(metrics) => {
                let noise = noise(&metrics);
                (metrics, noise)
            }
            Err(why) => (BTreeMap::new(), Some(why)),
        };
        // One that says nothing is repeated.
        if failure.is_none() {
            units.extend(parts.values().flat_map(|server| server.ok()).flat_map(|result| result.units.clone()));
        }
        let workload = result.workload.as_ref();
        checks.push(SlotCheck {
            slots: slots.into(),
            framework: framework.into(),
            candidate_id: result.candidate_id.clone(),
            scenario: workload.and_then(|workload| workload.scenario.clone()).unwrap_or_default(),
            concurrency: workload.and_then(|workload| workload.max_concurrency),
            metrics,
            failure,
            started_at: result.run.as_ref().map(|run| run.started_at.clone()).unwrap_or_default(),
        });
    }
    (checks, units)
}

/// How each metric changes in the slot where it does so most; or why that is unknown.
fn compared(parts: &CheckParts, of: usize) -> Result<BTreeMap<String, SlotChange>, String> {
    let none = CheckedServer::default();
    let part = |part: SlotPart, index: usize| parts.get(&(part, index)).unwrap_or(&none);
    let alone = parts.iter().find(|((part, _), _)| *part == SlotPart::Alone).map_or(&none, |(_, server)| server);
    alone.span().ok_or_else(|| format!("alone: {}", alone.failure()))?;
    let mut spans = Vec::new();
    for index in 0..of {
        let server = part(SlotPart::Beside, index);
        spans.push(server.span().ok_or_else(|| format!("slot {index}: {}", server.failure()))?);
    }
    for (index, (from, to)) in spans.iter().enumerate() {
        let whole = to.duration_since(*from).as_secs_f64();
        for (other, (begun, ended)) in spans.iter().enumerate().filter(|(other, _)| *other != index) {
            let both = (*to).min(*ended).duration_since((*from).max(*begun)).as_secs_f64().max(0.0);
            if both < OVERLAP * whole {
                let share = 100.0 * both / whole;
                return Err(format!("slot {other} was under load in only {share:.0} % of the time of slot {index}"));
            }
        }
    }
    let mut found = BTreeMap::new();
    for (metric, more_is_better) in METRICS {
        let of_slot =
            |index| change(&alone.values(metric), &part(SlotPart::Beside, index).values(metric), more_is_better);
        let worst = (0..of)
            .filter_map(of_slot)
            .max_by(|a, b| b.within_noise.cmp(&a.within_noise).then_with(|| a.worse.total_cmp(&b.worse)));
        found.extend(worst.map(|change| (metric.to_string(), change)));
    }
    if found.is_empty() { Err("it has no metric".into()) } else { Ok(found) }
}
