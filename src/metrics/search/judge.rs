//! What a finished run of a search says.

use hdrhistogram::Histogram;

use super::length::{answer_s, answers};
use super::{Evidence, ProbeOutcome};
use crate::metrics::sample::{Sample, gap_ms};
use crate::metrics::sla::Limits;
use crate::metrics::stability;
use crate::rows::kinds::{Load, LoadMode, RequestStatus, RunLength};

/// A finished run of a search.
#[derive(Debug, Clone, Copy)]
pub struct ProbeRun<'a> {
    /// Its load.
    pub load: &'a Load,
    /// How long it was to be.
    pub length: &'a RunLength,
    /// Seconds of the same load before it.
    pub warm_s: Option<f64>,
    /// Its measured requests; if it was cut short, those that finished.
    pub sample: &'a Sample,
    /// Gaps between its tokens, µs.
    pub gaps: Option<&'a Histogram<u64>>,
    /// It was cut short, as it could no longer meet a limit.
    pub cut: bool,
    /// The client fell behind its schedule.
    pub client_saturated: bool,
}

impl ProbeRun<'_> {
    /// Tests the run. If it is too short to tell whether the server keeps up, only the limits decide.
    #[must_use]
    pub fn judge(&self, limits: &Limits) -> ProbeOutcome {
        let unreachable = |(status, n): (&RequestStatus, &u64)| {
            *n == 0 || matches!(status, RequestStatus::Connect | RequestStatus::Tls)
        };
        if self.client_saturated || self.sample.by_status.iter().all(unreachable) {
            return ProbeOutcome::Infra;
        }
        let open = self.load.mode == LoadMode::Open && !self.cut;
        let stability = open.then(|| stability::stability(&self.sample.spans, LoadMode::Open, self.warm_s)).flatten();
        let mut tests = limits.gate(self.sample, stability.as_ref(), &|statistic| gap_ms(self.gaps, statistic));
        if self.cut {
            // What was not sent counts as fast: the run says at least this much.
            tests.iter_mut().filter(|test| test.n.is_some()).for_each(|test| test.n = Some(self.length.requests));
        }
        ProbeOutcome::Judged(Evidence {
            passed: !self.cut && tests.iter().all(|test| test.passed),
            cut: self.cut,
            tests,
            requests: self.length.requests,
            answers: answers(self.length, self.load, answer_s(self.sample).or(self.length.answer_s)),
        })
    }
}
