//! The lines on standard error that say what happened to each candidate: one that lasts for each event, at a terminal or not.

use std::time::{Duration, Instant};

use super::launch::Launch;
use crate::base::notice::Notice;
use crate::base::shell;
use crate::rows::kinds::Candidate;

/// What a candidate is called on the screen: `vllm baseline`, `vllm max_num_seqs=64`.
#[derive(Debug, Clone)]
pub struct CandidateEvents {
    label: String,
    begun: Instant,
}

impl CandidateEvents {
    /// Of a candidate whose turn begins now.
    #[must_use]
    pub fn of(candidate: &Candidate) -> Self {
        let changed = &candidate.server.changed;
        let what = if changed.is_empty() { "baseline".into() } else { shell::settings(changed) };
        Self { label: format!("{} {what}", candidate.framework), begun: Instant::now() }
    }

    /// It is being started. At a terminal the line goes away once there is something to say; a log keeps it, since a start may
    /// take minutes.
    pub fn starting(&self, notice: &Notice) {
        if notice.draws() {
            notice.progress(format!("{}: starting", self.label));
        } else {
            notice.say(format!("{}: starting", self.label));
        }
    }

    /// It is ready.
    pub fn ready(&self, notice: &Notice, after: Duration, cold: bool) {
        let first = if cold { ", the first start of this model" } else { "" };
        notice.say(format!("{}: ready after {}{first}", self.label, seconds(after)));
    }

    /// It did not start, or stopped serving.
    pub fn failed(&self, notice: &Notice, reason: &str, launch: Option<&Launch>) {
        let log = launch.map_or(String::new(), |launch| format!("; log: {}", launch.log.display()));
        notice.say(format!(
            "{}: failed after {}: {}{log}",
            self.label,
            seconds(self.begun.elapsed()),
            one_line(reason)
        ));
    }

    /// It is not started.
    pub fn skipped(&self, notice: &Notice, reason: &str) {
        notice.say(format!("{}: skipped: {}", self.label, one_line(reason)));
    }
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 10.0 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
