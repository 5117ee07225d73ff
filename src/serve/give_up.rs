//! When to skip the rest of a framework: enough of its candidates failed, and none was good.
//!
//! An out-of-memory failure counts only against candidates that ask for at least as much memory.

use std::collections::BTreeMap;

use super::failure::CandidateFailure;
use crate::engines::framework::Framework;
use crate::rows::kinds::{Candidate, Members, Status};

/// The failed candidates of each framework.
#[derive(Debug, Default)]
pub struct FailureTally(BTreeMap<String, FrameworkTally>);

#[derive(Debug, Default)]
struct FrameworkTally {
    good: bool,
    failed: u32,
    /// The flags of each candidate that ran out of memory.
    out_of_memory: Vec<Members>,
}

impl FailureTally {
    /// Counts a candidate that was ready and did not run out of memory.
    pub fn good(&mut self, candidate: &Candidate) {
        self.0.entry(candidate.framework.clone()).or_default().good = true;
    }

    /// Counts a candidate that failed to become ready, or ran out of memory.
    pub fn failed(&mut self, framework: &str, flags: Members, failed: &CandidateFailure) {
        if !failed.class.counts_against_framework() {
            return;
        }
        let tally = self.0.entry(framework.to_string()).or_default();
        if failed.status == Status::Oom {
            tally.out_of_memory.push(flags);
        } else {
            tally.failed += 1;
        }
    }

    /// Why a candidate should be skipped; `None` when it should be started.
    #[must_use]
    pub fn reason_to_skip(&self, candidate: &Candidate, framework: &Framework, limit: u32) -> Option<String> {
        let tally = self.0.get(&candidate.framework).filter(|tally| !tally.good)?;
        let no_less = |other: &&Members| asks_no_less(&candidate.server.flags, other, &framework.memory_knobs);
        let out_of_memory = tally.out_of_memory.iter().filter(no_less).count();
        let against = tally.failed as usize + out_of_memory;
        (against >= limit as usize).then(|| {
            let memory = if out_of_memory > 0 {
                format!(" ({out_of_memory} of them out of memory while asking for no more memory than this one)")
            } else {
                String::new()
            };
            format!(
                "{} was given up after {against} failed candidates{memory} and none that was good; its search is \
                 incomplete (--give-up never disables this)",
                candidate.framework
            )
        })
    }
}

/// True unless some knob that takes memory is lower than in `other`.
fn asks_no_less(flags: &Members, other: &Members, knobs: &[String]) -> bool {
    let value = |flags: &Members, knob: &String| flags.get(knob).and_then(serde_json::Value::as_f64);
    // A knob that only one of them sets cannot be compared: it may ask for less.
    knobs.iter().all(|knob| match (value(flags, knob), value(other, knob)) {
        (Some(ours), Some(theirs)) => ours >= theirs,
        (None, None) => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn less_memory_is_worth_a_try() {
        let knobs = ["max_num_seqs".to_string(), "max_model_len".to_string()];
        let flags = |value: serde_json::Value| value.as_object().cloned().unwrap();
        let big = flags(json!({"max_num_seqs": 64, "max_model_len": 8192, "dtype": "auto"}));
        for (value, no_less) in [
            (json!({"max_num_seqs": 64, "max_model_len": 8192}), true),
            (json!({"max_num_seqs": 128, "max_model_len": 8192}), true),
            (json!({"max_num_seqs": 32, "max_model_len": 8192}), false),
            (json!({"max_num_seqs": 128, "max_model_len": 4096}), false),
            (json!({"max_num_seqs": 64}), false),
        ] {
            assert_eq!(asks_no_less(&flags(value.clone()), &big, &knobs), no_less, "{value}");
        }
    }
}
