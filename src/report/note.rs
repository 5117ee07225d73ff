//! What a report says in sentences: the decision, and what to know before believing it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::text::{candidate, number, unit};
use crate::rank::{Decision, Entry, Group, GroupKey, RankBy, Ranking};

/// Without repeats, differences below this share are no evidence.
const NOISE: f64 = 0.10;

/// `chat (1000 in, 200 out), open loop`, with the model or client where the ranking has several groups that differ so.
pub fn group_title(ranking: &Ranking, group: &Group) -> String {
    let key = &group.key;
    let lengths = group.best.first().map(|entry| {
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
    more(|key| key.model.clone());
    more(|key| key.gpu.clone());
    more(|key| key.client.clone());
    more(|key| (if key.simulated { "simulated" } else { "real engine" }).into());
    more(|key| (if key.smoke { "flow check" } else { "measurement" }).into());
    // The workload's digest is for machines: it is the last resort when nothing else tells two groups apart.
    if differs(|key| key.workload.clone()) {
        title.push_str(&format!(", workload {}", &crate::digest::sha256(key.workload.as_bytes())[..8]));
    }
    title
}

/// One sentence: what to deploy for this group, or why nothing is recommended.
pub fn decision(group: &Group, by: RankBy) -> String {
    let Some(first) = group.best.first() else { return "no results".into() };
    let value = |entry: &Entry| format!("{} {}", number(entry.metric(by.metric())), unit(by));
    let who = candidate(first);
    match &group.decision {
        Decision::Winner => {
            let sure = if first.unconfirmed { " (unconfirmed: too few requests for its percentiles)" } else { "" };
            // Nobody is told to deploy what a simulation or a handful of requests put first.
            let what = if group.key.simulated || group.key.smoke { "first in this flow check is" } else { "deploy" };
            format!("{what} {who}: {}{}, within the SLA{sure}{}", value(first), at(first), second(group, by))
        }
        Decision::Fastest => {
            format!("no SLA was given; the fastest is {who}: {}{}{}", value(first), at(first), second(group, by))
        }
        Decision::None { nearest, limit, by: miss } => {
            let near = &group.best[*nearest];
            let share = match miss {
                None => String::new(),
                Some(miss) if miss.is_infinite() => " beyond any number".to_string(),
                Some(miss) => format!(" by {:.0} %", miss * 100.0),
            };
            format!("none passed the SLA; the nearest is {}{}, which misses {limit}{share}", candidate(near), at(near))
        }
    }
}

/// ` at 4 req/s`; nothing when the row does not say.
fn at(entry: &Entry) -> String {
    let load = entry.load();
    if load.is_empty() { load } else { format!(" at {load}") }
}

/// How the best of the others compares.
fn second(group: &Group, by: RankBy) -> String {
    let (Some(first), Some(second)) = (group.best.first(), group.best.get(1)) else { return String::new() };
    if second.passed != first.passed {
        return String::new();
    }
    let (Some(a), Some(b)) = (first.metric(by.metric()), second.metric(by.metric())) else { return String::new() };
    let gap = if a > 0.0 { (a - b) / a } else { 0.0 };
    let evidence = if gap < NOISE { "; single runs, differences under 10 % are not evidence" } else { "" };
    format!("; next is {}, {:.1} % less{evidence}", candidate(second), gap * 100.0)
}

/// What to know before believing any of it.
pub fn caveats(ranking: &Ranking) -> Vec<String> {
    let mut notes = Vec::new();
    let any =
        |pointer: &str, wanted: Value| ranking.groups.iter().flat_map(|g| &g.trials).any(|e| e.at(pointer) == wanted);
    if ranking.simulated() {
        notes.push(
            "Simulated: some or all rows come from a simulated engine; they are no measurement of a real one.".into(),
        );
    }
    if ranking.smoke() {
        notes.push("Flow check: some or all runs have too few prompts, or settings that only prove that the flow works. Not a performance result.".into());
    }
    if ranking.groups.iter().flat_map(|g| &g.trials).any(|e| e.unconfirmed) {
        notes.push("Unconfirmed: a percentile was kept, but with too few requests to say so with 95 % confidence (a p99 takes 299 without a miss).".into());
    }
    if any("/workload/kind", "random".into()) {
        notes.push(
            "Synthetic workload: random prompts of fixed lengths. For a production choice, use the real distribution."
                .into(),
        );
    }
    if any("/quality/length_mismatch", true.into()) {
        notes.push("Length mismatch: some answers were shorter than asked, so their rows are not comparable.".into());
    }
    if any("/quality/cache_contaminated", true.into()) {
        notes.push("Cache: some prompt tokens came from a cache although prompts are unique.".into());
    }
    if any("/quality/token_source", "chunks".into()) {
        notes.push("Tokens: some servers gave no usage; their tokens per second and TPOT are left out.".into());
    }
    if any("/quality/reached_by", "tunnel".into()) {
        notes.push("Tunnel: some servers were reached through a forwarded port; its time is in every latency.".into());
    }
    if any("/quality/reached_by", "network".into()) {
        notes.push("Network: some servers were on another host; the way there is in every latency.".into());
    }
    if any("/quality/stability/saturated", true.into()) {
        notes.push("Falling behind: in some open-loop runs the requests in flight grew to the end; such a rate fails, whatever its latencies say.".into());
    }
    if any("/quality/throttled", true.into()) {
        notes.push("Throttled: heat or the power supply slowed a GPU down while some rows were measured.".into());
    }
    notes.extend(of_the_plan(ranking));
    let given_up = ranking.failed.iter().filter(|entry| entry.at("/failure_class") == "gave_up");
    let given_up: BTreeSet<String> = given_up.map(|entry| entry.framework.clone()).collect();
    for framework in given_up {
        notes.push(format!("Not fully searched: {framework} was given up because none of its candidates was good."));
    }
    for (framework, tried) in &ranking.tried {
        let tuned = tried.finished > usize::from(tried.baseline);
        if tried.of > 0 && (!tried.baseline || !tuned || tried.finished < tried.of) {
            notes.push(format!(
                "Search: {framework} has results of {} of {} candidates{}{}.",
                tried.finished,
                tried.of,
                if tried.baseline { "" } else { ", not of its baseline" },
                if tuned { "" } else { ", of none that is tuned" }
            ));
        }
    }
    notes
}

/// What checking the plan found out, and what its search left untried; each once.
fn of_the_plan(ranking: &Ranking) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for entry in ranking.all() {
        let caveats = entry.at("/caveats");
        let caveats = caveats.as_array().into_iter().flatten().filter_map(Value::as_str);
        notes.extend(caveats.map(|caveat| format!("Plan: {caveat}.")));
        for s in entry.at("/substitutions").as_array().into_iter().flatten() {
            let text = |key: &str| s[key].as_str().unwrap_or_default().to_string();
            let became = s["to"].as_str().map_or("was left out".into(), |to| format!("became {to}"));
            let (framework, knob, reason) = (text("framework"), text("knob"), text("reason"));
            notes.insert(format!("Substituted: {knob} of {framework} {became}: {reason}."));
        }
        for (knob, values) in entry.at("/candidate/never_tried").as_object().into_iter().flatten() {
            notes.insert(format!("Never tried: {knob} {values} of {}.", entry.framework));
        }
    }
    notes
}

/// Every limit that stands in any row, `max_p99_ttft_ms 1500`.
pub fn limits(ranking: &Ranking) -> Vec<String> {
    let mut limits: Vec<String> = Vec::new();
    for entry in ranking.all() {
        for (key, value) in entry.at("/sla").as_object().into_iter().flatten() {
            // Rows of others may write 250 where ours write 250.0.
            let Some(value) = value.as_f64() else { continue };
            let text = format!("{key} {value}");
            if !limits.contains(&text) {
                limits.push(text);
            }
        }
    }
    limits.sort();
    limits
}
