//! The requests of a run in flight: sent when they are due, or in closed loop when an earlier one has finished, until all
//! measured ones have finished.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::events::RunProgress;
use super::health::Lateness;
use super::launch::{LaunchQueue, PendingSessions};
use super::recorder::RunRecorder;
use super::request::RequestOutcome;
use super::send_schedule::SendSchedule;
use super::sender::{SenderThread, fill};
use super::stop::StopReason;
use super::workers::WorkerThreads;
use crate::base::error::Result;
use crate::metrics::sla::CHECK_EVERY;
use crate::rows::kinds::RequestStatus;
use crate::rows::words::Phase;

/// Outcomes that are taken at once, at most.
const OUTCOMES: usize = 64;
/// How long the news that the server is lost, or a signal, may take to arrive once the last answer of a run broke off.
const NEWS: Duration = Duration::from_secs(1);

/// An empty distribution, µs.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds")
}

/// The requests in flight, and counts of those that finished.
pub struct InFlight {
    workers: Arc<WorkerThreads>,
    /// The requests that have no row yet, by phase and number.
    pub open: BTreeSet<(Phase, u32)>,
    /// When the measured requests left.
    pub lateness: Lateness,
    /// Gaps between token-bearing chunks, µs.
    pub gaps: Histogram<u64>,
    /// Gaps between tokens, µs; `None` once a request does not say how many tokens its chunks have.
    pub token_gaps: Option<Histogram<u64>>,
    begun: Instant,
    done: u32,
    ok: u32,
    answered: u32,
    reused: u32,
    /// How the last measured request ended.
    last: RequestStatus,
}

impl InFlight {
    /// Nothing in flight.
    pub fn new(workers: Arc<WorkerThreads>) -> Self {
        Self {
            workers,
            open: BTreeSet::new(),
            lateness: Lateness::default(),
            gaps: histogram(),
            token_gaps: Some(histogram()),
            begun: Instant::now(),
            done: 0,
            ok: 0,
            answered: 0,
            reused: 0,
            last: RequestStatus::Ok,
        }
    }

    /// Number of connections that answers came on; `None` without an answer.
    pub fn connections(&self) -> Option<u32> {
        (self.answered > 0).then(|| self.answered - self.reused)
    }

    /// Sends what is due until every measured request has finished; why it ended early.
    ///
    /// # Errors
    /// When a body cannot be built or a row cannot be written.
    pub async fn fly(
        &mut self,
        recorder: &mut RunRecorder<'_>,
        schedule: SendSchedule,
        mut pending: PendingSessions<'_>,
        stopped: Pin<&mut impl Future<Output = StopReason>>,
    ) -> Result<Option<StopReason>> {
        let (outcomes, mut finished) = unbounded_channel();
        let n = pending.measured();
        let launch = LaunchQueue::new(recorder, schedule, std::mem::take(&mut pending.sessions), outcomes);
        let launch = Arc::new(launch);
        launch.feed(&mut pending)?;
        let flown = self.follow(recorder, &launch, &mut finished, pending, n, stopped).await;
        let cannot_pass = matches!(flown, Ok(Some(StopReason::CannotPass(_))));
        self.open = launch.close(cannot_pass);
        self.workers.clear().await;
        flown
    }

    async fn follow(
        &mut self,
        recorder: &mut RunRecorder<'_>,
        launch: &Arc<LaunchQueue>,
        finished: &mut UnboundedReceiver<RequestOutcome>,
        mut pending: PendingSessions<'_>,
        n: u32,
        mut stopped: Pin<&mut impl Future<Output = StopReason>>,
    ) -> Result<Option<StopReason>> {
        let (due, workers) = (launch.schedule.due.clone(), self.workers.clone());
        // In closed loop every free slot is filled.
        let slots = if due.is_none() { recorder.share(recorder.run.load.concurrency.unwrap_or(1)) } else { 0 };
        let _sender = due.map(|due| SenderThread::start(launch.clone(), workers.clone(), due)).transpose()?;
        let filling = fill(launch.clone(), workers, slots);
        tokio::pin!(filling);
        let (mut filled, mut batch) = (false, Vec::new());
        while self.done < n {
            tokio::select! {
                biased;
                why = &mut stopped => return Ok(Some(why)),
                () = &mut filling, if !filled => filled = true,
                () = launch.hungry() => launch.feed(&mut pending)?,
                _ = finished.recv_many(&mut batch, OUTCOMES) => {
                    for outcome in batch.drain(..) {
                        launch.close_one(outcome.row.phase, outcome.row.i);
                        self.finish(recorder, outcome)?;
                        let check = recorder.judged && self.done.is_multiple_of(CHECK_EVERY);
                        let missed = || recorder.spec.sla.cannot_pass(&recorder.sample, n as usize);
                        if let Some(limit) = check.then(missed).flatten() {
                            return Ok(Some(StopReason::CannotPass(limit)));
                        }
                    }
                }
            }
        }
        // The answers of a server that died broke off before anybody could say so: then they are no figures of it.
        if matches!(self.last, RequestStatus::Connect | RequestStatus::Truncated) {
            return Ok(tokio::time::timeout(NEWS, stopped).await.ok());
        }
        Ok(None)
    }

    fn finish(&mut self, recorder: &mut RunRecorder<'_>, outcome: RequestOutcome) -> Result<()> {
        let row = &outcome.row;
        if row.status == RequestStatus::Dropped {
            self.done += u32::from(row.phase == Phase::Measured);
            return recorder.write(outcome.row);
        }
        if let Some(reused) = row.reused_connection {
            self.answered += 1;
            self.reused += u32::from(reused);
        }
        if row.phase != Phase::Measured {
            return recorder.write(outcome.row);
        }
        self.done += 1;
        self.last = row.status;
        if let (Some(due), Some(sent)) = (row.due_us, row.sent_us) {
            self.lateness.lags.push(sent.since(due).0);
            let answered = row.first_token_us.or(row.end_us).filter(|_| row.status == RequestStatus::Ok);
            self.lateness.latencies.extend(answered.map(|at| at.since(due).0));
        }
        if row.status == RequestStatus::Ok {
            self.ok += 1;
            outcome.gaps().for_each(|gap| self.gaps.saturating_record(gap));
            match (&mut self.token_gaps, outcome.token_gaps()) {
                (Some(all), Some(gaps)) => gaps.into_iter().for_each(|(gap, n)| all.saturating_record_n(gap, n)),
                (all, None) => *all = None,
                (None, _) => {}
            }
        }
        let mut row = outcome.row;
        if recorder.full {
            row.chunk_us = outcome.stamps.iter().map(|(at, _)| *at).collect();
        }
        let so_far = RunProgress { begun: self.begun, done: self.done, ok: self.ok };
        recorder.events.moving(recorder.notice, &recorder.run, so_far);
        recorder.write(row)
    }
}
