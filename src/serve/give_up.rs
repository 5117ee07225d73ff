//! Which candidates are not started after the failures of others: the rest of a framework, once enough of its candidates failed
//! and none was good; and those that would fail for the same reason.
//!
//! An out-of-memory failure counts only against candidates that ask for at least as much memory.

use std::collections::BTreeMap;
use std::time::Duration;

use super::events;
use super::failure::CandidateFailure;
use crate::engines::framework::{Framework, KnobRole};
use crate::rows::kinds::{Candidate, Members, Status};
use crate::rows::words::FailureClass;
use crate::system::eta::brief;

/// Knobs that take no GPU memory.
const NO_MEMORY: [KnobRole; 7] = [
    KnobRole::SchedulePolicy,
    KnobRole::QueueLimit,
    KnobRole::StreamInterval,
    KnobRole::Seed,
    KnobRole::ReasoningParser,
    KnobRole::ToolParser,
    KnobRole::LogLevel,
];

/// The failed candidates of each framework.
#[derive(Debug, Default)]
pub struct FailureTally {
    frameworks: BTreeMap<String, FrameworkTally>,
    failed_starts: Vec<FailedShape>,
    /// What the failed starts that were not repeated would have taken.
    saved: Duration,
}

/// A start that failed for a reason that other candidates share.
#[derive(Debug)]
struct FailedShape {
    candidate: Box<Candidate>,
    class: FailureClass,
    /// It ran out of memory; otherwise a shape was not divisible.
    memory: bool,
    took: Duration,
}

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
        self.frameworks.entry(candidate.framework.clone()).or_default().good = true;
    }

    /// Counts a candidate that failed to become ready, or ran out of memory.
    pub fn failed(&mut self, candidate: &Candidate, failed: &CandidateFailure) {
        if !failed.class.counts_against_framework() {
            return;
        }
        let tally = self.frameworks.entry(candidate.framework.clone()).or_default();
        if failed.status == Status::Oom {
            tally.out_of_memory.push(candidate.server.flags.clone());
        } else {
            tally.failed += 1;
        }
    }

    /// Remembers a failed start that says something about other candidates; it took so long. A full host is no property of a
    /// candidate.
    pub fn learn(&mut self, candidate: &Candidate, failed: &CandidateFailure, took: Duration) {
        let memory = failed.status == Status::Oom && failed.class != FailureClass::HostOom;
        if memory || failed.class == FailureClass::Indivisible {
            let (candidate, class) = (Box::new(candidate.clone()), failed.class.clone());
            self.failed_starts.push(FailedShape { candidate, class, memory, took });
        }
    }

    /// Forgets the failed start of a candidate that was ready later.
    pub fn forget(&mut self, candidate_id: &str) {
        self.failed_starts.retain(|failed| failed.candidate.candidate_id != candidate_id);
    }

    /// Why a candidate would fail like one before, and how much time it saves not to start it; `None` if nothing says so.
    pub fn foreseen(&mut self, candidate: &Candidate, framework: &Framework) -> Option<String> {
        let failed = self.failed_starts.iter().find(|failed| failed.says_about(candidate, framework))?;
        self.saved += failed.took;
        let took = brief(failed.took);
        let saved = if self.saved > failed.took { format!(", {} so far", brief(self.saved)) } else { String::new() };
        let like = events::name(&failed.candidate);
        let what = if failed.memory { "asks for at least as much memory as" } else { "has the same shape as" };
        Some(format!("it {what} {like}, which failed to start ({}); saves about {took}{saved}", failed.class))
    }

    /// Why a candidate is not started after the failures of others: its framework is given up after `limit` of them, or it would fail
    /// like one before.
    pub fn skips(
        &mut self,
        candidate: &Candidate,
        framework: &Framework,
        limit: u32,
    ) -> Option<(FailureClass, String)> {
        if let Some(why) = self.reason_to_skip(candidate, framework, limit) {
            return Some((FailureClass::GaveUp, why));
        }
        self.foreseen(candidate, framework).map(|why| (FailureClass::Foreseen, why))
    }

    /// Why a candidate should be skipped; `None` when it should be started.
    #[must_use]
    pub fn reason_to_skip(&self, candidate: &Candidate, framework: &Framework, limit: u32) -> Option<String> {
        let tally = self.frameworks.get(&candidate.framework).filter(|tally| !tally.good)?;
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

impl FailedShape {
    /// True if a candidate would fail like this one: the same server, of the same version, on the same GPUs with the same degrees of parallelism. For a
    /// shape the quantization is the same too. For memory no knob is lower that takes memory, and none of the others differs,
    /// as it may take less, apart from those that take none.
    fn says_about(&self, candidate: &Candidate, framework: &Framework) -> bool {
        let (ours, theirs) = (&candidate.server, &self.candidate.server);
        let server = |candidate: &Candidate| {
            let server = &candidate.server;
            (server.definition.clone(), server.image.clone(), server.launcher.clone(), server.env.clone())
        };
        let place = |candidate: &Candidate| {
            (candidate.framework.clone(), candidate.version.clone(), candidate.model.clone(), candidate.gpus)
        };
        if server(candidate) != server(&self.candidate)
            || place(candidate) != place(&self.candidate)
            || candidate.hardware != self.candidate.hardware
        {
            return false;
        }
        let parallelism = &framework.parallelism;
        let shape = parallelism
            .multiply
            .iter()
            .chain(&parallelism.share)
            .chain(parallelism.shared_by.iter().flat_map(|(a, b)| [a, b]));
        if !shape.chain(&parallelism.tensor).all(|knob| ours.flags.get(knob) == theirs.flags.get(knob)) {
            return false;
        }
        let role = |knob: &str| framework.knob(knob).and_then(|knob| knob.role);
        let decides = |knob: &&String| match self.memory {
            true => !framework.memory_knobs.contains(knob) && !role(knob).is_some_and(|role| NO_MEMORY.contains(&role)),
            false => role(knob) == Some(KnobRole::Quantization),
        };
        let mut knobs = ours.flags.keys().chain(theirs.flags.keys()).filter(decides);
        knobs.all(|knob| ours.flags.get(knob) == theirs.flags.get(knob))
            && (!self.memory || asks_no_less(&ours.flags, &theirs.flags, &framework.memory_knobs))
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
pub(super) mod tests {
    use super::*;
    use crate::engines::framework::Frameworks;
    use crate::plan::expand::expand;
    use crate::plan::{CheckContext, load};
    use serde_json::{Value, json};

    /// The candidates of a plan that lists flags of vLLM.
    pub fn candidates(frameworks: &Frameworks, list: &Value) -> Vec<Candidate> {
        let plan = json!({"model": "m", "hardware": {"gpu_count": 4}, "sla": {"max_p50_ttft_ms": 1}, "search": {"strategy": "ordered"},
                          "frameworks": {"vllm": {"base_server_flags": {"max_num_seqs": 64, "tensor_parallel_size": 4},
                                                  "candidates": list}}});
        let (found, plan) = load(&plan, &CheckContext::only(frameworks));
        let plan = plan.unwrap_or_else(|| panic!("{found:?}"));
        expand(&plan, frameworks).unwrap().remove(0).candidates
    }

    #[test]
    fn a_failed_start_says_something_about_others() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let vllm = frameworks.get("vllm").unwrap();
        let list = json!([{"max_num_seqs": 128}, {"max_num_seqs": 32}, {"max_num_seqs": 128, "seed": 7},
                          {"max_num_seqs": 128, "enforce_eager": true}, {"max_num_seqs": 128, "tensor_parallel_size": 2}]);
        let all = candidates(&frameworks, &list);
        let foreseen = |class: FailureClass, status: Status| -> Vec<bool> {
            let mut tally = FailureTally::default();
            let failed = CandidateFailure { status, ..CandidateFailure::new(class, "x") };
            tally.learn(&all[0], &failed, Duration::from_secs(41));
            all[1..].iter().map(|candidate| tally.foreseen(candidate, vllm).is_some()).collect()
        };
        let memory = foreseen(FailureClass::CudaOomAtLoad, Status::Oom);
        assert_eq!(memory, [true, false, true, false, false], "of {:?}", all[0].server.flags);
        assert_eq!(foreseen(FailureClass::Indivisible, Status::Failed), [true, true, true, true, false]);
        assert_eq!(foreseen(FailureClass::HostOom, Status::Oom), [false; 5]);
        assert_eq!(foreseen(FailureClass::BadFlag, Status::Failed), [false; 5]);
        let mut tally = FailureTally::default();
        tally.learn(&all[0], &CandidateFailure::new(FailureClass::Indivisible, "x"), Duration::from_secs(41));
        tally.foreseen(&all[1], vllm).unwrap();
        let said = tally.foreseen(&all[2], vllm).unwrap();
        assert_eq!(
            said,
            "it has the same shape as vllm baseline, which failed to start (indivisible); saves about 41 s, 82 s so far"
        );
    }

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
