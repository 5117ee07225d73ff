//! Sending the sessions of a run: from a thread that sleeps until they are due, or in closed loop as soon as an earlier one
//! has finished.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::count::CountMark;
use super::launch::{LaunchQueue, NextSession, Session, SessionSettings};
use super::pace::{SENDING, sleep_until, wake_in_time};
use super::request::{Outgoing, send};
use super::workers::WorkerThreads;
use crate::base::error::{Context, Result};
use crate::rows::units::Micros;
use crate::system::http::{Exchange, StreamClient};

/// Maximum number of requests that start together. If thousands started together, all would connect before the first is
/// sent, and each would seem to wait for the server while it waited for the others.
const BATCH: usize = 32;
/// How long a batch may take to leave.
const SETTLE: Duration = Duration::from_millis(3);
/// Pause between the batches of a closed loop that begins.
const PAUSE: Duration = Duration::from_millis(1);
/// How often a thread looks whether it may go on.
const LOOK: Duration = Duration::from_micros(100);

/// The thread that sends what is due; ended when dropped.
pub struct SenderThread {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SenderThread {
    /// Sends each session of an open loop or a burst at its due time.
    ///
    /// # Errors
    /// When the thread cannot start.
    pub fn start(launch: Arc<LaunchQueue>, workers: Arc<WorkerThreads>, due: Vec<Micros>) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let end = over.clone();
        let run = move || {
            wake_in_time(SENDING);
            send_due(&launch, &workers, &due, &end);
        };
        let thread = std::thread::Builder::new().name("sender".into()).spawn(run).context("cannot start a thread")?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for SenderThread {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn send_due(launch: &Arc<LaunchQueue>, workers: &WorkerThreads, due: &[Micros], over: &AtomicBool) {
    let start: Instant = launch.schedule.clock.0.into();
    let mut together = 0;
    for (k, at) in due.iter().copied().enumerate() {
        sleep_until(start + Duration::from_micros(at.0), over);
        // Only if many are due at once does the next one start before this one has left.
        together = if at == Micros(0) { together + 1 } else { 0 };
        if together % BATCH == BATCH - 1 {
            let begun = Instant::now();
            while launch.starting.get() > 0 && begun.elapsed() < SETTLE {
                std::thread::park_timeout(LOOK);
            }
        }
        let session = loop {
            if over.load(Relaxed) {
                return;
            }
            match launch.next(Some((k, at))) {
                NextSession::Ready(session) => break session,
                NextSession::Dropped(session) => {
                    launch.drop_session(session);
                    break Session::new();
                }
                NextSession::Unmade => std::thread::park_timeout(LOOK),
                NextSession::Over => return,
            }
        };
        let Some((first, _)) = session.first() else { continue };
        let (thread, exchange) = workers.depart(launch.settings.endpoint.as_str(), &first.body);
        let begun = BegunSession {
            session,
            launch: launch.clone(),
            exchange,
            starting: Some(launch.starting.mark()),
            flight: launch.in_flight.mark(),
        };
        let busy = workers.mark(thread);
        workers.spawn(thread, |client| async move {
            let _busy = busy;
            begun.follow(&client).await;
        });
    }
}

/// Keeps `slots` sessions in flight, each sent when the one before it in its slot has finished; returns once the first of each has left.
pub async fn fill(launch: Arc<LaunchQueue>, workers: Arc<WorkerThreads>, slots: u32) {
    for slot in 0..slots as usize {
        if slot % BATCH == BATCH - 1 {
            let begun = Instant::now();
            // A server takes them one after the other, too.
            tokio::time::sleep(PAUSE).await;
            while launch.starting.get() > 0 && begun.elapsed() < SETTLE {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let (launch, mut starting) = (launch.clone(), Some(launch.starting.mark()));
        workers.spawn(slot % workers.len(), |client| async move {
            while let Some(session) = launch.wait_next().await {
                let (launch, flight) = (launch.clone(), launch.in_flight.mark());
                BegunSession { session, launch, exchange: None, starting: starting.take(), flight }
                    .follow(&client)
                    .await;
            }
        });
    }
}

/// A session whose first request has left, or is about to.
struct BegunSession {
    session: Session,
    launch: Arc<LaunchQueue>,
    exchange: Option<Exchange>,
    starting: Option<CountMark>,
    flight: CountMark,
}

impl BegunSession {
    /// Sends its requests one after the other, and hands on the outcome of each.
    async fn follow(self, client: &StreamClient) {
        let Self { session, launch, mut exchange, starting: mut leaving, flight } = self;
        let SessionSettings { endpoint, follow, think, due, .. } = launch.settings;
        let expected = &launch.settings.expected;
        let turns = session.len();
        let mut flight = Some(flight);
        for (turn, (job, mut row)) in session.into_iter().enumerate() {
            if turn > 0 {
                if !think.is_zero() {
                    tokio::time::sleep(think).await;
                }
                row.due_us = due.then(|| follow.clock.now());
            }
            let (exchange, leaving) = (exchange.take(), leaving.take());
            let request =
                Outgoing { endpoint, expected: expected.clone().with(job.choices), body: job.body, exchange, leaving };
            let outcome = send(client, request, row, follow).await;
            if turn + 1 == turns {
                flight = None;
            }
            // If the run has ended, nobody reads it.
            let _ = launch.outcomes.send(outcome);
        }
        drop(flight);
    }
}
