//! bench-serve: start one server, prove that it is ready, lease it, stop it completely.
//!
//! ```text
//! candidate row ─ prepare ─ start ─ probe ─ ready: server row ─ leased ─ stop ─ server_end row
//!                    └────────┴───────┴── failed: stop ─ server_end row on the whole candidate row
//! ```

mod chain;
mod child;
mod launch;
mod lifecycle;
mod log;
mod probe;
mod rows;
mod workers;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::mpsc::Receiver;

use crate::diagnose::Patterns;
use crate::error::{Context, Error, Result};
use crate::framework::{Framework, Frameworks, Phase};
use crate::jsonl::Writer;
use crate::lease::Offer;
use crate::notice::Notice;
use crate::process::signals::Signals;
use crate::process::{feed, guard, reader_left};
use crate::row::Row;
use crate::schema::{Candidate, Endpoint, Members, State, Status};
use child::Child;
use launch::{Launch, Ready};
use workers::Workers;

/// The grace after a signal: somebody waits for the prompt.
const HURRIED_GRACE: Duration = Duration::from_secs(10);

/// What bench-serve was asked to do.
#[derive(Debug)]
pub struct Options {
    /// The framework definitions.
    pub frameworks: Frameworks,
    /// Where logs go.
    pub artifacts: PathBuf,
    /// A fixed port instead of a free one.
    pub port: Option<u16>,
    /// Instead of the definition's limit.
    pub ready_timeout: Option<Duration>,
    /// How long a ready server waits for its lease to be taken.
    pub lease_timeout: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How many clients share the lease.
    pub holders: usize,
    /// The program to run once per server; empty in pipe form.
    pub chain: Vec<String>,
    /// No candidate is started after this time, counted from the start of bench-serve.
    pub budget: Option<Duration>,
    /// Most bytes of a server's log.
    pub log_limit: u64,
    /// Standard output is a terminal: hold each server until Ctrl-C.
    pub hold: bool,
}

/// Why a candidate failed, and what is still to be stopped.
#[derive(Debug)]
pub struct Failed {
    status: Status,
    class: String,
    reason: String,
    launch: Option<Box<Launch>>,
    child: Option<Box<Child>>,
    after: Option<Box<After>>,
}

impl Failed {
    fn of(class: &str, reason: String) -> Self {
        Self { status: Status::Failed, class: class.into(), reason, launch: None, child: None, after: None }
    }
}

/// How serving a candidate ended, as far as the next one is concerned.
#[derive(Debug)]
pub(crate) enum After {
    GoOn,
    /// Nothing more is to be started; rows are still passed on.
    Signal(Signal),
    ReaderLeft,
    /// The lease was not taken: the pipeline is broken.
    Broken(Error),
}

/// Serves the candidates of `rows`, one after the other; the signal by which to die, if one came.
///
/// # Errors
/// When rows cannot be read or written, or a lease was not taken. A failed candidate is no error.
pub fn serve(
    rows: impl Iterator<Item = Result<(Row, String)>> + Send + 'static,
    out: Writer<File>,
    options: &Options,
    notice: &Notice,
) -> Result<Option<Signal>> {
    guard::stand_behind()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let local = tokio::task::LocalSet::new();
    let served = local.block_on(&runtime, async {
        let mut serving = Serving {
            out,
            options,
            notice,
            signals: Signals::listen()?,
            begun: Instant::now(),
            started: BTreeSet::new(),
        };
        serving.all(feed(rows)).await
    });
    runtime.shutdown_background();
    served
}

struct Serving<'a> {
    out: Writer<File>,
    options: &'a Options,
    notice: &'a Notice,
    signals: Signals,
    begun: Instant,
    /// Models that were started before.
    started: BTreeSet<String>,
}

impl Serving<'_> {
    async fn all(&mut self, mut rows: Receiver<Result<(Row, String)>>) -> Result<Option<Signal>> {
        loop {
            let next = tokio::select! {
                next = rows.recv() => next,
                signal = self.signals.next() => return Ok(Some(signal)),
                () = reader_left(self.out.sink()) => return Ok(None),
            };
            let Some(row) = next else { return Ok(None) };
            let (row, place) = row?;
            let runnable = row.record() == Some("candidate") && row.get("status").is_none();
            if !runnable {
                self.out.write(&row)?;
                continue;
            }
            let candidate: Candidate = match row.view() {
                Ok(candidate) => candidate,
                Err(e) => {
                    self.notice.error(&e.at(place));
                    continue;
                }
            };
            if self.options.budget.is_some_and(|budget| self.begun.elapsed() > budget) {
                self.out.write(&rows::skipped(
                    row,
                    "budget",
                    "the time that --budget gives was over before its turn",
                ))?;
                continue;
            }
            match self.one(row, &candidate).await? {
                After::GoOn => {}
                After::Signal(signal) => return Ok(Some(signal)),
                After::ReaderLeft => return Ok(None),
                After::Broken(error) => return Err(error),
            }
        }
    }

    /// One candidate, from its row to its `server_end`.
    async fn one(&mut self, row: Row, candidate: &Candidate) -> Result<After> {
        let Some(framework) = self.options.frameworks.get(&candidate.server.definition) else {
            let why = format!(
                "there is no framework definition {:?}; --frameworks DIR adds some",
                candidate.server.definition
            );
            return self.fail(row, None, Failed::of("unsupported", why), After::GoOn).await;
        };
        if candidate.server.launcher != "local" {
            let why = format!("the launcher {:?} is not one of: local", candidate.server.launcher);
            return self.fail(row, None, Failed::of("unsupported", why), After::GoOn).await;
        }
        let launch = match Launch::prepare(candidate, self.options) {
            Ok(launch) => launch,
            Err(mut failed) => {
                let launch = failed.launch.take();
                return self.fail(row, launch.as_deref(), failed, After::GoOn).await;
            }
        };
        self.notice.progress(format!("starting {} ({})", candidate.candidate_id, framework.title));
        let interrupted = async {
            tokio::select! {
                signal = self.signals.next() => After::Signal(signal),
                () = reader_left(self.out.sink()) => After::ReaderLeft,
            }
        };
        match launch.ready(candidate, framework, self.options, interrupted).await {
            Ok(ready) => self.lease(row, candidate, framework, &launch, ready).await,
            Err(mut failed) => {
                let after = failed.after.take().map_or(After::GoOn, |after| *after);
                self.fail(row, Some(&launch), failed, after).await
            }
        }
    }

    /// Writes the `server` row, waits until the server has been used, stops it, writes its `server_end`.
    async fn lease(
        &mut self,
        row: Row,
        candidate: &Candidate,
        framework: &Framework,
        launch: &Launch,
        mut ready: Ready,
    ) -> Result<After> {
        let offer = if self.options.chain.is_empty() && !self.options.hold { Some(Offer::make()?) } else { None };
        let endpoint = Endpoint {
            base_url: format!("http://127.0.0.1:{}", launch.port),
            model_id: ready.model_id.clone(),
            lease: offer.as_ref().map(|offer| offer.path().display().to_string()),
            reached_by: "same_host".into(),
        };
        let deadline = self.options.budget.map(|budget| budget.saturating_sub(self.begun.elapsed()));
        let cold = self.started.insert(candidate.model.clone());
        let server_row = rows::server(row, candidate, launch, &ready, endpoint, deadline, cold);
        launch.enter(State::Ready, Some(self.options.lease_timeout));
        self.notice.clear();
        if let Err(e) = self.out.write(&server_row) {
            ready.child.stop(self.options.grace).await;
            return if e.is_reader_left() { Ok(After::ReaderLeft) } else { Err(e) };
        }
        let patterns = Patterns::new(&framework.failures)?;
        let workers = Workers::new(&framework.workers)?;
        let outcome = self.used(offer, &server_row, launch, &mut ready.child, workers).await;
        let mut failed = None;
        let mut grace = self.options.grace;
        let after = match outcome {
            Used::Done => After::GoOn,
            Used::Failed(why) => {
                failed = Some(why);
                After::GoOn
            }
            Used::Died => {
                failed = Some(launch.diagnosis(&ready.child, &patterns, "server_died", Phase::Ready));
                After::GoOn
            }
            Used::LostWorker(worker) => {
                failed = Some(launch.lost_worker(&mut ready.child, &patterns, &worker, Phase::Ready).await);
                After::GoOn
            }
            Used::Ended(after) => {
                if let After::Signal(_) = after {
                    grace = grace.min(HURRIED_GRACE);
                    failed =
                        Some(Failed::of("interrupted", "bench-serve was interrupted; run it again to go on".into()));
                }
                if let After::Broken(error) = &after {
                    failed = Some(Failed::of("lease_timeout", error.to_string()));
                }
                after
            }
        };
        if failed.is_some() {
            launch.enter(State::Failed, None);
        }
        launch.enter(State::Stopping, Some(grace));
        let log = ready.child.log.clone();
        let (stop, exit) = ready.child.stop(grace).await;
        launch.enter(State::Released, None);
        if !stop.survivors.is_empty() {
            self.notice.warn(format!(
                "still there after the stop of {}: {}",
                launch.server_id,
                stop.survivors.join(", ")
            ));
        }
        let end = rows::server_end(candidate, launch, failed.as_ref(), exit, Some(stop), log.facts());
        match self.out.write(&Row::new("server_end", &end)) {
            Err(e) if e.is_reader_left() => Ok(After::ReaderLeft),
            Err(e) => Err(e),
            Ok(()) => Ok(after),
        }
    }

    /// Waits until the server is not needed any more.
    async fn used(
        &mut self,
        offer: Option<Offer>,
        row: &Row,
        launch: &Launch,
        child: &mut Child,
        mut workers: Workers,
    ) -> Used {
        let guard = child.guard;
        // A clone of the descriptor: the chain may be writing while we watch.
        let watched = match self.out.sink().try_clone().context("cannot watch standard output") {
            Ok(watched) => watched,
            Err(e) => return Used::Ended(After::Broken(e)),
        };
        let chained = async {
            match offer {
                Some(offer) => {
                    match tokio::time::timeout(self.options.lease_timeout, offer.taken(self.options.holders)).await {
                        Ok(Ok(mut lent)) => {
                            launch.enter(State::Leased, None);
                            lent.given_back().await;
                            Used::Done
                        }
                        Ok(Err(e)) => Used::Ended(After::Broken(e)),
                        Err(_) => Used::Ended(After::Broken(not_taken(self.options.lease_timeout))),
                    }
                }
                None if self.options.hold && self.options.chain.is_empty() => {
                    self.notice.say(format!("http://127.0.0.1:{} is ready; Ctrl-C stops it", launch.port));
                    std::future::pending().await
                }
                None => {
                    launch.enter(State::Leased, None);
                    chain::run(&self.options.chain, row, launch, &mut self.out, self.notice).await
                }
            }
        };
        tokio::select! {
            used = chained => used,
            () = reader_left(&watched) => Used::Ended(After::ReaderLeft),
            _ = child.ended() => Used::Died,
            worker = workers.watch(guard) => Used::LostWorker(worker),
            signal = self.signals.next() => Used::Ended(After::Signal(signal)),
        }
    }

    /// Stops what was started and writes the candidate's row as its `server_end`.
    async fn fail(&mut self, row: Row, launch: Option<&Launch>, mut failed: Failed, after: After) -> Result<After> {
        let (mut stop, mut exit) = (None, None);
        let mut facts = Members::new();
        if let Some(launch) = launch {
            launch.enter(State::Failed, None);
        }
        if let Some(child) = failed.child.take() {
            let log = child.log.clone();
            let grace =
                if matches!(after, After::GoOn) { self.options.grace } else { self.options.grace.min(HURRIED_GRACE) };
            let (stopped, ended) = child.stop(grace).await;
            (stop, exit) = (Some(stopped), ended);
            facts = log.facts();
            if let Some(launch) = launch {
                launch.enter(State::Released, None);
            }
        }
        self.notice.clear();
        self.out.write(&rows::failed(row, launch, &failed, exit, stop, facts))?;
        Ok(after)
    }
}

/// How the use of a server ended.
enum Used {
    Done,
    Died,
    LostWorker(String),
    Failed(Failed),
    Ended(After),
}

fn not_taken(limit: Duration) -> Error {
    Error::new(format!(
        "nobody took the server's lease within {} s: is bench-load next in the pipe? A filter in between that buffers \
         holds the row back: use `jq --unbuffered`, `grep --line-buffered`, `sed -u`, or filter before bench-serve",
        limit.as_secs()
    ))
}
