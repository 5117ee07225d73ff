//! What an earlier bench-serve learnt from its starts, by the rows that it wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::CandidateFailure;
use super::give_up::FailureTally;
use crate::base::error::Result;
use crate::engines::framework::Framework;
use crate::rows::kinds::{Candidate, ServerEnd, ServerState, Status};
use crate::rows::resume::closes;
use crate::rows::row::Row;
use crate::rows::words::FailureClass;
use crate::system::process::proc::node;

/// The starts of earlier rows, in the order of the rows.
#[derive(Debug, Default)]
pub struct EarlierStarts {
    tally: FailureTally,
    /// The candidates whose servers were ready, and of which no end was read so far, by the id of the start.
    open: BTreeMap<String, Candidate>,
}

impl EarlierStarts {
    /// Whether a line may be a row about a start, so that the others, which are most, need not be parsed.
    #[must_use]
    pub fn may_be(line: &str) -> bool {
        line.contains("\"server\"") || line.contains("\"server_end\"")
    }

    /// Takes one row; those that are not about a start change nothing.
    ///
    /// # Errors
    /// A row about a start that is not valid.
    pub fn take(&mut self, row: &Row) -> Result<()> {
        self.take_from(row, false)
    }

    /// Takes a row of a start of this bench-serve: one that failed for a reason that may pass is not tried again by it.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(super) fn take_now(&mut self, row: &Row) -> Result<()> {
        self.take_from(row, true)
    }

    fn take_from(&mut self, row: &Row, now: bool) -> Result<()> {
        match row.record() {
            Some("server") => {
                let candidate: Candidate = row.view()?;
                self.tally.forget(&candidate.candidate_id);
                self.open.insert(row.str("server_id").unwrap_or_default().into(), candidate);
            }
            Some("server_end") => self.end(row, now)?,
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, row: &Row, now: bool) -> Result<()> {
        let end: ServerEnd = row.view()?;
        // Another host may have other GPUs and another installation.
        let is_here = end.node.as_ref().is_none_or(|other| *other == node());
        let Some(class) = end.failure_class.filter(|class| is_here && (now || closes(end.status, Some(class)))) else {
            // It was good, or it is tried again.
            self.open.remove(&end.server_id).iter().for_each(|candidate| self.tally.good(candidate));
            return Ok(());
        };
        let failed = CandidateFailure { status: end.status, class, reason: end.failure_reason.unwrap_or_default() };
        match self.open.remove(&end.server_id) {
            Some(candidate) if end.status == Status::Oom => self.tally.failed(&candidate, &failed),
            Some(candidate) => self.tally.good(&candidate),
            None => {
                let candidate: Candidate = row.view()?;
                let ended = end.lifecycle.iter().find(|stage| stage.state == ServerState::Failed);
                let took = ended.and_then(|stage| Duration::try_from_secs_f64(stage.at_ms / 1000.0).ok());
                self.tally.failed(&candidate, &failed);
                self.tally.learn(&candidate, &failed, took.unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Why a candidate is not started after the failures of others.
    pub(super) fn foreseen(
        &mut self,
        candidate: &Candidate,
        framework: &Framework,
        limit: u32,
    ) -> Option<(FailureClass, String)> {
        self.tally.skips(candidate, framework, limit)
    }

    /// What was learnt. A server without an end was ready: its programs were killed.
    pub(super) fn tally(mut self) -> FailureTally {
        self.open.values().for_each(|candidate| self.tally.good(candidate));
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::framework::Frameworks;
    use crate::serve::give_up::tests::candidates;
    use crate::serve::rows;
    use serde_json::{Value, json};

    /// The row of a candidate that did not become ready.
    fn failed(candidate: &Candidate, class: FailureClass, more: &Value) -> Row {
        let failure = CandidateFailure::new(class, "x");
        let row = Row::new("candidate", candidate);
        let mut row = rows::failed(row, None, &failure, None, None, serde_json::Map::new());
        row.merge(&json!({"lifecycle": [{"state": "preflight", "at_ms": 0.0}, {"state": "failed", "at_ms": 41000.0}]}));
        row.merge(more);
        row
    }

    /// The rows of one that was ready, and ended like this.
    fn served(candidate: &Candidate, end: &Value) -> [Row; 2] {
        let mut server = Row::new("candidate", candidate);
        server.merge(&json!({"record": "server", "server_id": "s"}));
        let mut row = Row::new("server_end", &json!({"server_id": "s", "candidate_id": candidate.candidate_id}));
        row.merge(&json!({"ended_at": "2026-01-01T00:00:00Z"}));
        row.merge(end);
        [server, row]
    }

    fn tally(rows: &[Row]) -> FailureTally {
        let mut earlier = EarlierStarts::default();
        for row in rows {
            // As they are read.
            let line = row.line();
            assert!(EarlierStarts::may_be(&line), "{line}");
            earlier.take(&Row::parse(&line).unwrap()).unwrap();
        }
        earlier.tally()
    }

    #[test]
    fn a_start_that_failed_before_says_what_it_said_then() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let vllm = frameworks.get("vllm").unwrap();
        let all = candidates(&frameworks, &json!([{"max_num_seqs": 128}, {"max_num_seqs": 32}]));
        let class = FailureClass::Indivisible;
        let before = failed(&all[0], class.clone(), &json!({}));
        let said = tally(std::slice::from_ref(&before)).foreseen(&all[1], vllm).unwrap();
        let like = "it has the same shape as vllm baseline, which failed to start (indivisible)";
        assert_eq!(said, format!("{like}; saves about 41 s"));
        let memory = failed(&all[0], FailureClass::CudaOomAtLoad, &json!({"status": "oom"}));
        let memory = |candidate| tally(std::slice::from_ref(&memory)).foreseen(candidate, vllm).is_some();
        assert_eq!((memory(&all[1]), memory(&all[2])), (true, false));
        let [ready, ended] = served(&all[0], &json!({"status": "ok"}));
        let mut other_version = before.clone();
        other_version.set("version", "0.0.1");
        for (rows, why) in [
            (vec![], "nothing failed"),
            (vec![before.clone(), ready, ended], "it was ready later"),
            (vec![failed(&all[0], class, &json!({"node": "another-host"}))], "on another host"),
            (vec![other_version], "of another version"),
        ] {
            assert_eq!(tally(&rows).foreseen(&all[1], vllm), None, "{why}");
        }
    }

    #[test]
    fn a_framework_that_was_given_up_stays_so_unless_one_was_good() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let vllm = frameworks.get("vllm").unwrap();
        let all = candidates(&frameworks, &json!([{"max_num_seqs": 128}, {"max_num_seqs": 32}, {"max_num_seqs": 16}]));
        let with = |class: FailureClass| failed(&all[0], class, &json!({}));
        let given_up = |rows: &[Row]| tally(rows).reason_to_skip(&all[3], vllm, 2).is_some();
        let two = [with(FailureClass::BadFlag), failed(&all[1], FailureClass::BadFlag, &json!({}))];
        assert!(given_up(&two));
        assert!(!given_up(&two[..1]));
        // What failed for a passing reason is tried again.
        assert!(!given_up(&[two[0].clone(), with(FailureClass::ServerDied)]));
        let and = |end: &Value| [&two[..], &served(&all[2], end)].concat();
        assert!(!given_up(&and(&json!({"status": "ok"}))));
        assert!(!given_up(&and(&json!({"status": "failed", "failure_class": "no_token"}))));
        // Killed with its programs, it was ready.
        assert!(!given_up(&and(&json!({"status": "ok"}))[..3]));
        assert!(given_up(&and(&json!({"status": "oom", "failure_class": "cuda_oom_at_run_time"}))));
    }
}
