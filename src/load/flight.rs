//! The requests of a run in flight: sent when they are due, or in closed loop when an earlier one has finished, until all
//! measured ones have finished.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::health::Lateness;
use super::jobs;
use super::jobs::{Job, Jobs, SessionSettings};
use super::pace::pace;
use super::recorder::RunRecorder;
use super::request::RequestOutcome;
use super::send_schedule::SendSchedule;
use super::stop::StopReason;
use crate::base::error::Result;
use crate::metrics::sla::CHECK_EVERY;
use crate::rows::kinds::{LoadMode, Request, RequestStatus};
use crate::rows::units::Micros;
use crate::rows::words::Phase;

/// Maximum number of requests that start together. If thousands started together, all would connect before the first is
/// sent, and each would seem to wait for the server while it waited for the others.
const BATCH: u32 = 32;
/// Turns of the event loop that a batch needs to leave: connect, handshake, write.
const TURNS: usize = 8;

/// Lets the requests that have started leave.
async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// An empty distribution, µs.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds")
}

/// The sessions that have not been sent yet.
pub struct PendingSessions<'a> {
    /// For the warm-up under load; endless.
    pub warm: Jobs<'a>,
    /// The measured sessions.
    pub sessions: std::vec::IntoIter<Vec<Job>>,
    /// For the tail; endless.
    pub tail: Jobs<'a>,
}

impl PendingSessions<'_> {
    /// Number of measured requests.
    fn measured(&self) -> u32 {
        self.sessions.as_slice().iter().map(|session| u32::try_from(session.len()).unwrap_or(u32::MAX)).sum()
    }

    fn next(&mut self, phase: Option<Phase>) -> Result<(Phase, Vec<Job>)> {
        let session = match phase {
            Some(Phase::Warmup) => self.warm.session(u32::MAX)?,
            Some(Phase::Tail) => self.tail.session(u32::MAX)?,
            Some(Phase::Measured | Phase::Pilot) | None => self.sessions.next().unwrap_or_default(),
        };
        Ok((phase.unwrap_or(Phase::Measured), session))
    }
}

/// The requests in flight, and counts of those that finished.
pub struct InFlight {
    /// The sessions in flight.
    pub tasks: JoinSet<RequestOutcome>,
    /// The requests that have no row yet, by phase and number.
    pub open: BTreeSet<(Phase, u32)>,
    /// When the measured requests left.
    pub lateness: Lateness,
    /// Gaps between token-bearing chunks, µs.
    pub gaps: Histogram<u64>,
    /// Gaps between tokens, µs; `None` once a request does not say how many tokens its chunks have.
    pub token_gaps: Option<Histogram<u64>>,
    done: u32,
    ok: u32,
    answered: u32,
    reused: u32,
    finished: (UnboundedSender<RequestOutcome>, UnboundedReceiver<RequestOutcome>),
}

impl InFlight {
    /// Nothing in flight.
    pub fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            open: BTreeSet::new(),
            lateness: Lateness::default(),
            gaps: histogram(),
            token_gaps: Some(histogram()),
            done: 0,
            ok: 0,
            answered: 0,
            reused: 0,
            finished: unbounded_channel(),
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
        mut stopped: Pin<&mut impl Future<Output = StopReason>>,
    ) -> Result<Option<StopReason>> {
        let n = pending.measured();
        let mut paced = schedule.due.clone().map(|due| pace(due, schedule.clock.0.into_std()));
        let (mut launched, mut due_now) = (0, 0u32);
        // In closed loop every free slot is filled.
        let mut free = if paced.is_none() { recorder.share(recorder.run.load.concurrency.unwrap_or(1)) } else { 0 };
        while self.done < n {
            for begun in 0..std::mem::take(&mut free) {
                if begun % BATCH == BATCH - 1 {
                    settle().await;
                }
                let session = pending.next(schedule.phase(launched, pending.sessions.len()))?;
                launched += 1;
                self.launch(recorder, session, None, &schedule)?;
            }
            tokio::select! {
                biased;
                Some(k) = async { match &mut paced { Some(paced) => paced.recv().await, None => None } } => {
                    let due = schedule.due.as_ref().map(|due| due[k as usize]);
                    // Only if many are due at once does the next one start before this one has left.
                    due_now = if due == Some(Micros(0)) { due_now + 1 } else { 0 };
                    if due_now % BATCH == BATCH - 1 {
                        settle().await;
                    }
                    let session = pending.next(schedule.phase(k as usize, pending.sessions.len()))?;
                    self.launch(recorder, session, due, &schedule)?;
                }
                Some(outcome) = self.finished.1.recv() => self.finish(recorder, outcome)?,
                Some(Ok(outcome)) = self.tasks.join_next() => {
                    free += u32::from(paced.is_none());
                    self.finish(recorder, outcome)?;
                    let check = recorder.judged && self.done.is_multiple_of(CHECK_EVERY);
                    let missed = || recorder.spec.sla.cannot_pass(&recorder.sample, n as usize);
                    if let Some(limit) = check.then(missed).flatten() {
                        self.open.extend(pending.sessions.flatten().map(|job| (Phase::Measured, job.i)));
                        return Ok(Some(StopReason::CannotPass(limit)));
                    }
                }
                why = &mut stopped => return Ok(Some(why)),
            }
        }
        Ok(None)
    }

    fn launch(
        &mut self,
        recorder: &mut RunRecorder<'_>,
        (phase, session): (Phase, Vec<Job>),
        due: Option<Micros>,
        schedule: &SendSchedule,
    ) -> Result<()> {
        let output_len = recorder.run.workload.output_len;
        let rows = session.into_iter().enumerate().map(|(turn, job)| {
            let row = jobs::row(&recorder.run.run_id, &job, phase, due.filter(|_| turn == 0), output_len);
            (job, row)
        });
        let session: Vec<(Job, Request)> = rows.collect();
        if session.is_empty() {
            return Ok(());
        }
        if recorder.run.load.cap.is_some_and(|cap| self.tasks.len() >= recorder.share(cap) as usize) {
            for (_, row) in session {
                self.done += u32::from(phase == Phase::Measured);
                recorder.write(Request { status: RequestStatus::Dropped, ..row })?;
            }
            return Ok(());
        }
        self.open.extend(session.iter().map(|(job, _)| (phase, job.i)));
        let builder = recorder.spec.builder;
        let settings = SessionSettings {
            client: builder.client.clone(),
            endpoint: builder.spec.endpoint,
            follow: recorder.follow(schedule.clock),
            think: Duration::from_secs_f64(recorder.spec.scenario.think_s.unwrap_or(0.0)),
            due: recorder.run.load.mode == LoadMode::Open,
        };
        self.tasks.spawn_local(jobs::send_session(settings, session, self.finished.0.clone()));
        Ok(())
    }

    fn finish(&mut self, recorder: &mut RunRecorder<'_>, outcome: RequestOutcome) -> Result<()> {
        self.open.remove(&(outcome.row.phase, outcome.row.i));
        let row = &outcome.row;
        if let Some(reused) = row.reused_connection {
            self.answered += 1;
            self.reused += u32::from(reused);
        }
        if row.phase != Phase::Measured {
            return recorder.write(outcome.row);
        }
        self.done += 1;
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
        if recorder.notice.draws() {
            let workload = &recorder.run.workload;
            let (done, ok) = (self.done, self.ok);
            recorder.notice.progress(format!("{} {done}/{} done, {ok} ok", workload.scenario, workload.num_prompts));
        }
        recorder.write(row)
    }
}
