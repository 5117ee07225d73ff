//! The report as Markdown, in the sections of the source document's output contract.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::note;
use super::text::{candidate, changes, measured, plain, unit, verdict};
use crate::rank::{Decision, Entry, Group, Ranking};

/// What the last table is, in the source document's sense.
const TRIED: &str = "These are tried configurations that were not selected: they failed, were skipped by policy, or completed but \
                     missed the SLA.";

/// The whole report.
#[must_use]
pub fn markdown(ranking: &Ranking) -> String {
    let mut out = String::new();
    let models = ranking.all().map(|e| e.group.model.as_str()).filter(|model| !model.is_empty());
    let models: BTreeSet<String> = models.map(cell).collect();
    let models = models.into_iter().collect::<Vec<_>>().join(", ");
    let measured = ranking.all().any(|entry| !entry.group.smoke && !entry.group.simulated);
    let title = if measured { "Which command to deploy" } else { "Flow check, not a performance result" };
    put(&mut out, &format!("# {title}{}{models}\n", if models.is_empty() { "" } else { ": " }));
    for group in &ranking.groups {
        let line = format!("{}: {}.", note::group_title(ranking, group), note::decision(group, ranking.by));
        put(&mut out, &format!("- {}", escape(&plain(&line, true))));
    }
    if ranking.groups.is_empty() {
        put(&mut out, "- Nothing was measured; \"Tried and not selected\" says why.");
    }
    let gated = ranking.groups.iter().flat_map(|group| &group.best).any(|entry| entry.passed.is_some());
    let among = if gated { " among those that keep the SLA" } else { "" };
    put(&mut out, &format!("\nRanked by {}{among}.", unit(ranking.by)));
    workload(&mut out, ranking);
    versions(&mut out, ranking);
    best(&mut out, ranking);
    across(&mut out, ranking);
    commands(&mut out, ranking);
    rejected(&mut out, ranking);
    files(&mut out, ranking);
    let caveats = note::caveats(ranking);
    if !caveats.is_empty() {
        put(&mut out, "\n## Caveats\n");
        caveats.iter().for_each(|note| put(&mut out, &format!("- {}", escape(&plain(note, true)))));
    }
    out
}

fn workload(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Workload and SLA\n");
    let head = ["Scenario", "Input tokens", "Output tokens", "Prompts", "Loads", "Endpoint", "Client"];
    let rows = ranking.groups.iter().filter_map(|group| {
        let entry = group.best.first()?;
        let of = |name: &str| entry.at(&format!("/workload/{name}")).as_f64();
        let length = |name: &str| match (of(name), of(&format!("{name}_p50")), of(&format!("{name}_p95"))) {
            (Some(asked), Some(p50), Some(p95)) if p50 != asked || p95 != asked => {
                format!("{asked} (measured p50 {p50}, p95 {p95})")
            }
            (asked, ..) => asked.map_or("-".into(), |n| n.to_string()),
        };
        let mut trials: Vec<&Entry> = group.trials.iter().collect();
        trials.sort_by(|a, b| a.amount().total_cmp(&b.amount()));
        let loads: Vec<String> = ordered(trials.into_iter().map(Entry::load));
        let prompts: Vec<String> =
            ordered(group.trials.iter().filter_map(|t| t.at("/workload/num_prompts").as_u64().map(|n| n.to_string())));
        Some(vec![
            note::group_title(ranking, group),
            length("input_len"),
            length("output_len"),
            prompts.join(", "),
            loads.join(", "),
            entry.text("/workload/endpoint"),
            entry.text("/run/client"),
        ])
    });
    table(out, &head, rows);
    let limits = note::limits(ranking);
    let limits = if limits.is_empty() { "none".into() } else { limits.join(", ") };
    put(out, &format!("\nSLA: {}.", escape(&limits)));
}

/// The distinct values in the order of their first appearance.
fn ordered(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    values.filter(|v| !v.is_empty()).for_each(|value| {
        if !kept.contains(&value) {
            kept.push(value);
        }
    });
    kept
}

fn versions(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Hardware and versions\n");
    let or_dash = |text: String| if text.is_empty() { "-".to_string() } else { text };
    let rows: BTreeSet<Vec<String>> = ranking
        .groups
        .iter()
        .flat_map(|group| &group.trials)
        .map(|entry| {
            let texts = ["/framework_version", "/hardware/gpu_model"].map(|pointer| or_dash(entry.text(pointer)));
            let gpus = entry.at("/hardware/gpu_count").as_u64().map_or("-".into(), |n| n.to_string());
            let more = ["/hardware/driver", "/environment/image"].map(|pointer| or_dash(entry.text(pointer)));
            let [version, gpu] = texts;
            let [driver, image] = more;
            vec![entry.framework.clone(), version, gpu, gpus, driver, image]
        })
        .collect();
    table(out, &["Framework", "Version", "GPU", "GPUs", "Driver", "Image"], rows.into_iter());
}

/// The best entry of every framework, in the group's order.
fn best_of_frameworks(group: &Group) -> Vec<&Entry> {
    let mut best: Vec<&Entry> = Vec::new();
    for entry in &group.best {
        if !best.iter().any(|b| b.framework == entry.framework) {
            best.push(entry);
        }
    }
    best
}

const METRICS: [&str; 8] =
    ["req/s", "Output tok/s", "Mean TTFT ms", "p99 TTFT ms", "Mean TPOT ms", "p99 TPOT ms", "Success", "SLA"];

fn metrics(entry: &Entry) -> impl Iterator<Item = String> {
    measured(entry).into_iter().chain([verdict(entry).to_string()])
}

fn best(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Best command by framework and scenario\n");
    let head: Vec<&str> = ["Scenario", "Framework", "Flags changed", "Load"].into_iter().chain(METRICS).collect();
    let rows = ranking.groups.iter().flat_map(|group| {
        best_of_frameworks(group).into_iter().map(move |entry| {
            let first = vec![note::group_title(ranking, group), entry.framework.clone(), changes(entry), entry.load()];
            first.into_iter().chain(metrics(entry)).collect()
        })
    });
    table(out, &head, rows);
    put(out, "\nThe commands stand below. A framework whose best row fails the SLA has no command to deploy.");
}

fn across(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Across frameworks");
    for group in &ranking.groups {
        put(out, &format!("\n### {}\n", escape(&note::group_title(ranking, group))));
        let head: Vec<&str> =
            ["Rank", "Framework", "Flags changed", "Load"].into_iter().chain(METRICS).chain(["Candidate"]).collect();
        let rows = group.best.iter().enumerate().map(|(i, entry)| {
            let first = vec![(i + 1).to_string(), entry.framework.clone(), changes(entry), entry.load()];
            first.into_iter().chain(metrics(entry)).chain([entry.candidate_id.clone()]).collect()
        });
        table(out, &head, rows);
        if group.trials.len() > group.best.len() {
            put(out, "\nThe other load points of the same candidates:\n");
            let head: Vec<&str> = ["Framework", "Flags changed", "Load"].into_iter().chain(METRICS).collect();
            let others = group.trials.iter().filter(|trial| group.rank_of(trial).is_none());
            let rows = others.map(|entry| {
                let first = vec![entry.framework.clone(), changes(entry), entry.load()];
                first.into_iter().chain(metrics(entry)).collect()
            });
            table(out, &head, rows);
        }
    }
}

fn commands(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Commands");
    for group in &ranking.groups {
        let title = note::group_title(ranking, group);
        for entry in best_of_frameworks(group) {
            let place = match (&group.decision, std::ptr::eq(entry, &raw const group.best[0])) {
                (Decision::Winner, true) if group.key.smoke || group.key.simulated => "first in this flow check",
                (Decision::Winner, true) => "winner",
                (Decision::Fastest, true) => "fastest, no SLA given",
                _ if entry.passed == Some(false) => "missed the SLA: not for deployment",
                _ => "best of its framework",
            };
            put(out, &format!("\n{} ({place}): {}\n", escape(&title), escape(&plain(&candidate(entry), false))));
            let texts = ["/server_command", "/benchmark_command"].map(|pointer| entry.text(pointer));
            fence(out, &texts.iter().filter(|t| !t.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n"));
        }
    }
}

fn rejected(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Tried and not selected\n");
    if ranking.rejected.is_empty() {
        return put(out, "Nothing failed, was skipped, or missed the SLA.");
    }
    put(out, &format!("{TRIED}\n"));
    let head = ["Framework", "Flags changed", "What", "Where", "Why", "Candidate"];
    let rows = ranking.rejected.iter().map(|r| {
        let place = if r.places.is_empty() { "everywhere".into() } else { r.places.join(", ") };
        let what = match r.entry.text("/failure_class") {
            class if class.is_empty() || class == r.how || r.entry.is_ok() => r.how.clone(),
            class => format!("{} ({class})", r.how),
        };
        vec![r.entry.framework.clone(), changes(&r.entry), what, place, r.why.clone(), r.entry.candidate_id.clone()]
    });
    table(out, &head, rows);
}

fn files(out: &mut String, ranking: &Ranking) {
    let mut files: BTreeSet<(String, String, String)> = BTreeSet::new();
    for entry in ranking.all() {
        for (role, path) in entry.at("/artifacts").as_object().into_iter().flatten() {
            let path = path.as_str().unwrap_or_default().to_string();
            files.insert((entry.candidate_id.clone(), role.clone(), path));
        }
    }
    if !files.is_empty() {
        put(out, "\n## Files\n");
        table(out, &["Candidate", "Role", "Path"], files.into_iter().map(|(id, role, path)| vec![id, role, path]));
    }
}

fn put(out: &mut String, line: &str) {
    let _ = writeln!(out, "{line}");
}

fn table(out: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    put(out, &format!("| {} |", head.join(" | ")));
    put(out, &format!("|{}", "---|".repeat(head.len())));
    for row in rows {
        put(out, &format!("| {} |", row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(" | ")));
    }
}

fn cell(text: &str) -> String {
    escape(&plain(text, text.len() > 200))
}

/// A block that nothing in `text` can close.
fn fence(out: &mut String, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    put(out, &format!("{fence}sh\n{text}\n{fence}"));
}

/// Text without any meaning in Markdown (GitHub's), HTML included. An underscore inside a word has none as it stands.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let in_word = c == '_' && before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        if "\\|`*_[]<>&#".contains(c) && !in_word {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_means_something_is_escaped() {
        assert_eq!(escape("max_num_seqs=4 _x_ a|b <i>"), r"max_num_seqs=4 \_x\_ a\|b \<i\>");
    }

    #[test]
    fn a_fence_cannot_be_closed_from_inside() {
        let mut out = String::new();
        fence(&mut out, "echo ```` x");
        assert!(out.starts_with("`````sh\n") && out.ends_with("\n`````\n"));
    }

    proptest! {
        #[test]
        fn the_shape_of_a_table_survives_any_text(cells in proptest::collection::vec(any::<String>(), 3)) {
            let mut out = String::new();
            table(&mut out, &["a", "b", "c"], std::iter::once(cells));
            let lines: Vec<&str> = out.lines().collect();
            prop_assert_eq!(lines.len(), 3);
            let mut bars = 0;
            let mut escaped = false;
            for c in lines[2].chars() {
                bars += usize::from(c == '|' && !escaped);
                prop_assert!(c != '<' || escaped);
                escaped = c == '\\' && !escaped;
            }
            prop_assert_eq!(bars, 4);
        }
    }
}
