//! The report as one HTML page: the decision first, sortable tables, plots; a single file that loads nothing from the
//! network.

mod bars;
mod chart;
mod escape;
mod facts;
mod knobs;
mod margins;
mod pareto;
mod ranking;
mod scale;
mod spread;
mod table;
mod tail;
#[cfg(test)]
mod tests;
mod throughput;
mod timeline;
mod top;
mod trials;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use self::escape::{breakable, line};
use super::{Report, markdown, note};
use crate::base::digest::sha256_base64;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The page loads and sends nothing, and runs nothing but its own script.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let own = |text: &str| sha256_base64(format!("\n{text}").as_bytes());
    format!("default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:", own(STYLE), own(SCRIPT))
});
/// Fill patterns, so that plots can be read without colours; each plot refers to them by name.
const FILLS: &str = "<svg class=\"fills\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\
<pattern id=\"bad\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"ground\" width=\"6\" height=\"6\"/><rect class=\"hatch\" width=\"2.6\" height=\"6\"/></pattern></defs></svg>\n";

/// The possible sections of a page, by the name in its table of contents.
const CONTENTS: [(&str, &str); 13] = [
    ("decision", "Decision"),
    ("combined", "Over all scenarios"),
    ("ranking", "Rankings"),
    ("timeline", "Timeline"),
    ("workload", "Workload and SLA"),
    ("hardware", "Hardware"),
    ("raw", "Raw throughput"),
    ("capacity", "Capacity"),
    ("commands", "Commands"),
    ("tried", "Not selected"),
    ("profiler", "Profiler"),
    ("files", "Files"),
    ("caveats", "Caveats"),
];

/// The whole page.
#[must_use]
pub fn html(report: &Report) -> String {
    let ranking = report.ranking;
    let models: BTreeSet<&str> =
        ranking.groups.iter().map(|group| group.key.model()).filter(|model| !model.is_empty()).collect();
    let models = models.into_iter().collect::<Vec<_>>().join(", ");
    let title = markdown::title(ranking);
    let full = if models.is_empty() { title.to_string() } else { format!("{title}: {models}") };
    let headline = breakable(&line(&note::headline(ranking)));
    let model = format!("<p class=\"model\">{}</p>", line(&full));
    let body = [
        top::section(ranking),
        facts::combined(ranking),
        ranking::section(ranking),
        timeline::section(ranking),
        facts::workload(ranking),
        facts::versions(ranking),
        facts::raw(ranking),
        facts::cards(report),
        tail::commands(ranking),
        tail::rejected(ranking),
        tail::handoff(report),
        tail::files(ranking),
        tail::caveats(ranking),
    ];
    // A section that is absent has no entry.
    let links: String = CONTENTS
        .iter()
        .zip(&body)
        .filter(|(_, section)| !section.is_empty())
        .map(|((id, name), _)| format!("<li><a href=\"#{id}\">{name}</a></li>"))
        .collect();
    let banner = if !ranking.measured() {
        "<p class=\"banner\" role=\"note\"><strong>⚠ Smoke test, not a benchmark.</strong> These numbers come from a simulated engine or from too few \
         requests: they show that everything works, not which command is fast.</p>\n"
    } else {
        ""
    };
    let provisional = report.unfinished.as_ref().map_or_else(String::new, |unfinished| {
        format!("<p class=\"banner\" role=\"note\"><strong>{}</strong></p>\n", line(&unfinished.sentence()))
    });
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{full}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{FILLS}\
         <header>{provisional}<h1>{headline}</h1>{model}\n<nav aria-label=\"Contents\"><ul>{links}</ul></nav></header>\n\
         <main>\n{banner}{body}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        POLICY = *POLICY,
        full = line(&full),
        body = body.concat(),
    )
}
