//! The requests of a run on their way: sent when they are due or when one has come back, until all that count are back.

use std::collections::BTreeSet;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::jobs;
use super::jobs::{Job, Jobs, SessionSettings, talk};
use super::pace::pace;
use super::request::{Clock, RequestOutcome};
use super::run::{LoadRun, StopReason, histogram};
use crate::base::error::Result;
use crate::rows::kinds::{LoadMode, Request, RequestStatus};
use crate::rows::units::Micros;
use crate::rows::words::Phase;

/// How often it is looked at whether a run can still keep its SLA, in requests.
const CHECK_EVERY: u32 = 16;

/// Requests that are begun at once. Of thousands begun together all would be connected before the first is sent, and each
/// would seem to wait for its server while it waited for the others.
const BATCH: u32 = 32;
/// Turns of the loop in which a batch leaves: connect, greet, write.
const TURNS: usize = 8;

/// Lets what was begun leave.
async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// When what is sent.
#[derive(Debug, Clone)]
pub struct SendSchedule {
    /// Time zero.
    pub clock: Clock,
    /// When sessions are due: those of the warm-up, the measured ones, the tail; none in closed loop.
    pub due: Option<Vec<Micros>>,
    /// Sessions of the warm-up among them.
    pub warm: usize,
    /// When the measured ones begin, and whether the load goes on until they are back.
    pub lead: Option<Micros>,
}

impl SendSchedule {
    /// What the `k`-th launch is, where `left` measured sessions are left; `None` when nothing is to be sent any more.
    fn phase(&self, k: usize, left: usize) -> Option<Phase> {
        let warming = match &self.due {
            Some(_) => k < self.warm,
            None => self.lead.is_some_and(|lead| self.clock.now() < lead),
        };
        match () {
            () if warming => Some(Phase::Warmup),
            () if left > 0 => Some(Phase::Measured),
            () => self.lead.map(|_| Phase::Tail),
        }
    }
}

/// What is still to be sent.
pub struct PendingSessions<'a> {
    /// For the warm-up under load, without end.
    pub warm: Jobs<'a>,
    /// The measured sessions.
    pub sessions: std::vec::IntoIter<Vec<Job>>,
    /// For the tail, without end.
    pub tail: Jobs<'a>,
}

impl PendingSessions<'_> {
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

/// What is in flight, and what has come back.
pub struct InFlight {
    pub tasks: JoinSet<RequestOutcome>,
    pub flying: BTreeSet<(Phase, u32)>,
    pub lags: Vec<f64>,
    pub gaps: Histogram<u64>,
    pub token_gaps: Option<Histogram<u64>>,
    done: u32,
    ok: u32,
    answered: u32,
    reused: u32,
    landed: (UnboundedSender<RequestOutcome>, UnboundedReceiver<RequestOutcome>),
}

impl InFlight {
    pub fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            flying: BTreeSet::new(),
            lags: Vec::new(),
            gaps: histogram(),
            token_gaps: Some(histogram()),
            done: 0,
            ok: 0,
            answered: 0,
            reused: 0,
            landed: unbounded_channel(),
        }
    }

    /// Connections that answers came on.
    pub fn connections(&self) -> Option<u32> {
        (self.answered > 0).then(|| self.answered - self.reused)
    }
}

impl LoadRun<'_> {
    /// Sends what is due until all that is measured has come back.
    pub(super) async fn fly(
        &mut self,
        flight: &mut InFlight,
        course: SendSchedule,
        mut coming: PendingSessions<'_>,
        mut stopped: std::pin::Pin<&mut impl Future<Output = StopReason>>,
    ) -> Result<Option<StopReason>> {
        let n = coming.measured();
        let mut paced = course.due.clone().map(|due| pace(due, course.clock.0.into_std()));
        let (mut launched, mut due_now) = (0, 0u32);
        // In closed loop a slot that is free is filled.
        let mut free = if paced.is_none() { self.part(self.run.load.concurrency.unwrap_or(1)) } else { 0 };
        while flight.done < n {
            for begun in 0..std::mem::take(&mut free) {
                if begun % BATCH == BATCH - 1 {
                    settle().await;
                }
                let session = coming.next(course.phase(launched, coming.sessions.len()))?;
                launched += 1;
                self.launch(flight, session, None, &course)?;
            }
            tokio::select! {
                biased;
                Some(k) = async { match &mut paced { Some(paced) => paced.recv().await, None => None } } => {
                    let due = course.due.as_ref().map(|due| due[k as usize]);
                    // Only where many are due at once does the next come before this one has left.
                    due_now = if due == Some(Micros(0)) { due_now + 1 } else { 0 };
                    if due_now % BATCH == BATCH - 1 {
                        settle().await;
                    }
                    let session = coming.next(course.phase(k as usize, coming.sessions.len()))?;
                    self.launch(flight, session, due, &course)?;
                }
                Some(outcome) = flight.landed.1.recv() => self.landed(flight, outcome)?,
                Some(Ok(outcome)) = flight.tasks.join_next() => {
                    free += u32::from(paced.is_none());
                    self.landed(flight, outcome)?;
                    let hopeless = || self.task.sla.hopeless(&self.sample, n as usize);
                    if self.judged && flight.done.is_multiple_of(CHECK_EVERY) && hopeless() {
                        flight.flying.extend(coming.sessions.flatten().map(|job| (Phase::Measured, job.i)));
                        return Ok(Some(StopReason::Hopeless));
                    }
                }
                why = &mut stopped => return Ok(Some(why)),
            }
        }
        Ok(None)
    }

    /// Our part of a number of requests in flight.
    fn part(&self, n: u32) -> u32 {
        self.run.shard.map_or(n, |shard| shard.part(n))
    }

    fn launch(
        &mut self,
        flight: &mut InFlight,
        (phase, session): (Phase, Vec<Job>),
        due: Option<Micros>,
        course: &SendSchedule,
    ) -> Result<()> {
        let asked = self.run.workload.output_len;
        let rows = session.into_iter().enumerate().map(|(turn, job)| {
            let row = jobs::row(&self.run.run_id, &job, phase, due.filter(|_| turn == 0), asked);
            (job, row)
        });
        let session: Vec<(Job, Request)> = rows.collect();
        if session.is_empty() {
            return Ok(());
        }
        if self.run.load.cap.is_some_and(|cap| flight.tasks.len() >= self.part(cap) as usize) {
            for (_, row) in session {
                flight.done += u32::from(phase == Phase::Measured);
                self.write(Request { status: RequestStatus::Dropped, ..row })?;
            }
            return Ok(());
        }
        flight.flying.extend(session.iter().map(|(job, _)| (phase, job.i)));
        let asker = self.task.asker;
        let way = SessionSettings {
            client: asker.client.clone(),
            endpoint: asker.asking.endpoint,
            how: self.follow(course.clock),
            think: Duration::from_secs_f64(self.task.scenario.think_s.unwrap_or(0.0)),
            due: self.run.load.mode == LoadMode::Open,
        };
        flight.tasks.spawn_local(talk(way, session, flight.landed.0.clone()));
        Ok(())
    }

    fn landed(&mut self, flight: &mut InFlight, outcome: RequestOutcome) -> Result<()> {
        flight.flying.remove(&(outcome.row.phase, outcome.row.i));
        let row = &outcome.row;
        if let Some(reused) = row.reused_connection {
            flight.answered += 1;
            flight.reused += u32::from(reused);
        }
        if row.phase != Phase::Measured {
            return self.write(outcome.row);
        }
        flight.done += 1;
        if let (Some(due), Some(sent)) = (row.due_us, row.sent_us) {
            flight.lags.push(sent.since(due).0);
        }
        if row.status == RequestStatus::Ok {
            flight.ok += 1;
            outcome.gaps().for_each(|gap| flight.gaps.saturating_record(gap));
            match (&mut flight.token_gaps, outcome.token_gaps()) {
                (Some(all), Some(gaps)) => gaps.into_iter().for_each(|(gap, n)| all.saturating_record_n(gap, n)),
                (all, None) => *all = None,
                (None, _) => {}
            }
        }
        let mut row = outcome.row;
        if self.full {
            row.chunk_us = outcome.stamps.iter().map(|(at, _)| *at).collect();
        }
        let w = &self.run.workload;
        if self.notice.draws() {
            self.notice.progress(format!("{} {}/{} done, {} ok", w.scenario, flight.done, w.num_prompts, flight.ok));
        }
        self.write(row)
    }
}
