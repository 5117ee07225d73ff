//! Numbers and text for people, on one line each.

use crate::base::shell;
use crate::rank::{Entry, Trial};
use crate::rows::words::SearchEndReason;

/// Maximum length of a cell, in characters.
const MAX_CELL: usize = 200;

/// A number with enough digits to compare; `-` if it was not measured.
#[must_use]
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(v) if v.abs() >= 1000.0 => format!("{v:.0}"),
        Some(v) if v.abs() >= 100.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}

/// A share as a percentage; values below 1 are never rounded up to 100 %.
#[must_use]
pub fn percent(share: Option<f64>) -> String {
    match share {
        None => "-".into(),
        Some(share) if share >= 1.0 => "100 %".into(),
        Some(share) => format!("{:.1} %", (share * 1000.0).floor() / 10.0),
    }
}

/// The verdict on the SLA.
#[must_use]
pub fn verdict(trial: &Trial) -> &'static str {
    match (trial.passed(), trial.unconfirmed()) {
        (Some(true), true) => "pass (unconfirmed)",
        (passed, _) => answer(passed),
    }
}

/// The text of a verdict.
#[must_use]
pub fn answer(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "pass",
        Some(false) => "fail",
        None => "no SLA",
    }
}

/// What to change in a server command for a deployment; printed once per report.
pub const BIND: &str = "A server command binds the address after --host (127.0.0.1: only this host) and the port after --port: change both for a \
                        deployment. It serves the model under the plan's name: change that, too, if your clients use another one. Relative \
                        paths, and programs without a folder, are those of the folder and the PATH that bench-serve had.";

/// How results of other clients get a command.
pub const NO_COMMAND: &str = "bench-normalize --set server_command='…' adds it.";

/// The command to deploy, after it the server's own as a comment if a launcher starts it, and the command of the client
/// that measured it: a block per terminal, because a server does not return.
#[must_use]
pub fn commands(entry: &Entry) -> Vec<String> {
    let commands = entry.commands();
    let own = shell::comment(&format!("the server in it: {}", commands.server));
    let own = if commands.launch.is_empty() { "" } else { &own };
    let server = [commands.deploy(), own].into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    [server, commands.benchmark.to_string()].into_iter().filter(|block| !block.is_empty()).collect()
}

/// The candidate as text: `vllm baseline`, `vllm max_num_seqs=64`.
#[must_use]
pub fn candidate(entry: &Entry) -> String {
    format!("{} {}", entry.framework, entry.label())
}

/// The load point and how it was chosen: `4.2 req/s (searched, 4.6 fails)`, `concurrency 8 (3 repeats)`.
#[must_use]
pub fn load(trial: &Trial) -> String {
    let own = trial.entry().own.as_deref();
    let probe = own.is_some_and(|own| own.chosen == Some(false));
    let mut words = Vec::new();
    words.extend(trial.is_search().then(|| searched(trial.entry())));
    words.extend(probe.then(|| "probe".to_string()));
    words.extend((trial.repeats() > 1).then(|| format!("{} repeats", trial.repeats())));
    let load = trial.load();
    if words.is_empty() { load } else { format!("{load} ({})", words.join(", ")) }
}

/// How a search ended: with a bracket, or at a bound of its range.
fn searched(entry: &Entry) -> String {
    let (reason, min_fail, non_monotone) = entry.search_end();
    let end = match (reason, min_fail) {
        (Some(SearchEndReason::NoFailureInRange), _) => ", no failure up to the upper bound".to_string(),
        (Some(SearchEndReason::NoPassInRange), _) => ", the lower bound fails".to_string(),
        (_, Some(load)) => format!(", {load} fails"),
        (_, None) => String::new(),
    };
    let cut = if reason.is_some_and(SearchEndReason::is_cut) { ", not to its end" } else { "" };
    let odd = if non_monotone { ", a higher load passed once" } else { "" };
    format!("searched{cut}{end}{odd}")
}

/// One line, without characters that move a terminal's cursor or change the direction of text; at most 200 characters
/// unless `long`.
#[must_use]
pub fn plain(text: &str, long: bool) -> String {
    let line = whole(text);
    let most = if long { 3 * MAX_CELL } else { MAX_CELL };
    match line.chars().count() > most {
        true => line.chars().take(most - 1).chain(['…']).collect(),
        false => line,
    }
}

/// As [`plain`], but of any length: a truncated command is useless.
#[must_use]
pub fn whole(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' | '\u{85}' => line.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => line.extend(c.escape_unicode()),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// `text` in lines of at most `width` columns, each after `indent`; a longer word has a line of its own.
#[must_use]
pub fn wrap(text: &str, width: Option<usize>, indent: &str) -> String {
    let room = width.unwrap_or(usize::MAX).saturating_sub(indent.len());
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines.iter().map(|line| format!("{indent}{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_between_words() {
        assert_eq!(wrap("a bb ccc dddddddd e", Some(6), "  "), "  a bb\n  ccc\n  dddddddd\n  e\n");
        assert_eq!(wrap("a  b", None, ""), "a b\n");
    }

    #[test]
    fn numbers_for_people() {
        let text = [None, Some(0.0), Some(12.345), Some(123.45), Some(1234.5)].map(number);
        assert_eq!(text, ["-", "0.00", "12.35", "123.5", "1234"]);
        assert_eq!([None, Some(1.0), Some(0.9999), Some(0.5)].map(percent), ["-", "100 %", "99.9 %", "50.0 %"]);
    }

    #[test]
    fn a_cell_is_one_harmless_line() {
        assert_eq!(plain("a\nb\u{202e}c\u{1b}[31m", false), "a b\\u{202e}c\\u{1b}[31m");
        assert_eq!(plain(&"x".repeat(300), false).chars().count(), 200);
    }
}
