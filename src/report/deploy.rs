//! What a file that deploys a candidate says of it, line by line: what it is, where it was measured, and how it did.

use super::note;
use super::text::{answer, candidate, load, number};
use crate::base::error::{Error, Result};
use crate::rank::{Decision, Entry, Group, Ranking, Trial};
use crate::rows::kinds::SlaTest;

/// The candidate that wins: that of all rankings.
///
/// # Errors
/// No candidate meets the SLA, or several win.
pub fn winner(ranking: &Ranking) -> Result<&Entry> {
    let won = |group: &&Group| matches!(group.decision, Decision::Winner | Decision::Fastest);
    let mut winners: Vec<&Entry> = Vec::new();
    for entry in ranking.groups.iter().filter(won).filter_map(|group| Some(group.ranked.first()?.best.entry())) {
        if !winners.iter().any(|known| known.is_of(entry)) {
            winners.push(entry);
        }
    }
    match winners.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::new("no candidate meets the SLA: name the one to deploy, --deploy CANDIDATE")),
        several => {
            let names: Vec<String> = several.iter().map(|entry| candidate(entry)).collect();
            let why = format!("each ranking has its own winner: {}; name one, --deploy CANDIDATE", names.join(", "));
            Err(Error::new(why))
        }
    }
}

/// The lines.
#[must_use]
pub fn lines(ranking: &Ranking, entry: &Entry) -> Vec<String> {
    let [version, gpu, driver, image] = entry.platform();
    let mut lines = vec![format!("{}, written by bench-rank --deploy", candidate(entry))];
    let model = entry.group.model();
    let gpus =
        entry.keys.gpus.map_or(String::new(), |n| format!(" on {n} × {}", if gpu.is_empty() { "GPU" } else { gpu }));
    lines.push(format!("model: {model}{gpus}"));
    let known = [("version of the framework", version), ("driver", driver), ("image", image)];
    let more = ["image_digest", "cuda", "nccl"].map(|key| (key, entry.environment(key)));
    lines.extend(known.iter().chain(&more).filter(|(_, is)| !is.is_empty()).map(|(what, is)| format!("{what}: {is}")));
    for group in &ranking.groups {
        let Some(own) = group.ranked.iter().find(|ranked| ranked.best.entry().is_of(entry)) else { continue };
        lines.push(format!("{}:", note::group_title(ranking, group)));
        lines.extend(measured(ranking, &own.best).into_iter().map(|line| format!("  {line}")));
    }
    let [simulated, smoke] = entry.simulated_and_smoke().map(|flag| flag == Some(true));
    if simulated || smoke {
        let what = if simulated { "on a simulated engine" } else { "in a smoke test" };
        lines.push(format!("CAUTION: measured {what}, which is no evidence for a deployment"));
    }
    lines
}

fn measured(ranking: &Ranking, trial: &Trial) -> Vec<String> {
    let (at, unit) = (load(trial), ranking.options.by.unit());
    let at = if at.is_empty() { String::new() } else { format!(" at {at}") };
    let doubt = match (trial.passed(), trial.unconfirmed()) {
        (Some(true), true) => format!(", {}", note::unconfirmed(ranking, trial)),
        _ => String::new(),
    };
    let mut lines = vec![format!("{} {unit}{at}, {}{doubt}", number(trial.keys().by), answer(trial.passed()))];
    lines.extend(trial.entry().all_tests(&ranking.options).iter().map(limit));
    lines
}

fn limit(test: &SlaTest) -> String {
    let value = test.value.map_or("not measured".to_string(), |value| format!("measured {}", number(Some(value))));
    let headroom = test.margin.filter(|margin| margin.is_finite());
    let headroom = headroom.map_or(String::new(), |margin| format!(", headroom {:+.1} %", margin * 100.0));
    format!("{} {}: {value}{headroom}", test.limit, test.threshold)
}
