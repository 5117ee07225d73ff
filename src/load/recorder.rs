//! Writes the rows of a run and collects its sample.

use std::fs::File;
use std::sync::Arc;

use jiff::Timestamp;

use super::builder::RequestBuilder;
use super::dataset::DatasetEntry;
use super::events::LoadEvents;
use super::request::{Clock, FollowSettings, RequestTimeouts};
use super::workers::WorkerThreads;
use crate::base::error::Result;
use crate::base::notice::Notice;
use crate::base::redact;
use crate::metrics::sample::Sample;
use crate::metrics::search::LengthNeed;
use crate::metrics::sla;
use crate::metrics::timing::timing;
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::{
    Benchmark, ClientHealth, Histograms, LoadMode, Members, Request, Run, RunEnd, RunLength, Scenario, Status,
};
use crate::rows::row::Row;
use crate::rows::words::{Arrivals, FailureClass, Phase};

/// A finish reason longer than this is text of the server's own, not one of the usual words; bytes.
const LONGEST_WORD: usize = 16;

/// A run at a given rate gets at most this many times the requests that the plan asks for: far above its capacity a server would
/// take hours for them.
pub const MOST_LONGER: u32 = 16;

/// What a run sends, and to which server.
#[derive(Clone, Copy)]
pub struct RunSpec<'a> {
    /// Builds the requests for this server.
    pub builder: &'a RequestBuilder,
    /// The threads that send them.
    pub workers: &'a Arc<WorkerThreads>,
    /// The scenario that is run.
    pub scenario: &'a Scenario,
    /// The rows of the scenario's dataset; empty for generated prompts.
    pub entries: &'a [DatasetEntry],
    /// The benchmark settings of the candidate.
    pub bench: &'a Benchmark,
    /// Index of the load within the candidate.
    pub load_index: usize,
    /// The limits that the run is judged by.
    pub sla: &'a sla::Limits,
}

/// Writes the request rows of one run and collects its sample.
pub struct RunRecorder<'a> {
    /// The row of the run.
    pub run: Run,
    /// What it sends.
    pub spec: RunSpec<'a>,
    /// Time limits of a request.
    pub limits: RequestTimeouts,
    /// Write the times of all chunks into the rows.
    pub full: bool,
    /// The run is a probe of a rate search: it is judged at its end, and ends early once it can no longer meet the SLA.
    pub judged: bool,
    /// The measured requests so far.
    pub sample: Sample,
    /// Requests are still added to the sample: what is cut off is no failure of the server.
    pub is_sampling: bool,
    /// Where rows go.
    pub out: &'a mut RowWriter<File>,
    /// Tells how far it is.
    pub events: &'a LoadEvents,
    /// Where progress goes.
    pub notice: &'a Notice,
}

impl RunRecorder<'_> {
    /// Writes the row of a request, and adds it to the sample. Secrets that a server repeats in an error are redacted.
    ///
    /// # Errors
    /// When the row cannot be written.
    pub fn write(&mut self, mut row: Request) -> Result<()> {
        row.error = row.error.map(|error| redact::foreign(&error));
        if row.finish_reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_WORD) {
            row.finish_reason = row.finish_reason.map(|reason| redact::foreign(&reason));
        }
        if self.is_sampling && row.phase == Phase::Measured {
            self.sample.add(&row, self.spec.sla);
        }
        self.out.write_typed("request", &row)
    }

    /// Makes a run longer that would not tell whether the server keeps up, now that its warm-up says how long an answer takes; true
    /// if it is. `sent` rows of the data set went to this server before. A search decides the lengths of its runs itself, clients
    /// that share a load need one length, and a trace has its own.
    pub fn lengthen(&mut self, warm_up: &[Request], sent: usize) -> bool {
        let Run { load, workload, length: Some(length), probe: None, shard: None, .. } = &self.run else {
            return false;
        };
        if load.mode != LoadMode::Open || load.arrivals == Some(Arrivals::Trace) {
            return false;
        }
        // The first requests of a server may take much longer than any other.
        let fastest = warm_up.iter().filter_map(timing).map(|timing| timing.e2e.0 / 1000.0).min_by(f64::total_cmp);
        let answer = length.answer_s.or(fastest);
        let asked = workload.num_prompts;
        let longer = LengthNeed::once(load.mode).length(asked, None, load, answer);
        let most = asked.saturating_mul(MOST_LONGER);
        let bounded = RunLength { requests: most, due_s: load.rate.map(|rate| f64::from(most) / rate), ..longer };
        let longer = if longer.requests > most { bounded } else { longer };
        let longer = self.spec.scenario.limited(longer, sent, asked);
        let kept = RunLength { answer_s: answer, ..*length };
        let is_longer = longer.requests > asked;
        self.run.length = Some(if is_longer { longer } else { kept });
        self.run.workload.num_prompts = longer.requests;
        is_longer
    }

    /// How each request is followed.
    pub fn follow(&self, clock: Clock) -> FollowSettings {
        FollowSettings { limits: self.limits, clock, stream: self.spec.builder.spec.stream }
    }

    /// This client's share of `n` requests in flight.
    pub fn share(&self, n: u32) -> u32 {
        self.run.shard.map_or(n, |shard| shard.part(n))
    }
}

/// Writes the rows of a run that sends no request, with the reason.
///
/// # Errors
/// When the rows cannot be written.
pub fn not_run(out: &mut RowWriter<File>, run: &Run, status: Status, class: FailureClass, why: &str) -> Result<()> {
    out.write(&Row::new("run", run))?;
    let end = RunEnd {
        run_id: run.run_id.clone(),
        shard: run.shard,
        status,
        failure_class: Some(class),
        failure_reason: Some(redact::foreign(why)),
        duration_s: 0.0,
        client: ClientHealth::default(),
        histograms: Histograms::default(),
        server_metrics: Members::new(),
        ended_at: Timestamp::now().to_string(),
    };
    out.write(&Row::new("run_end", &end))
}
