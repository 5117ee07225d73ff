//! The sentences of a report: the decision, and how certain it is.

use std::collections::BTreeSet;
use std::fmt;

use super::text::{candidate, number};
use crate::metrics::compare::Comparison;
use crate::rank::{Confirmation, Decision, Entry, Group, GroupKey, Missing, RIGHT_ANSWERS, Ranking, Trial, short};
use crate::rows::words::{CheckVerdict, Statistic, Status};

/// A setting with more characters than this is replaced by a number.
const LONG: usize = 40;

/// `chat (1000 in, 200 out), open loop`, with all settings in which its group differs from others of the same scenario
/// and load.
pub fn group_title(ranking: &Ranking, group: &Group) -> String {
    let key = &group.key;
    let lengths = group.ranked.first().map(|ranked| {
        let entry = ranked.best.entry();
        (entry.length(false).asked, entry.length(true).asked)
    });
    let mut title = if key.scenario.is_empty() { "unnamed scenario".to_string() } else { key.scenario.clone() };
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
    let alike = || {
        let same = |other: &&Group| other.key.scenario == key.scenario && other.key.mode == key.mode;
        ranking.groups.iter().filter(same).map(|other| &*other.key)
    };
    let mut more = |member: fn(&GroupKey) -> String| {
        if !member(key).is_empty() && alike().any(|other| member(other) != member(key)) {
            title.push_str(&format!(", {}", member(key)));
        }
    };
    more(|key| key.model().to_string());
    more(|key| key.gpu().to_string());
    more(|key| key.client().to_string());
    more(|key| (if key.simulated { "simulated" } else { "real engine" }).into());
    more(|key| (if key.smoke { "smoke test" } else { "benchmark" }).into());
    for (i, (name, value)) in key.settings().enumerate() {
        let values: BTreeSet<&str> =
            alike().filter_map(|other| other.settings().nth(i)).map(|(_, value)| value).collect();
        if values.len() > 1 {
            let place = values.iter().filter(|value| !value.is_empty()).position(|other| *other == value);
            title.push_str(&match place {
                None => format!(", {name} unspecified"),
                // A digest does not help a reader.
                Some(place) if value.len() > LONG => format!(", {name} {}", place + 1),
                Some(_) => format!(", {name} {value}"),
            });
        }
    }
    title
}

/// One sentence: missing frameworks, then the candidate to deploy for this group, or why none is recommended.
pub fn decision(ranking: &Ranking, group: &Group) -> String {
    format!("{}{}", lead(group), answer(ranking, group))
}

/// `incomplete comparison (no result for sglang): `; empty if no framework is missing.
pub fn lead(group: &Group) -> String {
    let names: Vec<&str> = group.missing.iter().map(|missing| &*missing.framework).collect();
    let what = if group.frameworks().len() > 1 { "incomplete comparison" } else { "no comparison" };
    if names.is_empty() { String::new() } else { format!("{what} (no result for {}): ", list(&names)) }
}

/// The frameworks without a result, where, and why, a sentence each.
pub fn missing(ranking: &Ranking) -> Vec<String> {
    if ranking.groups.is_empty() {
        return lacking(&ranking.unmeasured);
    }
    let mut all: Vec<(Vec<&str>, String, &str)> = Vec::new();
    for (missing, groups) in ranking.missing() {
        let place = match groups.len() == ranking.groups.len() {
            true => "any scenario".to_string(),
            false => {
                let titles: Vec<String> = groups.iter().map(|group| group_title(ranking, group)).collect();
                titles.join("; ")
            }
        };
        match all.iter_mut().find(|(_, known, why)| *known == place && *why == missing.why) {
            Some((names, ..)) => names.push(&missing.framework),
            None => all.push((vec![&missing.framework], place, &missing.why)),
        }
    }
    let sentence =
        |(names, place, why): &(Vec<&str>, String, &str)| format!("No result for {} in {place}: {why}.", list(names));
    all.iter().map(sentence).collect()
}

/// `No result for sglang and vllm: never started.`: a sentence for each reason.
pub fn lacking(missing: &[Missing]) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in missing {
        match reasons.iter_mut().find(|(why, _)| *why == one.why) {
            Some((_, names)) => names.push(&one.framework),
            None => reasons.push((&one.why, vec![&one.framework])),
        }
    }
    reasons.iter().map(|(why, names)| format!("No result for {}: {why}.", list(names))).collect()
}

/// Why a ranking is empty, with the first error.
pub fn nothing(ranking: &Ranking) -> String {
    let tried = || ranking.failed.iter().filter(|entry| entry.status() != Status::Skipped.as_str());
    let candidates = |entries: &mut dyn Iterator<Item = &Entry>| {
        entries.map(|entry| (&*entry.framework, &*entry.candidate_id)).collect::<BTreeSet<_>>().len()
    };
    let all = candidates(&mut ranking.failed.iter().map(|entry| &**entry));
    let failed = candidates(&mut tried().map(|entry| &**entry));
    let never = tried().all(|entry| entry.group.scenario.is_empty());
    let what = match (failed == all, never) {
        (true, true) => "failed to start",
        (true, false) => "failed",
        (false, _) => "failed or were skipped",
    };
    let error = tried().chain(&ranking.failed).map(|entry| entry.failure_reason()).find(|reason| !reason.is_empty());
    let error = error.map_or(String::new(), |reason| format!(" (first error: {})", short(reason)));
    match all {
        0 => "No result in the input.".into(),
        1 if failed == 1 => format!("No result: the only candidate {what}{error}."),
        1 => format!("No result: the only candidate was skipped{error}."),
        _ => format!("No result: all {all} candidates {what}{error}."),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => items.concat(),
    }
}

/// The decision on a group, in parts, because the HTML page shows them in different places.
#[derive(Debug, Default)]
pub struct Answer {
    /// No SLA was given.
    no_sla: bool,
    /// The candidate to deploy, or why none is recommended.
    pub main: String,
    /// The percentiles of its limits that have too few requests.
    pub unconfirmed: Option<String>,
    /// The comparison with the others, and what else there is to say.
    pub others: Vec<String>,
}

impl Answer {
    /// All after the candidate.
    pub fn rest(&self) -> Vec<&str> {
        self.unconfirmed.iter().chain(&self.others).map(String::as_str).collect()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.no_sla { "no SLA given; " } else { "" })?;
        f.write_str(&self.main)?;
        self.rest().into_iter().try_for_each(|more| write!(f, "; {more}"))
    }
}

/// The candidate to deploy for this group, or why none is recommended.
pub fn answer(ranking: &Ranking, group: &Group) -> Answer {
    let Some(first) = group.ranked.first().map(|ranked| &ranked.best) else {
        return Answer { main: "no results".into(), ..Answer::default() };
    };
    let unit = ranking.options.by.unit();
    // The ranking metric may be missing.
    let value = match first.keys().by {
        Some(value) => format!("{} {unit}", number(Some(value))),
        None => format!("{unit} not measured"),
    };
    let who = candidate(first.entry());
    let test = test_word(group);
    // The winner of a simulation or a smoke test is not a recommendation.
    let is_test = group.key.simulated || group.key.smoke;
    let complete = group.missing.is_empty();
    match &group.decision {
        Decision::Winner => {
            let what = match (is_test, complete) {
                (true, true) => format!("fastest in this {test} (not a benchmark)"),
                (true, false) => format!("provisionally fastest in this {test} (not a benchmark)"),
                (false, true) => "deploy".into(),
                (false, false) => "provisional winner".into(),
            };
            let mut others = beside(ranking, group);
            others.extend(provisional(ranking, group).filter(|_| !is_test));
            let meets = match first.entry().blind_to_failures() {
                Some(client) => format!("meets the SLA if no request failed ({client} does not count failures)"),
                None => "meets the SLA".into(),
            };
            let main = format!("{what}: {who}, {value}{}, {meets}{}", at(first), checked(first));
            let unconfirmed = first.unconfirmed().then(|| unconfirmed(ranking, first));
            Answer { no_sla: false, main, unconfirmed, others }
        }
        Decision::Fastest => {
            let sure = if complete { "" } else { "provisionally " };
            let test = if is_test { format!(" in this {test} (not a benchmark)") } else { String::new() };
            let what = if first.keys().by.is_some() { "fastest" } else { "first by the other metrics" };
            let main = format!("{sure}{what}{test}: {who}, {value}{}{}", at(first), checked(first));
            let blind = first.entry().blind_to_failures();
            let blind = blind.map(|client| format!("failed requests are unknown ({client} does not count them)"));
            let others = blind.into_iter().chain(beside(ranking, group)).collect();
            Answer { no_sla: true, main, unconfirmed: None, others }
        }
        Decision::None { .. } if first.is_out(&ranking.options) => {
            let main = format!("no candidate may win: {who}, {value}{}{}", at(first), checked(first));
            Answer { main, ..Answer::default() }
        }
        Decision::None { nearest, limit, by: miss } => {
            let near = &group.ranked[*nearest].best;
            let share = match miss {
                None => String::new(),
                Some(miss) if miss.is_infinite() && near.entry().is_cut_short() => {
                    let found = near.entry().already_missed(&ranking.options);
                    let found = found.map_or_else(
                        || "the finished requests can no longer meet the SLA".to_string(),
                        |(test, value)| format!("{} already {value:.0}, limit {}", test.limit, test.threshold),
                    );
                    let main = format!(
                        "no candidate meets the SLA; closest: {}{}, cut short: {found}",
                        candidate(near.entry()),
                        at(near)
                    );
                    return Answer { main, ..Answer::default() };
                }
                Some(miss) if miss.is_infinite() => " because requests failed".to_string(),
                Some(miss) => format!(" by {:.0} %", miss * 100.0),
            };
            let who = candidate(near.entry());
            let main = format!("no candidate meets the SLA; closest: {who}{}, misses {limit}{share}", at(near));
            Answer { main, ..Answer::default() }
        }
    }
}

/// What a run is that is not a benchmark.
fn test_word(group: &Group) -> &'static str {
    if group.key.smoke { "smoke test" } else { "simulation" }
}

/// What the check of its answers says, after a comma; empty if no row says anything of a check.
fn checked(trial: &Trial) -> String {
    let Some(quality) = trial.checked_entry().and_then(Entry::answer_quality) else { return String::new() };
    let of = quality.client.map_or(String::new(), |client| format!(" by {client}"));
    match quality.verdict {
        CheckVerdict::Same => format!(", answers checked{of}: {}", quality.reason),
        CheckVerdict::Worse => format!(", WRONG ANSWERS{of}: {}", quality.reason),
        CheckVerdict::CrossTalk => format!(", ANSWERS OF OTHER REQUESTS{of}: {}", quality.reason),
        // The reason is a caveat: it says more of the check than of the candidate.
        CheckVerdict::Undetermined => format!(", answers undetermined{of}"),
        CheckVerdict::NotChecked => ", answers not checked".into(),
    }
}

/// The percentiles with too few requests: `p99 not confirmed (30 requests, 299 needed)`.
pub fn unconfirmed(ranking: &Ranking, trial: &Trial) -> String {
    let sentence = |(statistic, found): (Statistic, Confirmation)| {
        let Confirmation { n, over, needed, .. } = found;
        let statistic = statistic.title();
        match n {
            None => format!("{statistic} not confirmed ({needed} requests needed)"),
            Some(n) if over > 0 => {
                format!(
                    "{statistic} not confirmed ({n} requests, {over} over the limit; {needed} needed with none over it)"
                )
            }
            Some(n) => format!("{statistic} not confirmed ({n} requests, {needed} needed)"),
        }
    };
    let all: Vec<String> = trial.unconfirmed_by(&ranking.options).into_iter().map(sentence).collect();
    if all.is_empty() { "not confirmed: too few requests".into() } else { all.join(", ") }
}

/// Why a winner over several frameworks is provisional, apart from missing ones.
fn provisional(ranking: &Ranking, group: &Group) -> Option<String> {
    let is_missing = |framework: &str| group.missing.iter().any(|missing| &*missing.framework == framework);
    let lacking = ranking.provisional().into_iter().map(|(framework, _)| framework).filter(|name| !is_missing(name));
    let lacking: Vec<&str> = lacking.collect();
    (!lacking.is_empty()).then(|| format!("provisional: the search of {} is incomplete", list(&lacking)))
}

/// That winners are provisional because searches are incomplete, for all rankings at once.
pub fn incomplete(ranking: &Ranking) -> Option<String> {
    let recommended =
        |group: &Group| matches!(group.decision, Decision::Winner) && !group.key.smoke && !group.key.simulated;
    let names: Vec<&str> = ranking.provisional().into_iter().map(|(framework, _)| framework).collect();
    let says = !names.is_empty() && ranking.groups.iter().any(recommended);
    says.then(|| format!("Provisional: the search of {} is incomplete.", list(&names)))
}

/// ` at 4 req/s`; empty if the row does not have a load.
fn at(trial: &Trial) -> String {
    let (entry, load) = (trial.entry(), trial.load());
    match (entry.rate.or(entry.in_flight), load.is_empty()) {
        (_, true) => load,
        (Some(_), false) => format!(" at {load}"),
        (None, false) => format!(" with {load}"),
    }
}

/// The comparison with the runner-up, the number of ties, and what decides between them.
fn beside(ranking: &Ranking, group: &Group) -> Vec<String> {
    let Some((i, comparison)) = &group.ties.next else { return Vec::new() };
    let second = &group.ranked[*i].best;
    let mut parts = vec![format!("runner-up: {}, {}", candidate(second.entry()), gap(comparison))];
    let tied = group.ties.members.len();
    if tied > 1 {
        let simplest = group.ties.simpler.map(|i| candidate(group.ranked[i].best.entry()));
        let simplest = simplest.map_or(String::new(), |who| format!(", simplest: {who}"));
        parts.push(format!("{tied}-way tie{simplest}"));
    }
    if let Some(rate) = group.one_rate().filter(|_| tied > 1) {
        parts.push(format!("all at {rate} req/s, so ranked by latency"));
    } else if group.ties.by_latency {
        let ttft = |trial: &Trial| trial.keys().ttft.map_or("no".into(), |ms| format!("{} ms", number(Some(ms))));
        let (first, statistic) = (&group.ranked[0].best, ranking.options.statistic);
        parts.push(format!("decided by {statistic} TTFT, {} before {}", ttft(first), ttft(second)));
    }
    // Only a plan can be repeated by name.
    let own = second.entry().own.as_ref().is_some_and(|own| !own.unit.is_empty());
    if comparison.interval.is_none() && own && !group.key.smoke {
        parts.push("single runs: confirm with bench-expand PLAN --from RESULTS --repeats 2..5".into());
    }
    parts
}

/// The first line of a report: missing frameworks, then the candidate to deploy, or the candidates of several rankings.
pub fn headline(ranking: &Ranking) -> String {
    let capital = |text: String| {
        let mut chars = text.chars();
        chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
    };
    match ranking.groups.as_slice() {
        [] => nothing(ranking).trim_end_matches('.').to_string(),
        [group] => {
            let answer = answer(ranking, group);
            let no_sla = if answer.no_sla { "no SLA given; " } else { "" };
            capital(format!("{}{no_sla}{}", lead(group), answer.main))
        }
        groups => capital(over(groups)),
    }
}

/// The decisions on several rankings: `deploy: vllm tp=2 in 3 of 4 rankings; no candidate meets the SLA in 1 of 4`.
fn over(groups: &[Group]) -> String {
    let mut kinds: Vec<DecisionKind> = Vec::new();
    for group in groups {
        let is_test = group.key.smoke || group.key.simulated;
        let kind = match (&group.decision, is_test, group.missing.is_empty()) {
            (Decision::None { limit, .. }, ..) if *limit == RIGHT_ANSWERS => "no candidate has answers that may win",
            (Decision::None { .. }, ..) => "no candidate meets the SLA",
            (_, true, true) => "fastest",
            (_, true, false) => "provisionally fastest",
            (Decision::Winner, false, true) => "deploy",
            (Decision::Winner, false, false) => "provisional winner",
            (Decision::Fastest, false, true) => "no SLA given; fastest",
            (Decision::Fastest, false, false) => "no SLA given; provisionally fastest",
        };
        let of_test = is_test && !matches!(group.decision, Decision::None { .. });
        let test = if of_test { format!(" in this {} (not a benchmark)", test_word(group)) } else { String::new() };
        let who = match (&group.decision, group.ranked.first()) {
            (Decision::Winner | Decision::Fastest, Some(first)) => candidate(first.best.entry()),
            _ => String::new(),
        };
        let kind = format!("{}{kind}", lead(group));
        let place = kinds.iter().position(|known| known.kind == kind && known.test == test).unwrap_or_else(|| {
            kinds.push(DecisionKind { kind, test, winners: Vec::new() });
            kinds.len() - 1
        });
        let winners = &mut kinds[place].winners;
        match winners.iter_mut().find(|(known, _)| *known == who) {
            Some((_, n)) => *n += 1,
            None => winners.push((who, 1)),
        }
    }
    // The candidate that wins most rankings first.
    kinds.iter_mut().for_each(|kind| kind.winners.sort_by_key(|(_, n)| std::cmp::Reverse(*n)));
    let all = groups.len();
    let part = |(i, DecisionKind { kind, test, winners }): (usize, &DecisionKind)| {
        let name = |(who, n): &(String, usize)| match who.is_empty() {
            true => format!("in {n} of {all} rankings"),
            false => format!("{who} in {n} of {all} rankings"),
        };
        let between = if winners.iter().all(|(who, _)| who.is_empty()) { " " } else { ": " };
        // Said once.
        let test = if kinds[..i].iter().any(|earlier| earlier.test == *test) { "" } else { test };
        format!("{kind}{test}{between}{}", winners.iter().map(name).collect::<Vec<_>>().join(", "))
    };
    kinds.iter().enumerate().map(part).collect::<Vec<_>>().join("; ")
}

/// A decision that several rankings share.
struct DecisionKind {
    /// `deploy`, with the frameworks that are missing.
    kind: String,
    /// That it is of a test, not of a benchmark.
    test: String,
    /// Who wins, in how many rankings.
    winners: Vec<(String, usize)>,
}

/// The runner-up, ties and what decides between them, on about one line: `runner-up -4.2 %, within noise; 3-way tie by latency`. Its
/// name is left out if the table shows it as the best of its framework.
pub fn brief(group: &Group) -> Option<String> {
    let (second, comparison) = group.ties.next.as_ref()?;
    let runner_up = &group.ranked[*second];
    let shown = group.best_of_frameworks().iter().any(|best| std::ptr::eq(*best, runner_up));
    let simplest = if group.ties.simpler == Some(*second) { " and simplest" } else { "" };
    let name = if shown { String::new() } else { format!(": {}", candidate(runner_up.best.entry())) };
    let noise = match (comparison.tied(), comparison.interval) {
        // The tie says so.
        (true, _) => "",
        (false, None) => ", single runs",
        (false, Some((low, high))) if low <= 1.0 && 1.0 <= high => ", too few repeats to tell",
        (false, Some(_)) => "",
    };
    let tied = group.ties.members.len();
    let tie = if tied > 1 { format!("; {tied}-way tie") } else { String::new() };
    let latency = group.ties.by_latency || (tied > 1 && group.one_rate().is_some());
    let latency = if latency { " by latency" } else { "" };
    Some(format!("runner-up{simplest}{name} {}{noise}{tie}{latency}", share(comparison)))
}

/// `-4.2 %`: how much less the second has than the first.
fn share(comparison: &Comparison) -> String {
    let share = ((1.0 / comparison.ratio - 1.0) * 1000.0).round() / 10.0;
    if share == 0.0 { "0.0 %".to_string() } else { format!("{share:+.1} %") }
}

/// `-4.2 % (ratio 1.044, 95 % interval 1.011 to 1.079, 5 pairs)`; for single runs whether it is within noise.
fn gap(comparison: &Comparison) -> String {
    let share = share(comparison);
    match comparison.interval {
        Some((low, high)) => {
            let kind = if comparison.paired { "pairs" } else { "repeats" };
            let noise = match comparison.tied() {
                true => ", within noise",
                false if low <= 1.0 && 1.0 <= high => ", too few repeats to tell",
                false => "",
            };
            let (ratio, repeats) = (comparison.ratio, comparison.repeats);
            format!("{share} (ratio {ratio:.3}, 95 % interval {low:.3} to {high:.3}, {repeats} {kind}{noise})")
        }
        None if comparison.tied() => format!("{share} (within noise for single runs)"),
        None => format!("{share} (single runs)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{Intake, RankBy, RankOptions, Throughput, rank};

    #[test]
    fn an_unconfirmed_percentile_names_its_requests() {
        let mut intake = Intake::default();
        let row = r#"{"record":"result","framework":"f","candidate_id":"c","status":"ok","verdict":"pass_unconfirmed","run":{},
            "workload":{"scenario":"chat","max_concurrency":8},"metrics":{"request_throughput":9},
            "sla":{"passed":true,"max_p99_ttft_ms":500,"tested":{"max_p99_ttft_ms":{"threshold":500,"value":100,
            "basis":"all_scheduled","margin":0.8,"passed":true,"n":30,"over":0,"needed":299,"confirmed":false}}}}"#;
        let ranking = rank(intake.line(&row.replace('\n', "")).unwrap().into_iter().collect(), &intake);
        assert_eq!(
            decision(&ranking, &ranking.groups[0]),
            "deploy: f c, 9.00 req/s at concurrency 8, meets the SLA; p99 not confirmed (30 requests, 299 needed)"
        );
    }

    #[test]
    fn what_was_not_measured_is_not_called_the_fastest() {
        let by = RankBy { throughput: Throughput::Goodput, per_gpu: false };
        let mut intake = Intake::new(RankOptions { by, ..RankOptions::default() });
        let row = r#"{"framework":"f","candidate_id":"c","status":"ok","metrics":{"request_throughput":9}}"#;
        let ranking = rank(intake.line(row).unwrap().into_iter().collect(), &intake);
        let sentence = decision(&ranking, &ranking.groups[0]);
        assert_eq!(sentence, "no SLA given; first by the other metrics: f c, good req/s not measured");
    }
}
