//! When a framework is given up: so many candidates failed, and none was good.
//!
//! A candidate that had not the memory speaks only against those that ask for no less in any knob that takes memory.

use std::collections::BTreeMap;

use crate::engines::framework::Framework;
use crate::rows::kinds::{Candidate, Members, Status};

use super::CandidateFailure;

/// What was seen of each framework.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<String, FrameworkTally>);

#[derive(Debug, Default)]
struct FrameworkTally {
    good: bool,
    failed: u32,
    out_of_memory: Vec<Members>,
}

impl Tally {
    /// A candidate was ready and did not run out of memory.
    pub fn good(&mut self, candidate: &Candidate) {
        self.0.entry(candidate.framework.clone()).or_default().good = true;
    }

    /// A candidate failed to become ready, or ran out of memory.
    pub fn failed(&mut self, framework: &str, flags: Members, failed: &CandidateFailure) {
        if !failed.class.counts_against_framework() {
            return;
        }
        let seen = self.0.entry(framework.to_string()).or_default();
        if failed.status == Status::Oom {
            seen.out_of_memory.push(flags);
        } else {
            seen.failed += 1;
        }
    }

    /// Why a candidate is not worth its start; `None` when it is.
    #[must_use]
    pub fn hopeless(&self, candidate: &Candidate, framework: &Framework, limit: u32) -> Option<String> {
        let seen = self.0.get(&candidate.framework).filter(|seen| !seen.good)?;
        let no_less = |other: &&Members| asks_no_less(&candidate.server.flags, other, &framework.memory_knobs);
        let out_of_memory = seen.out_of_memory.iter().filter(no_less).count();
        let against = seen.failed as usize + out_of_memory;
        (against >= limit as usize).then(|| {
            let memory = if out_of_memory > 0 { format!(" ({out_of_memory} out of memory, with no more asked)") } else { String::new() };
            format!(
                "{} was given up: {against} of its candidates failed{memory} and none was good; its search is not complete \
                 (--give-up never goes on)",
                candidate.framework
            )
        })
    }
}

/// True unless some knob that takes memory is lower than in `other`.
fn asks_no_less(flags: &Members, other: &Members, knobs: &[String]) -> bool {
    let value = |flags: &Members, knob: &String| flags.get(knob).and_then(serde_json::Value::as_f64);
    // A knob that only one of them sets cannot be compared: then it may be less.
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
