//! Caveats: what to know before relying on a ranking.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::drafts::of_drafts;
use super::note::list;
use super::text::candidate;
use crate::metrics::nodes::in_words;
use crate::rank::{Decision, Difference, Entry, Group, GroupKey, LOAD, Notes, Ranking, Trial, differences};
use crate::rows::kinds::Substitution;
use crate::rows::words::{CheckVerdict, LoadMode, Status};

/// The caveat of rows with a note: its title and text.
const NOTED: &[(Notes, &str, &str)] = &[
    (
        Notes::RANDOM,
        "Synthetic workload",
        "random prompts of fixed lengths. For a production choice, use the real distribution.",
    ),
    (Notes::LENGTHS, "Length mismatch", "some outputs were shorter than requested, so their rows are not comparable."),
    (Notes::CACHE, "Cache", "some prompt tokens came from the prefix cache although all prompts are unique."),
    (
        Notes::BUFFERED,
        "Buffered",
        "in some runs many tokens of an answer arrived at once (a proxy buffers, the server sends whole answers, or the client got no CPU); their TPOT is that of the other tokens, or unknown.",
    ),
    (Notes::CHUNKS, "Tokens", "some servers reported no usage; their tokens per second and TPOT are omitted."),
    (Notes::TUNNEL, "Tunnel", "some servers were reached through a forwarded port; every latency includes its delay."),
    (Notes::NETWORK, "Network", "some servers were on another host; every latency includes the network delay."),
    (
        Notes::TOO_SHORT,
        "Too short",
        "some open-loop runs were too short to tell whether the server keeps up with the rate. Make them at least twice as long as one response takes, with 30 requests or more: raise num_prompts, or set benchmark.duration_s.",
    ),
    (
        Notes::UNSTABLE,
        "Drift",
        "in some runs throughput or TTFT differs by more than 10 % between the thirds of the run.",
    ),
    (Notes::THROTTLED, "Throttled", "a GPU was slowed down by heat or its power limit while some rows were measured."),
    (
        Notes::PLACEHOLDER,
        "Placeholders",
        "some clients write 0 for values that they did not measure; these values are omitted.",
    ),
    (
        Notes::BLIND,
        "Other clients",
        "some do not detect every failure or first token; see quality.blind and native.blind in the row.",
    ),
];

/// Entries whose plan caveats are read.
const READ: usize = 2000;

/// A caveat.
#[derive(Debug)]
pub struct Caveat {
    /// A title that says enough where there is little room.
    pub title: Option<&'static str>,
    /// It says why a scenario has several rankings.
    pub separates: bool,
    text: String,
}

impl Caveat {
    fn of(title: &'static str, text: impl Into<String>) -> Self {
        Self { title: Some(title), separates: false, text: text.into() }
    }
}

impl From<String> for Caveat {
    fn from(text: String) -> Self {
        Self { title: None, separates: false, text }
    }
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.title.iter().try_for_each(|title| write!(f, "{title}: "))?;
        f.write_str(&self.text)
    }
}

/// All caveats, in a fixed order.
pub fn caveats(ranking: &Ranking) -> Vec<Caveat> {
    let mut notes: Vec<Caveat> = Vec::new();
    if ranking.simulated() {
        notes.push(Caveat::of("Simulated", "some or all rows come from a simulated engine, not from a real one."));
    }
    if ranking.smoke() {
        notes.push(Caveat::of(
            "Smoke test",
            "some or all runs have too few prompts, or settings that only show that everything works. Not a benchmark.",
        ));
    }
    let mut best = ranking.groups.iter().flat_map(|group| &group.ranked);
    if best.any(|ranked| ranked.best.unconfirmed()) {
        notes.push(Caveat::of("Unconfirmed", "a percentile meets its limit, but with too few requests for 95 % confidence (a p99 needs 299 with none over the limit)."));
    }
    let saturated = ranking.groups.iter().flat_map(Group::entries).filter(|entry| entry.notes.has(Notes::SATURATED));
    match saturated.count() {
        0 => {}
        1 => notes.push(Caveat::of(
            "Saturated",
            "the backlog was still growing at the end of 1 run, so its rate is counted as failing.",
        )),
        n => notes.push(Caveat::of(
            "Saturated",
            format!("the backlog was still growing at the end of {n} runs, so their rate is counted as failing."),
        )),
    }
    let noted = NOTED.iter().filter(|(note, ..)| ranking.notes.has(*note));
    notes.extend(noted.map(|(_, title, text)| Caveat::of(title, *text)));
    notes.extend(of_nodes(ranking));
    notes.extend(ranking.slots.iter().map(|text| Caveat::of("Slots", text.clone())));
    notes.extend(of_answers(ranking));
    notes.extend(of_drafts(ranking).into_iter().map(|(title, text)| Caveat::of(title, text)));
    for group in &ranking.groups {
        if let Some(rate) = group.one_rate() {
            notes.push(Caveat::of("One rate", format!(
                "all runs of {} were at {rate} req/s, so those that keep up are ranked by latency; search for the highest rate (benchmark.qps) to compare throughput.",
                scenario(&group.key.scenario)
            )));
        }
        if !group.mixed.is_empty() {
            notes.push(Caveat::of(
                "Mixed",
                format!("rows of {} differ in {}.", scenario(&group.key.scenario), group.mixed.join("; ")),
            ));
        }
    }
    let names: BTreeSet<&str> = ranking.groups.iter().map(|group| group.key.scenario.as_str()).collect();
    for name in names {
        let keys: Vec<&GroupKey> =
            ranking.groups.iter().map(|group| &*group.key).filter(|key| key.scenario == name).collect();
        if keys.len() > 1 {
            notes.push(Caveat { separates: true, ..separately(name, &differences(&keys)).into() });
        }
    }
    let clients: BTreeSet<&str> = ranking.groups.iter().map(|group| group.key.client()).collect();
    if clients.len() > 1 {
        notes.push(Caveat::of("Clients", "results of different clients are ranked separately, because they measure differently. To rank them together, give all the same scenario (bench-normalize --set scenario=NAME, or --name) and pass --allow-mixed."));
    }
    let (claims, claimed) = &ranking.claims;
    notes.extend(claims.iter().map(|claim| format!("Claim: {claim}.").into()));
    if *claimed > claims.len() {
        notes.push(Caveat::of(
            "Claims",
            format!("{} more rows make a claim about their SLA that their numbers contradict.", claimed - claims.len()),
        ));
    }
    if !ranking.assumed.is_empty() {
        notes.push(Caveat::of(
            "Assumed",
            format!(
                "rows that leave settings unspecified were ranked with those that fit ({}).",
                ranking.assumed.join("; ")
            ),
        ));
    }
    notes.extend(of_the_plan(ranking).into_iter().map(Caveat::from));
    let given_up = ranking.failed.iter().filter(|entry| entry.notes.has(Notes::GAVE_UP));
    let given_up: BTreeSet<&str> = given_up.map(|entry| &*entry.framework).collect();
    for framework in given_up {
        let own = ranking.failed.iter().filter(|entry| &*entry.framework == framework);
        let own = own.filter(|entry| !entry.notes.has(Notes::GAVE_UP) && entry.status() != Status::Skipped.as_str());
        let failed: BTreeSet<&str> = own.map(|entry| &*entry.candidate_id).collect();
        let said = match failed.len() {
            0 => format!("{framework}: stopped early; search incomplete."),
            1 => format!("{framework}: stopped after 1 failed candidate; search incomplete."),
            n => format!("{framework}: stopped after {n} failed candidates; search incomplete."),
        };
        notes.push(said.into());
    }
    for (framework, tried) in &ranking.tried {
        if tried.excluded {
            notes.push(format!("{framework}: excluded by the user.").into());
            continue;
        }
        let tuned = tried.finished > usize::from(tried.baseline);
        if tried.of > 0 && (!tried.baseline || !tuned || tried.finished < tried.of) {
            let why = match (tried.baseline, tried.baseline_seen, tuned) {
                (true, _, true) => "",
                (true, _, false) => "; none but the baseline",
                (false, true, _) => "; the baseline failed",
                (false, false, _) => "; the baseline was not run",
            };
            let counts = format!("{} of {} candidates produced a result", tried.finished, tried.of);
            notes.push(format!("{framework}: {counts}{why}.").into());
        }
    }
    notes
}

fn scenario(name: &str) -> &str {
    if name.is_empty() { "the unnamed scenario" } else { name }
}

/// Says that a scenario has several rankings, and why: `chat is ranked separately for closed-loop and open-loop load.`
fn separately(name: &str, differences: &[Difference]) -> String {
    let load = |value: &String| match value.split_once(' ') {
        Some((mode, arrivals)) => format!("{mode}-loop ({arrivals})"),
        None => match value.parse() {
            Ok(LoadMode::Open | LoadMode::Closed) => format!("{value}-loop"),
            Ok(LoadMode::Burst) | Err(_) => value.clone(),
        },
    };
    let part = |difference: &Difference| match difference.values.as_slice() {
        values if difference.what == LOAD => format!("{} load", list(&values.iter().map(load).collect::<Vec<_>>())),
        // Digests and long settings do not help a reader.
        values if values.iter().any(|value| value.len() > 40) => {
            format!("each {} ({} of them)", difference.what, values.len())
        }
        values => format!("each {} ({})", difference.what, values.join(", ")),
    };
    let parts: Vec<String> = differences.iter().map(part).collect();
    format!("{} is ranked separately for {}.", scenario(name), parts.join(", and for "))
}

/// Nodes that differ from the others, and how much the others differ.
fn of_nodes(ranking: &Ranking) -> Vec<Caveat> {
    let mut found = Vec::new();
    let on = &ranking.measured_on;
    for (node, ratio) in ranking.speeds.apart() {
        let differs = in_words(ratio);
        let rows = if on.contains(node) {
            "its rows are ranked apart, unless another node measured the same"
        } else {
            "it measured no row"
        };
        found.push(Caveat::of("Node", format!("node {node} is {differs} than the others at the fixed load; {rows}.")));
    }
    let known = ranking.speeds.ratios();
    let unknown: Vec<&str> = on.iter().filter(|node| !known.contains_key(*node)).map(String::as_str).collect();
    if on.len() > 1 && !unknown.is_empty() {
        found.push(Caveat::of("Nodes", format!("rows are of {} nodes, and nothing says whether these are as fast as the others: {}. bench-sweep --share measures that (or bench-expand --calibrate).", on.len(), unknown.join(", "))));
    } else if on.len() > 1 {
        let within = known.iter().filter(|(node, _)| ranking.speeds.apart_by(node).is_none()).map(|(_, ratio)| *ratio);
        let (least, most) = within.fold((f64::INFINITY, 0.0), |(a, b), ratio| (f64::min(a, ratio), f64::max(b, ratio)));
        let share = (most / least - 1.0) * 100.0;
        found.push(Caveat::of("Nodes", format!("rows are of {} nodes; those ranked together differ by at most {share:.1} % at the fixed load, which is part of the intervals of repeats.", on.len())));
    }
    found
}

/// What is odd about the answers of winners, and that nobody checked them.
fn of_answers(ranking: &Ranking) -> Vec<Caveat> {
    let mut found = Vec::new();
    let winners = ranking.groups.iter().filter(|group| !matches!(group.decision, Decision::None { .. }));
    let winners: Vec<_> = winners.filter_map(|group| group.ranked.first()).map(|ranked| &ranked.best).collect();
    for trial in &winners {
        let quality = trial.checked_entry().and_then(|entry| Some((entry, entry.answer_quality()?)));
        if let Some((entry, quality)) = quality {
            let unclear = (quality.verdict == CheckVerdict::Undetermined).then_some(quality.reason);
            let said: Vec<String> = unclear.into_iter().chain(quality.warnings).collect();
            if !said.is_empty() {
                found.push(Caveat::of("Answers", format!("{}: {}.", candidate(entry), said.join("; "))));
            }
        }
    }
    // Rows of other tools, simulations and smoke tests are no recommendation.
    let own = |entry: &Entry| {
        let planned = entry.own.as_ref().is_some_and(|own| !own.unit.is_empty());
        planned && !entry.group.simulated && !entry.group.smoke
    };
    let unchecked = |trial: &&&Trial| {
        let entry = trial.entry();
        let verdict = trial.answers().unwrap_or(CheckVerdict::NotChecked);
        verdict == CheckVerdict::NotChecked && own(entry) && entry.forced_acceptance().is_none()
    };
    if winners.iter().any(|trial| unchecked(&trial)) {
        let why = "not checked: a fast server may give wrong answers. Set check: winners in the plan, or run bench-load --check.";
        found.push(Caveat::of("Answers", why));
    }
    found
}

/// Caveats from the plans' checks, and values that the searches did not test, without duplicates.
fn of_the_plan(ranking: &Ranking) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    let ranked = ranking.groups.iter().filter(|_| ranking.notes.has(Notes::PLAN)).flat_map(Group::entries);
    let all = ranked.chain(ranking.failed.iter().map(|entry| &**entry));
    for entry in all.filter(|entry| entry.notes.has(Notes::PLAN)).take(READ) {
        notes.extend(entry.caveats().map(|caveat| format!("Plan: {caveat}.")));
        for Substitution { framework, knob, to, reason } in entry.substitutions() {
            let change = to.map_or("dropped".into(), |to| format!("replaced by {to}"));
            notes.insert(format!("{framework}: {knob} was {change}: {reason}."));
        }
        for (knob, values) in entry.never_tried() {
            notes.insert(format!("{}: not tested: {knob}={}.", entry.framework, not_tested(values)));
        }
    }
    notes
}

/// Values as text: `128, 256`.
fn not_tested(values: &Value) -> String {
    match values {
        Value::Array(values) => values.iter().map(not_tested).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
