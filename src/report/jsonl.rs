//! One `decision` row for each ranking, then the result rows with `rank`, `group` and `verdict`; failed results and load
//! points other than the candidate's best have no rank. The first row of a group has the `decision` on it; if the group lacks
//! frameworks, it is `provisional` and lists those that are `missing`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::parts::in_order;
use super::{next, note};
use crate::base::error::Result as Done;
use crate::rank::{Decision, Entry, Group, Missing, RANKING_KEYS, Ranking, Trial, Unfinished};
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::{DecisionRow, Members};
use crate::rows::row::Row;
use crate::rows::words::Verdict;

/// Writes the rows: the decisions, then the results, ranked ones first. If runs are missing, the first row is `unfinished`.
///
/// # Errors
/// If the reader left, or the error of the system.
pub fn rows<W: std::io::Write>(ranking: &Ranking, unfinished: Option<&Unfinished>, out: &mut RowWriter<W>) -> Done<()> {
    if let Some(Unfinished { reason, done, planned, never_started }) = unfinished {
        let text = unfinished.map(Unfinished::sentence);
        let members =
            json!({"text": text, "reason": reason, "done": done, "planned": planned, "never_started": never_started});
        out.write(&Row::new("unfinished", &members))?;
    }
    if ranking.groups.is_empty() {
        let decision = DecisionRow {
            decision: note::headline(ranking),
            missing: reasons(&ranking.unmeasured),
            why: note::missing(ranking),
            ..DecisionRow::default()
        };
        out.write_typed("decision", &decision)?;
    }
    for (n, group) in ranking.groups.iter().enumerate() {
        out.write_typed("decision", &decision(ranking, n, group))?;
    }
    let mut all: Vec<RankedLine> = Vec::new();
    for (n, group) in ranking.groups.iter().enumerate() {
        for (i, ranked) in group.ranked.iter().enumerate() {
            let trials = std::iter::once(&ranked.best).chain(&ranked.others).enumerate();
            all.extend(trials.flat_map(|(at, trial)| {
                let rank = (at == 0).then_some(i + 1);
                trial.entries().map(move |entry| RankedLine {
                    entry,
                    verdict: row_verdict(trial, entry),
                    rank,
                    group: n,
                })
            }));
        }
    }
    in_order(&all, |line, text| line.write(ranking, text), |part| out.write_whole(part))?;
    in_order(
        &ranking.failed,
        |entry, text| {
            text.extend_from_slice(entry.line().as_bytes());
            text.push(b'\n');
        },
        |part| out.write_whole(part),
    )
}

fn reasons(missing: &[Missing]) -> Members {
    missing.iter().map(|missing| (missing.framework.to_string(), Value::from(missing.why.as_str()))).collect()
}

/// The decision on a group, for programs.
fn decision(ranking: &Ranking, n: usize, group: &Group) -> DecisionRow {
    let answer = note::answer(ranking, group);
    let chosen = match &group.decision {
        Decision::Winner | Decision::Fastest => group.ranked.first(),
        Decision::None { .. } => None,
    };
    let chosen = chosen.map(|ranked| ranked.best.entry());
    DecisionRow {
        group: Some(n + 1),
        scenario: group.key.scenario.clone(),
        load_mode: group.key.mode.clone(),
        decision: note::decision(ranking, group),
        framework: chosen.map(|entry| entry.framework.to_string()),
        candidate_id: chosen.map(|entry| entry.candidate_id.to_string()),
        server_command: chosen.map(|entry| entry.commands().deploy().to_string()),
        provisional: !group.missing.is_empty(),
        missing: reasons(&group.missing),
        why: answer.rest().into_iter().map(String::from).collect(),
        next: next::steps(ranking, group),
    }
}

/// The verdict of one row; `None` without an SLA. Of a trial with wrong answers no row passes.
fn row_verdict(trial: &Trial, entry: &Entry) -> Option<&'static str> {
    if trial.has_wrong_answers() {
        return Some(Verdict::Fail.as_str());
    }
    entry.passed.map(|_| entry.verdict())
}

/// A result on its way out.
struct RankedLine<'a> {
    entry: &'a Entry,
    verdict: Option<&'static str>,
    /// From 1; `None` for a load point that is not the best.
    rank: Option<usize>,
    /// From 0.
    group: usize,
}

impl RankedLine<'_> {
    /// Appends the row: as it was read, with the members of the ranking.
    fn write(&self, ranking: &Ranking, out: &mut Vec<u8>) {
        let mut set: Vec<(&str, Value)> = Vec::new();
        set.extend(self.rank.map(|rank| ("rank", rank.into())));
        set.push(("group", (self.group + 1).into()));
        set.extend(self.verdict.map(|verdict| ("verdict", verdict.into())));
        let group = &ranking.groups[self.group];
        if self.rank == Some(1) {
            set.push(("decision", note::decision(ranking, group).into()));
        }
        if self.rank == Some(1) && !group.missing.is_empty() {
            set.push(("provisional", true.into()));
            set.push(("missing", reasons(&group.missing).into()));
        }
        debug_assert!(
            set.iter().all(|(key, _)| RANKING_KEYS.contains(key)),
            "a key that the first reading does not look for"
        );
        if let Some(open) = self.entry.open_line() {
            out.extend_from_slice(open.as_bytes());
            set.iter().for_each(|(key, value)| out.extend_from_slice(format!(",\"{key}\":{value}").as_bytes()));
            out.extend_from_slice(b"}\n");
            return;
        }
        let line = self.entry.line();
        match serde_json::from_str::<RowText>(line) {
            Ok(members) => members.with(set, out),
            // A key with escapes.
            Err(_) => {
                let mut row: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
                set.into_iter().for_each(|(key, value)| drop(row.insert(key.to_string(), value)));
                out.extend(Value::Object(row).to_string().bytes());
            }
        }
        out.push(b'\n');
    }
}

/// A row's members as text, in order.
struct RowText<'a>(Vec<(&'a str, &'a RawValue)>);

impl RowText<'_> {
    /// Appends the row with these members set; an existing key keeps its place.
    fn with(&self, mut set: Vec<(&str, Value)>, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut put = |key: &str, value: &str| {
            for part in ["\"", key, "\":", value, ","] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        for (key, value) in &self.0 {
            match set.iter().position(|(own, _)| own == key) {
                Some(at) => put(key, &set.remove(at).1.to_string()),
                None => put(key, value.get()),
            }
        }
        set.iter().for_each(|(key, value)| put(key, &value.to_string()));
        out.pop();
        out.push(b'}');
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RowText<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(RowTextVisitor)
    }
}

struct RowTextVisitor;

impl<'de> Visitor<'de> for RowTextVisitor {
    type Value = RowText<'de>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowText<'de>, A::Error> {
        let mut members = Vec::with_capacity(24);
        while let Some(member) = map.next_entry::<&'de str, &'de RawValue>()? {
            members.push(member);
        }
        Ok(RowText(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{Intake, rank};

    #[test]
    fn no_row_of_a_candidate_with_wrong_answers_passes() {
        let row = |id: &str, answers: &str| {
            format!(
                r#"{{"record":"result","framework":"f","candidate_id":"{id}","status":"ok","sla":{{"passed":true}},"workload":{{"scenario":"chat","max_concurrency":8}},"metrics":{{"request_throughput":9}},"quality":{{"answers":{{"verdict":"{answers}","reason":"r"}}}}}}"#
            )
        };
        let mut intake = Intake::default();
        let rows = [row("a", "same"), row("b", "worse"), row("c", "cross_talk"), row("d", "undetermined")];
        let entries = rows.iter().filter_map(|row| intake.line(row).unwrap()).collect();
        let mut out = RowWriter::new(Vec::new());
        super::rows(&rank(entries, &intake), None, &mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        let verdicts: std::collections::BTreeMap<String, String> = text
            .lines()
            .map(|line| Row::parse(line).unwrap())
            .filter_map(|row| Some((row.str("candidate_id")?.into(), row.str("verdict")?.into())))
            .collect();
        let wanted = [("a", "pass"), ("b", "fail"), ("c", "fail"), ("d", "pass")];
        assert_eq!(verdicts, wanted.map(|(id, verdict)| (id.into(), verdict.into())).into());
    }

    #[test]
    fn each_member_of_a_ranked_row_is_there_once() {
        let row = |more: &str| {
            format!(
                r#"{{"framework":"f","candidate_id":"c","status":"ok","metrics":{{"request_throughput":9}}{more}}} "#
            )
        };
        let keys: String = RANKING_KEYS.iter().map(|key| format!(r#","{key}":null"#)).collect();
        for more in
            ["", r#","note":"rank \" group""#, r#","\u0072ank":1"#, r#","verdict":null"#, r#","verdict":"pass""#, &keys]
        {
            let mut intake = Intake::default();
            let entries = intake.line(&row(more)).unwrap().into_iter().collect();
            let mut out = RowWriter::new(Vec::new());
            super::rows(&rank(entries, &intake), None, &mut out).unwrap();
            let text = String::from_utf8(out.into_inner()).unwrap();
            let line = text.lines().find(|line| line.contains("metrics")).unwrap();
            let whole: Map<String, Value> = serde_json::from_str(line).unwrap();
            assert!(!line.contains("u0072"), "{line}");
            for key in RANKING_KEYS {
                assert!(line.matches(&format!("\"{key}\":")).count() <= 1, "{key}: {line}");
            }
            assert_eq!((&whole["rank"], &whole["group"]), (&json!(1), &json!(1)), "{line}");
        }
    }

    #[test]
    fn members_are_set_in_place_and_the_others_stay_as_they_were_read() {
        let mut out = Vec::new();
        let row: RowText = serde_json::from_str(r#"{"b": 1.50, "verdict":"x" ,"a":{"z": [1, 2]}}"#).unwrap();
        row.with(vec![("rank", 2.into()), ("verdict", "pass".into())], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"b":1.50,"verdict":"pass","a":{"z": [1, 2]},"rank":2}"#);
    }
}
