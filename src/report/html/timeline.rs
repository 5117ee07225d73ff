//! The timeline: when each server ran, and how its runs ended.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::chart::{bar, figure, letters, open, stroke};
use super::escape::{escape, fit, line};
use super::scale::Scale;
use crate::rank::{Entry, Ranking};
use crate::report::text::candidate;

const WIDTH: f64 = 900.0;
const ROW: f64 = 34.0;
/// Maximum numbers of servers and of results to draw.
const SERVERS: usize = 40;
const READ: usize = 5000;

struct TimelineRun<'a> {
    entry: &'a Entry,
    from: i64,
    to: i64,
}

fn seconds(ms: i64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a sweep, not of an age")]
    let ms = ms as f64;
    ms / 1000.0
}

fn run(entry: &Entry) -> Option<TimelineRun<'_>> {
    let time = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    let from = time(&entry.own.as_ref()?.started_at)?;
    let to = time(entry.ended_at()).unwrap_or(from).max(from);
    Some(TimelineRun { entry, from, to })
}

/// How a run ended: CSS class and text.
fn end(entry: &Entry) -> (&'static str, String) {
    match (entry.ok, entry.passed) {
        (true, Some(true)) => ("run pass", "meets the SLA".into()),
        (true, Some(false)) => ("run miss", "misses the SLA".into()),
        (true, None) => ("run none", "done".into()),
        (false, _) => ("run fail", entry.status().to_string()),
    }
}

/// The section; empty if the rows do not have times.
pub fn section(ranking: &Ranking) -> String {
    let mut servers: BTreeMap<&str, Vec<TimelineRun>> = BTreeMap::new();
    for run in ranking.all().filter(|entry| entry.own.is_some()).take(READ).filter_map(run) {
        let server = run.entry.own.as_ref().map_or("", |own| &*own.server_id);
        servers.entry(server).or_default().push(run);
    }
    let mut rows: Vec<(&str, Vec<TimelineRun>)> = servers.into_iter().collect();
    rows.iter_mut().for_each(|(_, runs)| runs.sort_by_key(|run| (run.from, run.to)));
    rows.sort_by_key(|(server, runs)| (runs.first().map(|run| run.from), *server));
    let all = rows.len();
    rows.truncate(SERVERS);
    let runs = || rows.iter().flat_map(|(_, runs)| runs);
    let (Some(start), Some(stop)) = (runs().map(|run| run.from).min(), runs().map(|run| run.to).max()) else {
        return String::new();
    };
    let span = seconds(stop.saturating_sub(start)).max(1.0);
    let (unit, name) = match span {
        s if s < 300.0 => (1.0, "seconds"),
        s if s < 3.0 * 3600.0 => (60.0, "minutes"),
        _ => (3600.0, "hours"),
    };
    let Some(scale) = Scale::new([0.0, span / unit].into_iter(), 8.0, WIDTH - 16.0, 10) else { return String::new() };
    let place = |ms: i64| scale.at(seconds(ms.saturating_sub(start)) / unit);
    let top = |i: usize| u32::try_from(i).map_or(0.0, f64::from) * ROW + 16.0;
    let bottom = top(rows.len());
    let mut svg = open(WIDTH, bottom + 36.0, "When each server's runs were", &format!("{} servers", rows.len()));
    for (value, text) in scale.ticks(12) {
        svg.push_str(&stroke((scale.at(value), 2.0), (scale.at(value), bottom - 8.0), "grid"));
        svg.push_str(&letters(scale.at(value), bottom + 7.0, "tick mid", &escape(&text)));
    }
    let begun = Timestamp::from_millisecond(start).map_or(String::new(), |at| format!(" since {at}"));
    svg.push_str(&letters(WIDTH / 2.0, bottom + 26.0, "name mid", &line(&format!("{name}{begun}"))));
    for (i, (server, runs)) in rows.iter().enumerate() {
        let (y, Some(first)) = (top(i), runs.first()) else { continue };
        // The label begins at its first bar, unless it does not fit there.
        let label = fit(&format!("{} ({server})", candidate(first.entry)), 60);
        let x = place(first.from).min(WIDTH - 16.0 - super::chart::columns(&label) * 6.9).max(8.0);
        for run in runs {
            let (from, to) = (place(run.from), place(run.to));
            let (class, words) = end(run.entry);
            let desc =
                format!("{} {}: {words}, {:.1} s", candidate(run.entry), run.entry.load(), seconds(run.to - run.from));
            let bar = bar(from, y + 5.0, (to - from).max(2.0), 12.0, class);
            svg.push_str(&format!("<g><title>{}</title>{bar}</g>", line(&desc)));
        }
        svg.push_str(&letters(x, y, "row back", &label));
    }
    svg.push_str("</svg>");
    let more = if all > SERVERS { format!(" The first {SERVERS} of {all} servers.") } else { String::new() };
    let swatch = |class: &str, words: &str| {
        format!(
            "<li><svg class=\"key\" viewBox=\"0 0 16 16\" aria-hidden=\"true\">{}</svg>{words}</li>",
            bar(0.0, 2.0, 16.0, 12.0, class)
        )
    };
    let legend: String = [
        ("run pass", "meets the SLA"),
        ("run miss", "misses the SLA"),
        ("run fail", "failed"),
        ("run none", "no SLA given"),
    ]
    .iter()
    .filter(|(class, _)| runs().any(|run| end(run.entry).0 == *class))
    .map(|(class, words)| swatch(class, words))
    .collect();
    let body = format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Timeline\" tabindex=\"0\">{svg}</div><ul class=\"legend\">{legend}</ul>"
    );
    let how = format!("One row per server, one bar per run. Gaps are starts, stops and waits.{more}");
    format!(
        "<section id=\"timeline\"><h2>Timeline of the sweep</h2>{}</section>\n",
        figure("plot long", "Runs over time.", &how, &body)
    )
}
