//! The sessions of a run that have not been sent yet, shared by the threads that send them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::count::LiveCount;
use super::jobs;
use super::jobs::{Job, Jobs};
use super::recorder::RunRecorder;
use super::request::{ExpectedAnswer, FollowSettings, RequestOutcome};
use super::send_schedule::SendSchedule;
use crate::base::error::Result;
use crate::rows::kinds::{LoadMode, Request, RequestStatus};
use crate::rows::units::Micros;
use crate::rows::words::{Endpoint, Phase};

/// Number of sessions before and after the measured ones that are made ahead, besides one for each in flight.
const AHEAD: usize = 64;

/// Makes the sessions of a run.
pub struct PendingSessions<'a> {
    /// For the warm-up under load; endless.
    pub warm: Jobs<'a>,
    /// The measured sessions.
    pub sessions: Vec<Vec<Job>>,
    /// For the tail; endless.
    pub tail: Jobs<'a>,
}

impl PendingSessions<'_> {
    /// Number of measured requests.
    pub fn measured(&self) -> u32 {
        self.sessions.iter().map(|session| u32::try_from(session.len()).unwrap_or(u32::MAX)).sum()
    }
}

/// Requests with their rows, one after the other.
pub type Session = Vec<(Job, Request)>;

/// What there is to send next.
pub enum NextSession {
    /// This; its requests are open from now on.
    Ready(Session),
    /// As many sessions are in flight as the load allows: this one is left out.
    Dropped(Session),
    /// It is still being made.
    Unmade,
    /// Nothing more.
    Over,
}

/// How the sessions of a run are sent.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Path of the endpoint.
    pub endpoint: Endpoint,
    /// Whose answers they get.
    pub expected: ExpectedAnswer,
    /// How each request is followed.
    pub follow: FollowSettings,
    /// Pause between turns.
    pub think: Duration,
    /// Later turns have a due time, too, which latency counts from.
    pub due: bool,
    run_id: String,
    output_len: u32,
    /// Sessions in flight at most; later ones are dropped.
    cap: Option<usize>,
}

#[derive(Default)]
struct Supply {
    warm: VecDeque<Vec<Job>>,
    measured: VecDeque<Vec<Job>>,
    tail: VecDeque<Vec<Job>>,
    /// Sessions that were made for the warm-up and for the tail.
    made: [usize; 2],
    launched: usize,
    open: BTreeSet<(Phase, u32)>,
    closed: bool,
}

/// What is sent next, and what is open.
pub struct LaunchQueue {
    /// When, and how.
    pub schedule: SendSchedule,
    /// How.
    pub settings: SessionSettings,
    /// Where the outcome of each request goes.
    pub outcomes: UnboundedSender<RequestOutcome>,
    supply: Mutex<Supply>,
    /// Number of measured sessions.
    measured: usize,
    ahead: usize,
    /// Sessions are to be made.
    hungry: Notify,
    /// Sessions were made.
    fed: Notify,
    /// The sessions in flight.
    pub in_flight: LiveCount,
    /// The requests that are about to be written.
    pub starting: LiveCount,
}

impl LaunchQueue {
    /// Nothing is in flight yet.
    pub fn new(
        recorder: &RunRecorder<'_>,
        schedule: SendSchedule,
        measured: Vec<Vec<Job>>,
        outcomes: UnboundedSender<RequestOutcome>,
    ) -> Self {
        let (run, spec) = (&recorder.run, recorder.spec);
        let settings = SessionSettings {
            endpoint: spec.builder.spec.endpoint,
            expected: spec.builder.expected(),
            follow: recorder.follow(schedule.clock),
            think: Duration::from_secs_f64(spec.scenario.think_s.unwrap_or(0.0)),
            due: run.load.mode == LoadMode::Open,
            run_id: run.run_id.clone(),
            output_len: run.workload.output_len,
            cap: run.load.cap.map(|cap| recorder.share(cap) as usize),
        };
        let concurrency = if schedule.due.is_none() { run.load.concurrency.unwrap_or(1) } else { 0 };
        Self {
            schedule,
            settings,
            outcomes,
            measured: measured.len(),
            supply: Mutex::new(Supply { measured: measured.into(), ..Supply::default() }),
            ahead: AHEAD + recorder.share(concurrency) as usize,
            hungry: Notify::new(),
            fed: Notify::new(),
            in_flight: LiveCount::default(),
            starting: LiveCount::default(),
        }
    }

    fn supply(&self) -> MutexGuard<'_, Supply> {
        self.supply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sessions for the warm-up and the tail, as many as may be needed soon.
    ///
    /// # Errors
    /// When a body cannot be built.
    pub fn feed(&self, pending: &mut PendingSessions<'_>) -> Result<()> {
        let [warm, tail] = self.wanted();
        for _ in 0..warm {
            let session = pending.warm.session(u32::MAX)?;
            let mut supply = self.supply();
            supply.made[0] += 1;
            supply.warm.push_back(session);
        }
        for _ in 0..tail {
            let session = pending.tail.session(u32::MAX)?;
            let mut supply = self.supply();
            supply.made[1] += 1;
            supply.tail.push_back(session);
        }
        self.fed.notify_waiters();
        Ok(())
    }

    /// Number of sessions that are to be made for the warm-up and for the tail.
    fn wanted(&self) -> [usize; 2] {
        let SendSchedule { due, warm, lead, .. } = &self.schedule;
        let Some(lead) = lead else { return [0, 0] };
        let supply = self.supply();
        // In closed loop time decides how many there are.
        let most = match due {
            Some(due) => [*warm, due.len().saturating_sub(warm + self.measured)],
            None => [if self.schedule.clock.now() < *lead { usize::MAX } else { 0 }, usize::MAX],
        };
        let soon = supply.measured.len() < self.ahead;
        let want =
            |have: usize, made: usize, most: usize| self.ahead.saturating_sub(have).min(most.saturating_sub(made));
        let tail = if soon { want(supply.tail.len(), supply.made[1], most[1]) } else { 0 };
        [want(supply.warm.len(), supply.made[0], most[0]), tail]
    }

    /// Returns when sessions are to be made.
    pub async fn hungry(&self) {
        self.hungry.notified().await;
    }

    /// The next session; the `k`-th in open loop, with its due time.
    pub fn next(&self, at: Option<(usize, Micros)>) -> NextSession {
        let mut supply = self.supply();
        let supply = &mut *supply;
        if supply.closed {
            return NextSession::Over;
        }
        let k = at.map_or(supply.launched, |(k, _)| k);
        let phase = self.schedule.phase(k, supply.measured.len());
        let session = match phase {
            None => return NextSession::Over,
            Some(Phase::Warmup) => supply.warm.pop_front(),
            Some(Phase::Tail) => supply.tail.pop_front(),
            Some(Phase::Measured | Phase::Pilot) => supply.measured.pop_front(),
        };
        let short = |left: &VecDeque<Vec<Job>>| left.len() < self.ahead / 2;
        if self.schedule.lead.is_some()
            && match phase {
                Some(Phase::Warmup) => short(&supply.warm),
                Some(Phase::Tail) => short(&supply.tail),
                Some(Phase::Measured | Phase::Pilot) | None => {
                    short(&supply.tail) && supply.measured.len() < self.ahead
                }
            }
        {
            self.hungry.notify_one();
        }
        let (Some(session), Some(phase)) = (session, phase) else { return NextSession::Unmade };
        supply.launched += 1;
        let due = at.map(|(_, due)| due);
        let rows = session.into_iter().enumerate().map(|(turn, job)| {
            let due = due.filter(|_| turn == 0);
            let row = jobs::row(&self.settings.run_id, &job, phase, due, self.settings.output_len);
            (job, row)
        });
        let session: Session = rows.collect();
        if self.settings.cap.is_some_and(|cap| self.in_flight.get() >= cap) {
            return NextSession::Dropped(session);
        }
        supply.open.extend(session.iter().map(|(job, _)| (phase, job.i)));
        NextSession::Ready(session)
    }

    /// The same in closed loop, once it has been made; `None` for nothing more in this slot.
    pub async fn wait_next(&self) -> Option<Session> {
        loop {
            let fed = self.fed.notified();
            match self.next(None) {
                NextSession::Ready(session) => return Some(session),
                NextSession::Dropped(session) => {
                    self.drop_session(session);
                    return None;
                }
                NextSession::Over => return None,
                NextSession::Unmade => fed.await,
            }
        }
    }

    /// Hands on the rows of a session that is not sent.
    pub fn drop_session(&self, session: Session) {
        for (_, row) in session {
            let row = Request { status: RequestStatus::Dropped, ..row };
            // If the run has ended, nobody reads it.
            let _ = self.outcomes.send(RequestOutcome { row, stamps: Vec::new() });
        }
    }

    /// A request has a row.
    pub fn close_one(&self, phase: Phase, i: u32) {
        self.supply().open.remove(&(phase, i));
    }

    /// Ends the launch: the requests that have left and have no row, and with `all` also the measured ones that have not left.
    pub fn close(&self, all: bool) -> BTreeSet<(Phase, u32)> {
        let mut supply = self.supply();
        supply.closed = true;
        let mut open = std::mem::take(&mut supply.open);
        if all {
            open.extend(supply.measured.iter().flatten().map(|job| (Phase::Measured, job.i)));
        }
        drop(supply);
        self.fed.notify_waiters();
        open
    }
}
