//! Improvements and regressions since an earlier release, as Markdown.

use super::md::{escape, put, table};
use super::text::{number, plain};
use crate::rank::{ReleaseChange, ReleaseComparison};

/// The report.
#[must_use]
pub fn markdown(release: &ReleaseComparison, threshold: f64) -> String {
    let mut out = String::new();
    let worse = release.changes.iter().filter(|change| change.regression).count() + release.lost.len();
    let suspects = release.changes.iter().filter(|change| change.suspect).count();
    let verdict = match worse {
        0 if release.changes.is_empty() => "Nothing compared: the files have no candidate and load in common".into(),
        0 if suspects > 0 => format!(
            "No confirmed regression; {suspects} {} of single runs beyond {:.0} %: confirm with bench-expand PLAN --from RESULTS --repeats 2..5",
            if suspects == 1 { "change" } else { "changes" },
            threshold * 100.0
        ),
        0 => format!("No regression beyond {:.0} % and noise", threshold * 100.0),
        1 => format!("1 regression beyond {:.0} % and noise", threshold * 100.0),
        n => format!("{n} regressions beyond {:.0} % and noise", threshold * 100.0),
    };
    put(&mut out, &format!("# {verdict}\n"));
    for lost in &release.lost {
        put(&mut out, &format!("- {}", escape(&plain(lost, true))));
    }
    let of = |wanted: &dyn Fn(&ReleaseChange) -> bool| -> Vec<&ReleaseChange> {
        release.changes.iter().filter(|c| wanted(c)).collect()
    };
    let beyond = |change: &ReleaseChange| !change.comparison.tied();
    section(&mut out, "Worse", &of(&|change| beyond(change) && change.better < 0.0));
    section(&mut out, "Better", &of(&|change| beyond(change) && change.better > 0.0));
    section(&mut out, "Within noise", &of(&|change| !beyond(change)));
    if !release.unmatched.is_empty() {
        put(&mut out, "\n## Not compared\n");
        release.unmatched.iter().for_each(|text| put(&mut out, &format!("- {}", escape(&plain(text, true)))));
    }
    put(
        &mut out,
        "\nChange is positive for an improvement. Repeats that share a seed are compared in pairs, others as two samples; intervals are 95 %. For single runs, less than 10 % is within noise.",
    );
    out
}

fn section(out: &mut String, title: &str, changes: &[&ReleaseChange]) {
    if changes.is_empty() {
        return;
    }
    put(out, &format!("\n## {title}\n"));
    let head = [
        "Scenario",
        "Candidate",
        "Load",
        "Metric",
        "Baseline",
        "Current",
        "Change",
        "95 % interval of current / baseline",
        "Repeats",
    ];
    let rows = changes.iter().map(|change| {
        let interval =
            change.comparison.interval.map_or("-".to_string(), |(low, high)| format!("{low:.3} to {high:.3}"));
        let mark = match (change.regression, change.suspect) {
            (true, _) => " (regression)",
            (false, true) => " (single runs: not confirmed)",
            (false, false) => "",
        };
        vec![
            change.scenario.clone(),
            change.candidate.clone(),
            change.load.clone(),
            change.metric.clone(),
            number(Some(change.values.0)),
            number(Some(change.values.1)),
            format!("{:+.1} %{mark}", change.better * 100.0),
            interval,
            change.comparison.repeats.to_string(),
        ]
    });
    table(out, &head, rows);
}
