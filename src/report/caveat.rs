//! What to know before believing any of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rank::{Group, GroupKey, Notes, Ranking, differences};

/// A caveat of rows that have a note.
const NOTED: &[(Notes, &str)] = &[
    (
        Notes::RANDOM,
        "Synthetic workload: random prompts of fixed lengths. For a production choice, use the real distribution.",
    ),
    (Notes::LENGTHS, "Length mismatch: some answers were shorter than asked, so their rows are not comparable."),
    (Notes::CACHE, "Cache: some prompt tokens came from a cache although prompts are unique."),
    (Notes::CHUNKS, "Tokens: some servers gave no usage; their tokens per second and TPOT are left out."),
    (Notes::TUNNEL, "Tunnel: some servers were reached through a forwarded port; its time is in every latency."),
    (Notes::NETWORK, "Network: some servers were on another host; the way there is in every latency."),
    (
        Notes::SATURATED,
        "Falling behind: in some open-loop runs the backlog grew to the end; such a rate fails, whatever its latencies say.",
    ),
    (
        Notes::TOO_SHORT,
        "Too short to tell: some open-loop runs ended before anybody could see whether the server keeps up with the rate. Make them at least twice as long as an answer takes, with 30 requests or more: raise num_prompts, or set benchmark.duration_s.",
    ),
    (Notes::UNSTABLE, "Drift: in some runs throughput or TTFT differ by more than 10 % between the thirds of the run."),
    (Notes::THROTTLED, "Throttled: heat or the power supply slowed a GPU down while some rows were measured."),
    (Notes::PLACEHOLDER, "Placeholders: some clients write 0 where they measured nothing; such numbers are left out."),
    (
        Notes::BLIND,
        "Other clients: some do not see every failure or first token; quality.blind and native.blind in the row say what.",
    ),
];

/// Entries of which the plan's own words are read.
const READ: usize = 2000;

/// All of them, in a fixed order.
pub fn caveats(ranking: &Ranking) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    if ranking.simulated() {
        notes.push(
            "Simulated: some or all rows come from a simulated engine; they are no measurement of a real one.".into(),
        );
    }
    if ranking.smoke() {
        notes.push("Flow check: some or all runs have too few prompts, or settings that only prove that the flow works. Not a performance result.".into());
    }
    let mut best = ranking.groups.iter().flat_map(|group| &group.ranked);
    if best.any(|ranked| ranked.best.unconfirmed()) {
        notes.push("Unconfirmed: a percentile was kept, but with too few requests to say so with 95 % confidence (a p99 takes 299 without a miss).".into());
    }
    notes.extend(NOTED.iter().filter(|(note, _)| ranking.notes.has(*note)).map(|(_, text)| (*text).to_string()));
    for group in &ranking.groups {
        if let Some(rate) = group.one_rate() {
            notes.push(format!(
                "One rate: in {} all ran at {rate} req/s, so throughput cannot separate them; latencies do, and a search for the highest rate would.",
                scenario(&group.key.scenario)
            ));
        }
        if !group.mixed.is_empty() {
            notes.push(format!(
                "Mixed: rows of {} differ in {}.",
                scenario(&group.key.scenario),
                group.mixed.join("; ")
            ));
        }
    }
    let names: BTreeSet<&str> = ranking.groups.iter().map(|group| group.key.scenario.as_str()).collect();
    for name in names {
        let keys: Vec<&GroupKey> =
            ranking.groups.iter().map(|group| &*group.key).filter(|key| key.scenario == name).collect();
        if keys.len() > 1 {
            let differ = differences(&keys).join("; ");
            notes.push(format!(
                "Apart: {} has {} rankings, for its rows differ in {differ}.",
                scenario(name),
                keys.len()
            ));
        }
    }
    let (claims, claimed) = &ranking.claims;
    notes.extend(claims.iter().map(|claim| format!("Claim: {claim}.")));
    if *claimed > claims.len() {
        notes.push(format!(
            "Claims: {} more rows say something about their SLA that their numbers do not.",
            claimed - claims.len()
        ));
    }
    if !ranking.assumed.is_empty() {
        notes.push(format!(
            "Assumed: rows that do not say everything were taken for the same ({}).",
            ranking.assumed.join("; ")
        ));
    }
    notes.extend(of_the_plan(ranking));
    let given_up = ranking.failed.iter().filter(|entry| entry.notes.has(Notes::GAVE_UP));
    let given_up: BTreeSet<&str> = given_up.map(|entry| &*entry.framework).collect();
    for framework in given_up {
        notes.push(format!("Not fully searched: {framework} was given up because none of its candidates was good."));
    }
    for (framework, tried) in &ranking.tried {
        if tried.excluded {
            notes.push(format!("Excluded: {framework} was left out by the user."));
            continue;
        }
        let tuned = tried.finished > usize::from(tried.baseline);
        if tried.of > 0 && (!tried.baseline || !tuned || tried.finished < tried.of) {
            // Why a winner is provisional stands here too.
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

fn scenario(name: &str) -> &str {
    if name.is_empty() { "the rows without a scenario" } else { name }
}

/// What checking the plan found out, and what its search left untried; each once.
fn of_the_plan(ranking: &Ranking) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    let ranked = ranking.groups.iter().filter(|_| ranking.notes.has(Notes::PLAN)).flat_map(Group::entries);
    let all = ranked.chain(ranking.failed.iter().map(|entry| &**entry));
    for entry in all.filter(|entry| entry.notes.has(Notes::PLAN)).take(READ) {
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
