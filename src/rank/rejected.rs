//! What was tried and not selected, a line a candidate and reason.

use super::{Entry, Group};

/// A configuration that was tried and not selected.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The result; the first of several that say the same.
    pub entry: Entry,
    /// `failed`, `oom`, `timeout`, `skipped` or `missed SLA`.
    pub how: String,
    /// Why.
    pub why: String,
    /// Where it was so, `chat at 4 req/s`; nothing when the candidate never ran.
    pub places: Vec<String>,
}

/// Failed results by candidate and reason, and candidates that kept the SLA at none of their load points.
pub fn rejected(groups: &[Group], failed: &[Entry]) -> Vec<Rejected> {
    let missing = groups.iter().flat_map(|group| &group.best).filter(|best| best.passed == Some(false));
    let missing = missing.map(|best| new("missed SLA".into(), missed(best), best.clone()));
    let failed = failed.iter().map(|entry| new(entry.status.clone(), entry.text("/failure_reason"), entry.clone()));
    let mut all: Vec<Rejected> = missing.chain(failed).collect();
    // Both parts come in a fixed order, and sorting keeps it among equals.
    all.sort_by_cached_key(|r| [&r.entry.framework, &r.entry.candidate_id, &r.how, &r.why].map(String::clone));
    all.dedup_by(|next, kept| {
        let same = next.entry.framework == kept.entry.framework
            && next.entry.candidate_id == kept.entry.candidate_id
            && (&next.how, &next.why) == (&kept.how, &kept.why);
        if same {
            let more: Vec<String> = next.places.drain(..).filter(|place| !kept.places.contains(place)).collect();
            kept.places.extend(more);
        }
        same
    });
    all
}

fn new(how: String, why: String, entry: Entry) -> Rejected {
    let place = match (entry.group.scenario.as_str(), entry.load()) {
        ("", _) => None,
        (scenario, load) if load.is_empty() => Some(scenario.to_string()),
        (scenario, load) => Some(format!("{scenario} at {load}")),
    };
    Rejected { entry, how, why, places: place.into_iter().collect() }
}

/// Which limits a result misses, in words.
fn missed(entry: &Entry) -> String {
    let tests = entry.at("/sla_tests");
    let missed = tests.as_array().into_iter().flatten().filter(|test| test["passed"] == false);
    let words: Vec<String> = missed
        .map(|test| {
            let limit = test["limit"].as_str().unwrap_or_default();
            let threshold = test["threshold"].as_f64().unwrap_or_default();
            match test["value"].as_f64() {
                Some(value) => format!("{limit} {value:.1}, limit {threshold}"),
                None => format!("{limit} is beyond any number (requests failed), limit {threshold}"),
            }
        })
        .collect();
    if words.is_empty() { "its row says that it missed the SLA".into() } else { words.join("; ") }
}
