//! What a report says in sentences: the decision, and how sure it is.

use super::text::{candidate, number};
use crate::metrics::compare::Comparison;
use crate::rank::{Decision, Group, GroupKey, Missing, Ranking, Trial};

/// `chat (1000 in, 200 out), open loop`, with the model or client where the ranking has several groups that differ so.
pub fn group_title(ranking: &Ranking, group: &Group) -> String {
    let key = &group.key;
    let lengths = group.ranked.first().map(|ranked| {
        let entry = ranked.best.entry();
        let of = |name: &str| entry.at(&format!("/workload/{name}")).as_f64();
        (of("input_len"), of("output_len"))
    });
    let mut title = if key.scenario.is_empty() { "no scenario named".to_string() } else { key.scenario.clone() };
    if let Some((Some(input), Some(output))) = lengths {
        title.push_str(&format!(" ({input} in, {output} out)"));
    }
    let (mode, arrivals) = key.mode.split_once(' ').unwrap_or((&key.mode, ""));
    title.push_str(match mode {
        "open" => ", open loop",
        "closed" => ", closed loop",
        "burst" => ", all at once",
        _ => "",
    });
    if !arrivals.is_empty() {
        title.push_str(&format!(" ({arrivals} arrivals)"));
    }
    let differs = |member: fn(&GroupKey) -> String| {
        let same = |other: &Group| other.key.scenario == key.scenario && other.key.mode == key.mode;
        ranking.groups.iter().filter(|other| same(other)).any(|other| member(&other.key) != member(key))
    };
    let mut more = |member: fn(&GroupKey) -> String| {
        if differs(member) && !member(key).is_empty() {
            title.push_str(&format!(", {}", member(key)));
        }
    };
    more(|key| key.model().to_string());
    more(|key| key.gpu().to_string());
    more(|key| key.client().to_string());
    more(|key| (if key.simulated { "simulated" } else { "real engine" }).into());
    more(|key| (if key.smoke { "flow check" } else { "measurement" }).into());
    // Digests are for machines: they are the last resort when nothing else tells two groups apart.
    let rest = |key: &GroupKey| key.rest[3..].join(" ");
    if differs(rest) {
        title.push_str(&format!(", other settings {}", &crate::base::digest::sha256(rest(key).as_bytes())[..8]));
    }
    title
}

/// One sentence: who is missing, then what to deploy for this group, or why nothing is recommended.
pub fn decision(ranking: &Ranking, group: &Group) -> String {
    format!("{}{}", lead(group), answer(ranking, group))
}

/// What is to be known before the answer: `incomplete comparison (sglang is missing): `; nothing where nobody is missing.
pub fn lead(group: &Group) -> String {
    let names: Vec<&str> = group.missing.iter().map(|missing| &*missing.framework).collect();
    let are = if names.len() == 1 { "is" } else { "are" };
    let what = if group.frameworks().len() > 1 { "incomplete comparison" } else { "no comparison" };
    if names.is_empty() { String::new() } else { format!("{what} ({} {are} missing): ", list(&names)) }
}

/// Who is missing where, and why, a sentence each; of a ranking without any result why there is none.
pub fn missing(ranking: &Ranking) -> Vec<String> {
    if ranking.groups.is_empty() {
        let all =
            ranking.unmeasured.iter().map(|missing| format!("No result for {}: {}.", missing.framework, missing.why));
        return all.collect();
    }
    let sentence = |(missing, groups): (&Missing, Vec<&Group>)| {
        let place = match groups.len() == ranking.groups.len() {
            true => "all scenarios".to_string(),
            false => {
                let titles: Vec<String> = groups.iter().map(|group| group_title(ranking, group)).collect();
                titles.join("; ")
            }
        };
        format!("Missing in {place}: {}, {}.", missing.framework, missing.why)
    };
    ranking.missing().into_iter().map(sentence).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => items.concat(),
    }
}

/// What to deploy for this group, or why nothing is recommended.
pub fn answer(ranking: &Ranking, group: &Group) -> String {
    let Some(first) = group.ranked.first().map(|ranked| &ranked.best) else { return "no results".into() };
    let unit = ranking.options.by.unit();
    // What was ranked by may not have been measured at all.
    let value = match first.keys().by {
        Some(value) => format!("{} {unit}", number(Some(value))),
        None => format!("{unit} not measured"),
    };
    let who = candidate(first.entry());
    match &group.decision {
        Decision::Winner => {
            let sure = if first.unconfirmed() { " (unconfirmed: too few requests for its percentiles)" } else { "" };
            // Nobody is told to deploy what a simulation or a handful of requests put first.
            let flow = group.key.simulated || group.key.smoke;
            let what = match (flow, group.missing.is_empty()) {
                (true, true) => "first in this flow check is",
                (true, false) => "provisionally first in this flow check is",
                (false, true) => "deploy",
                (false, false) => "the provisional winner is",
            };
            let provisional = if flow { String::new() } else { provisional(ranking, group) };
            format!("{what} {who}: {value}{}, within the SLA{sure}{}{provisional}", at(first), beside(group))
        }
        Decision::Fastest => {
            let sure = if group.missing.is_empty() { "" } else { "provisionally " };
            let what = if first.keys().by.is_some() { "the fastest" } else { "the first by what was measured" };
            format!("no SLA was given; {sure}{what} is {who}: {value}{}{}", at(first), beside(group))
        }
        Decision::None { nearest, limit, by: miss } => {
            let near = &group.ranked[*nearest].best;
            let share = match miss {
                None => String::new(),
                Some(miss) if miss.is_infinite() => " beyond any number".to_string(),
                Some(miss) => format!(" by {:.0} %", miss * 100.0),
            };
            let who = candidate(near.entry());
            format!("none passed the SLA; the nearest is {who}{}, which misses {limit}{share}", at(near))
        }
    }
}

/// Why a winner over several frameworks is not final yet; who is missing has been told.
fn provisional(ranking: &Ranking, group: &Group) -> String {
    let told = |framework: &str| group.missing.iter().any(|missing| &*missing.framework == framework);
    let lacking = ranking.provisional().into_iter().map(|(framework, _)| framework).filter(|name| !told(name));
    let lacking: Vec<&str> = lacking.collect();
    match lacking.is_empty() {
        true => String::new(),
        false => format!("; provisional: the search of {} is incomplete", list(&lacking)),
    }
}

/// ` at 4 req/s`; nothing when the row does not say.
fn at(trial: &Trial) -> String {
    let load = trial.load();
    if load.is_empty() { load } else { format!(" at {load}") }
}

/// How the best of the others compares, and who is tied.
fn beside(group: &Group) -> String {
    let mut said = match &group.ties.next {
        Some((i, comparison)) => {
            let next = candidate(group.ranked[*i].best.entry());
            format!("; next is {next}, {}", gap(comparison))
        }
        None => return String::new(),
    };
    let tied = group.ties.members.len().saturating_sub(1);
    if tied > 0 {
        said.push_str(&format!("; tied with {tied} {}", if tied == 1 { "other" } else { "others" }));
    }
    if let Some(simpler) = group.ties.simpler {
        said.push_str(&format!(", the simplest is {}", candidate(group.ranked[simpler].best.entry())));
    }
    said
}

/// `4.2 % less (ratio 1.044, 95 % interval 1.011 to 1.079, 5 pairs)`; of single runs whether that is any evidence.
fn gap(comparison: &Comparison) -> String {
    let less = |ratio: f64| (1.0 - 1.0 / ratio) * 100.0;
    let share = less(comparison.ratio);
    let words = if share < 0.0 { format!("{:.1} % more", -share) } else { format!("{share:.1} % less") };
    match comparison.interval {
        Some((low, high)) => {
            let kind = if comparison.paired { "pairs" } else { "repeats" };
            let verdict = if comparison.tied() { ", no difference beyond noise" } else { "" };
            let (ratio, repeats) = (comparison.ratio, comparison.repeats);
            format!("{words} (ratio {ratio:.3}, 95 % interval {low:.3} to {high:.3}, {repeats} {kind}{verdict})")
        }
        None if comparison.tied() => format!("{words} (single runs: differences under 10 % are no evidence)"),
        None => format!("{words} (single runs)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{Intake, RankBy, RankOptions, Throughput, rank};

    #[test]
    fn what_was_not_measured_is_not_called_the_fastest() {
        let by = RankBy { throughput: Throughput::Goodput, per_gpu: false };
        let mut intake = Intake::new(RankOptions { by, ..RankOptions::default() });
        let row = r#"{"framework":"f","candidate_id":"c","status":"ok","metrics":{"request_throughput":9}}"#;
        let ranking = rank(intake.line(row).unwrap().into_iter().collect(), &intake);
        let said = decision(&ranking, &ranking.groups[0]);
        assert_eq!(said, "no SLA was given; the first by what was measured is f c: good req/s not measured");
    }
}
