//! The figures of an estimate: times, numbers of starts and runs, and their words.

use std::fmt;

/// Assumed time to first token without a limit, ms.
pub(super) const TTFT_MS: f64 = 1000.0;
/// Assumed time per output token without a limit, ms.
pub(super) const TPOT_MS: f64 = 30.0;

/// Likely time, and highest time, s.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimeRange {
    /// If answers take half of what the SLA allows.
    pub likely_s: f64,
    /// If they take all of it.
    pub most_s: f64,
}

impl TimeRange {
    pub(super) fn add(&mut self, likely_s: f64, most_s: f64) {
        self.likely_s += likely_s;
        self.most_s += most_s;
    }
}

/// The time that a list of candidates takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// Number of server starts.
    pub starts: usize,
    /// Time until they are ready, in all.
    pub start: TimeRange,
    /// Number of searches for the highest load.
    pub searches: usize,
    /// Likely number of probes of all searches.
    pub probes: usize,
    /// Time of all searches.
    pub search: TimeRange,
    /// Number of other runs.
    pub runs: usize,
    /// Time of all other runs.
    pub run: TimeRange,
    /// Likely number of checks of answers.
    pub checks: f64,
    /// Time of all checks, with that of their references.
    pub check: TimeRange,
    /// True if a latency has no SLA limit, so that one is assumed.
    pub assumed: bool,
}

impl Estimate {
    /// The time of two lists of candidates.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let sum = |get: fn(&Self) -> TimeRange| {
            let (mut sum, other) = (get(self), get(other));
            sum.add(other.likely_s, other.most_s);
            sum
        };
        Self {
            starts: self.starts + other.starts,
            start: sum(|estimate| estimate.start),
            searches: self.searches + other.searches,
            probes: self.probes + other.probes,
            search: sum(|estimate| estimate.search),
            runs: self.runs + other.runs,
            run: sum(|estimate| estimate.run),
            checks: self.checks + other.checks,
            check: sum(|estimate| estimate.check),
            assumed: self.assumed || other.assumed,
        }
    }

    /// The likely time in all, s.
    #[must_use]
    pub fn likely_s(&self) -> f64 {
        self.start.likely_s + self.search.likely_s + self.run.likely_s + self.check.likely_s
    }

    /// The highest time in all, s.
    #[must_use]
    pub fn most_s(&self) -> f64 {
        self.start.most_s + self.search.most_s + self.run.most_s + self.check.most_s
    }

    /// Both in words: `at most 4.0 h, likely 25 min`.
    #[must_use]
    pub fn range(&self) -> String {
        let (likely, most) = (in_words(self.likely_s()), in_words(self.most_s()));
        if likely == most { format!("about {likely}") } else { format!("at most {most}, likely {likely}") }
    }
}

/// A time in minutes or hours: `25 min`, `4.0 h`.
#[must_use]
pub fn in_words(s: f64) -> String {
    match s {
        s if s < 5400.0 => format!("{:.0} min", (s / 60.0).ceil()),
        s => format!("{:.1} h", s / 3600.0),
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let some = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let mut parts = vec![(self.start.likely_s, some(self.starts, "server start", "server starts"))];
        if self.searches > 0 {
            let probes = (self.probes as f64 / self.searches as f64).round();
            let searches = some(self.searches, "search", "searches");
            parts.push((self.search.likely_s, format!("{searches} of {probes} runs")));
        }
        if self.runs > 0 {
            parts.push((self.run.likely_s, some(self.runs, "run at a given load", "runs at given loads")));
        }
        if self.check.most_s > 0.0 {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of checks")]
            let checks = (self.checks.round() as usize).max(1);
            parts.push((self.check.likely_s, some(checks, "check of answers", "checks of answers")));
        }
        // What takes longest comes first.
        parts.sort_by(|a, b| b.0.total_cmp(&a.0));
        let parts: Vec<String> = parts.into_iter().map(|(s, what)| format!("{what} ({})", in_words(s))).collect();
        let assumed = match self.assumed {
            true => format!("; without a limit {TTFT_MS} ms to the first token and {TPOT_MS} ms per output token"),
            false => String::new(),
        };
        write!(
            f,
            "{}: {}; assumes that responses take half the time that the SLA allows, at most all of it{assumed}",
            self.range(),
            parts.join(", ")
        )
    }
}
