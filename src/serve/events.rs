//! What happened to each candidate, on standard error: one line that lasts for each event, and a moving line at a terminal.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::launch::Launch;
use crate::base::notice::Notice;
use crate::base::shell;
use crate::rows::kinds::{Candidate, Progress};
use crate::rows::row::Row;
use crate::rows::words::{FailureClass, ProgressEvent};
use crate::system::eta::{SweepPace, Throttle, brief, rounded_s};

/// How far all candidates are.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServeProgress {
    /// Time and units.
    pub pace: SweepPace,
    /// Candidates that failed.
    pub failed: u32,
}

/// Tells the events of one candidate, whose turn is now.
#[derive(Debug, Clone)]
pub struct CandidateEvents<'a> {
    candidate: &'a Candidate,
    so_far: ServeProgress,
    begun: Instant,
    throttle: Throttle,
    notice: &'a Notice,
}

impl<'a> CandidateEvents<'a> {
    /// Of a candidate whose turn begins now.
    #[must_use]
    pub fn of(candidate: &'a Candidate, so_far: ServeProgress, notice: &'a Notice) -> Self {
        Self { candidate, so_far, begun: Instant::now(), throttle: Throttle::default(), notice }
    }

    /// It is being started. A terminal shows this in the moving line.
    pub fn starting(&self) {
        if self.notice.draws() {
            self.moving();
        } else {
            self.tell(ProgressEvent::Starting, None, "starting");
        }
    }

    /// It is still not ready.
    pub fn moving(&self) {
        if !self.notice.progress_every().is_some_and(|every| self.throttle.is_due(every)) {
            return;
        }
        let since = brief(self.begun.elapsed());
        let failed = if self.so_far.failed > 0 { format!(", {} failed", self.so_far.failed) } else { String::new() };
        // A narrow terminal cuts the end.
        let (pace, name) = (self.so_far.pace.text(0), name(self.candidate));
        let text = format!("{}{pace}{failed} - {name}: starting, {since}", self.place());
        self.notice.progress(&text, || self.row(ProgressEvent::Moving, None, &text));
    }

    /// It is ready. Cold: it did not find what an earlier one compiled, or, where that is not kept, it is the first start of its model,
    /// which may have loaded it from a slow disk.
    pub fn ready(&self, after: Duration, cold: bool) {
        let how = if cold { "cold" } else { "warm" };
        self.tell(ProgressEvent::Ready, Some(after), &format!("ready after {} ({how})", brief(after)));
    }

    /// It did not start, or stopped serving.
    pub fn failed(&self, class: &FailureClass, reason: &str, launch: Option<&Launch>) {
        if class.is_cut() {
            let what = format!("interrupted after {}", brief(self.begun.elapsed()));
            return self.tell(ProgressEvent::Skipped, None, &what);
        }
        let log = launch.map_or(String::new(), |launch| format!("; log: {}", launch.log.display()));
        let after = self.begun.elapsed();
        let what = format!("failed after {}: {}{log}", brief(after), one_line(reason));
        self.tell(ProgressEvent::Failed, Some(after), &what);
    }

    /// It is not started.
    pub fn skipped(&self, reason: &str) {
        self.tell(ProgressEvent::Skipped, None, &format!("skipped: {}", one_line(reason)));
    }

    /// How long its turn has lasted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn tell(&self, event: ProgressEvent, after: Option<Duration>, what: &str) {
        let text = format!("{}: {what}", self.title());
        self.notice.event(&text, || self.row(event, after, &text));
    }

    fn row(&self, event: ProgressEvent, after: Option<Duration>, text: &str) -> String {
        let pace = &self.so_far.pace;
        let row = Progress {
            program: self.notice.program().into(),
            event,
            at: Some(Timestamp::now().to_string()),
            position: self.candidate.position,
            candidate_id: Some(self.candidate.candidate_id.clone()),
            framework: Some(self.candidate.framework.clone()),
            scenario: None,
            passed: None,
            request_rate: None,
            after_s: after.map(rounded_s),
            elapsed_s: Some(rounded_s(pace.elapsed())),
            left_s: pace.left(0).map(rounded_s),
            failed: Some(self.so_far.failed + u32::from(event == ProgressEvent::Failed)),
            text: text.into(),
        };
        Row::new("progress", &row).line()
    }

    /// `[3/12] vllm max_num_seqs=64`.
    fn title(&self) -> String {
        format!("{}{}", self.place(), name(self.candidate))
    }

    fn place(&self) -> String {
        self.candidate.position.map_or(String::new(), |at| format!("[{}/{}] ", at.index, at.of))
    }
}

/// What a candidate is called on the screen: `vllm baseline`, `vllm max_num_seqs=64`.
#[must_use]
pub fn name(candidate: &Candidate) -> String {
    let changed = &candidate.server.changed;
    let what = if changed.is_empty() { "baseline".into() } else { shell::settings(changed) };
    format!("{} {what}", candidate.framework)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
