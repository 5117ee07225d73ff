//! The profiler handoff for a framework that did not win: its slow scenarios, exact token lengths, and commands.

use std::sync::LazyLock;

use serde::Deserialize;

use super::md::{escape, fence, put, terminals};
use super::text::{candidate, commands, number, plain};
use super::{Report, note};
use crate::base::yaml;
use crate::rank::{Group, RankedCandidate, TokenLength};

/// How a framework starts and stops its profiler.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiler {
    /// The framework.
    pub framework: String,
    #[allow(dead_code, reason = "where it was read, for people")]
    source: String,
    /// What the server has to be started with.
    before: String,
    /// The command that starts it.
    start: String,
    /// The command that stops it.
    stop: String,
}

impl Profiler {
    /// What the server has to be started with.
    pub fn before(&self) -> String {
        fill(&self.before)
    }

    /// The commands that start and stop it; a comment if it starts or stops by itself.
    pub fn commands(&self) -> String {
        let line = |text: &str| if text.starts_with("curl ") { fill(text) } else { format!("# {}", fill(text)) };
        format!("{}\n{}", line(&self.start), line(&self.stop))
    }
}

/// Fills in an example folder and address.
fn fill(text: &str) -> String {
    text.replace("{dir}", "/tmp/traces").replace("{url}", "http://127.0.0.1:PORT")
}

/// The profilers that are known.
pub static PROFILERS: LazyLock<Vec<Profiler>> = LazyLock::new(|| {
    let text = include_str!("../../configs/rules/profilers.yaml");
    yaml::typed(text, "profilers.yaml").expect("compiled in, and tested")
});

/// A group in which the framework is behind the winner.
pub struct ProfilerHandoff<'a> {
    /// The group.
    pub group: &'a Group,
    /// Its best candidate there.
    pub own: &'a RankedCandidate,
    /// The winner's value divided by its own.
    pub factor: f64,
}

impl ProfilerHandoff<'_> {
    /// In what way it is behind, as text.
    pub fn how(&self) -> String {
        match self.own.best.passed() {
            Some(false) => "it misses the SLA".to_string(),
            _ if self.factor.is_finite() => format!("the winner is {} times as fast", number(Some(self.factor))),
            _ => "this metric was not measured for it".to_string(),
        }
    }
}

/// The groups in which the framework is behind another one, the worst first.
pub fn behind<'a>(report: &Report<'a>) -> Vec<ProfilerHandoff<'a>> {
    let mut found: Vec<ProfilerHandoff> = report
        .ranking
        .groups
        .iter()
        .filter_map(|group| {
            let first = group.ranked.first()?;
            let own = group.ranked.iter().find(|ranked| &*ranked.best.entry().framework == report.handoff)?;
            if first.best.entry().framework == own.best.entry().framework {
                return None;
            }
            let factor = first.best.keys().by.zip(own.best.keys().by).filter(|(_, own)| *own > 0.0);
            Some(ProfilerHandoff { group, own, factor: factor.map_or(f64::INFINITY, |(first, own)| first / own) })
        })
        .collect();
    found.sort_by(|a, b| b.factor.total_cmp(&a.factor));
    found
}

/// Token lengths of a scenario: as requested, otherwise as measured.
pub fn lengths(ranked: &RankedCandidate) -> Option<(String, String)> {
    let entry = ranked.best.entry();
    let length = |output: bool| match entry.length(output) {
        TokenLength { asked: Some(asked), .. } => Some(asked.to_string()),
        TokenLength { p50: Some(p50), p95: Some(p95), .. } => Some(format!("{p50} (p50) and {p95} (p95)")),
        TokenLength { .. } => None,
    };
    Some((length(false)?, length(true)?))
}

/// The section; `None` if there is nothing to hand off.
pub fn markdown(out: &mut String, report: &Report) {
    let behind = behind(report);
    if behind.is_empty() {
        return;
    }
    put(out, &format!("\n## For a profiler: {}\n", escape(report.handoff)));
    for place in &behind {
        let title = note::group_title(report.ranking, place.group);
        let how = place.how();
        let who = candidate(place.own.best.entry());
        put(out, &format!("- {}", escape(&plain(&format!("{title}: {who} is behind: {how}."), true))));
        match lengths(place.own) {
            Some((input, output)) => {
                put(out, &format!("  - prefill profile: {input} tokens in, 1 out"));
                put(out, &format!("  - decode profile: {input} tokens in, {output} out"));
            }
            None => {
                put(out, "  - the rows do not give the token lengths of this scenario: measure them before profiling")
            }
        }
    }
    let again = commands(behind[0].own.best.entry());
    if !again.is_empty() {
        put(out, "\nCommands to reproduce the slowest of these:\n");
        terminals(out, &again);
    }
    // Its definition may have another name; then the profiler of the definition is used.
    if let Some(profiler) = PROFILERS.iter().find(|profiler| profiler.framework == report.handoff) {
        put(out, &format!("\nIts profiler: start the server with {}.\n", escape(&profiler.before())));
        fence(out, &profiler.commands());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_profilers_load() {
        assert!(super::PROFILERS.iter().all(|profiler| profiler.source.starts_with("https://")));
    }
}
