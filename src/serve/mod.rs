//! bench-serve: start one server, prove that it is ready, lease it, stop it completely.
//!
//! ```text
//! candidate row ─ prepare ─ start ─ probe ─ ready: server row ─ leased ─ stop ─ server_end row
//!                    └────────┴───────┴── failed: stop ─ server_end row on the whole candidate row
//! ```

mod child;
mod diagnosis;
mod exec_per_server;
mod give_up;
mod gpus;
mod launch;
mod leased;
mod lifecycle;
mod log;
mod manifest;
mod preflight;
mod probe;
mod rows;
mod small;
mod smoke;
mod start;
mod workers;

pub use self::manifest::package_version;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::mpsc::Receiver;

use self::child::Child;
use self::give_up::Tally;
use self::gpus::GpuProbe;
use self::launch::Launch;
use self::start::StartContext;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::base::redact;
use crate::engines::framework::Frameworks;
use crate::rows::jsonl::{RowPlace, RowWriter, Rows};
use crate::rows::kinds::{Candidate, Members, ServerState, Status};
use crate::rows::row::Row;
use crate::rows::words::FailureClass;
use crate::system::process::signals::Signals;
use crate::system::process::{feed, guard, reader_left};

/// The grace after a signal: somebody waits for the prompt.
const HURRIED_GRACE: Duration = Duration::from_secs(10);

/// What bench-serve was asked to do.
#[derive(Debug)]
pub struct ServeOptions {
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
    /// A command that lists the GPUs as `nvidia-smi` does, instead of that.
    pub gpu_probe: Vec<String>,
    /// How long a stopped server's GPU memory is waited for.
    pub release_timeout: Duration,
    /// After so many candidates of a framework that failed, none good, the rest of it is skipped; `None`: never.
    pub give_up: Option<u32>,
    /// Lease the server at this URL instead of starting any.
    pub attach: Option<String>,
    /// Most bytes of a server's log.
    pub log_limit: u64,
    /// Sent as a bearer token when a server is probed.
    pub api_key: Option<String>,
    /// Only check that each framework's baseline serves: nothing is leased.
    pub smoke: bool,
    /// Standard output is a terminal: hold each server until Ctrl-C.
    pub hold: bool,
}

/// Why a candidate failed, and what is still to be stopped.
#[derive(Debug)]
pub struct CandidateFailure {
    status: Status,
    class: FailureClass,
    reason: String,
    launch: Option<Box<Launch>>,
    child: Option<Box<Child>>,
    after: Option<Box<NextStep>>,
}

impl CandidateFailure {
    fn of(class: FailureClass, reason: String) -> Self {
        Self { status: Status::Failed, class, reason, launch: None, child: None, after: None }
    }
}

/// How serving a candidate ended, as far as the next one is concerned.
#[derive(Debug)]
pub(crate) enum NextStep {
    GoOn,
    /// Nothing more is to be started; rows are still passed on.
    Signal(Signal),
    ReaderLeft,
    /// The lease was not taken: the pipeline is broken.
    Broken(Error),
}

/// What became of it all.
#[derive(Debug, Clone, Copy)]
pub struct ServeSummary {
    /// The signal by which to die, if one came.
    pub signal: Option<Signal>,
    /// With `smoke`: every framework that was checked serves.
    pub all_serve: bool,
}

/// Serves the candidates of `rows`, one after the other.
///
/// # Errors
/// When rows cannot be read or written, or a lease was not taken. A failed candidate is no error.
pub fn serve(rows: Rows, out: RowWriter<File>, options: &ServeOptions, notice: &Notice) -> Result<ServeSummary> {
    guard::stand_behind()?;
    std::thread::spawn(redact::warm_up);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let local = tokio::task::LocalSet::new();
    let served = local.block_on(&runtime, async {
        let mut serving = Supervisor {
            out,
            options,
            notice,
            signals: Signals::listen()?,
            begun: Instant::now(),
            started: BTreeSet::new(),
            helps: BTreeMap::new(),
            checked: BTreeSet::new(),
            smoke_failed: false,
            probe: GpuProbe::find(&options.gpu_probe),
            tally: Tally::default(),
        };
        let signal = serving.all(feed(rows)).await?;
        let nothing = serving.checked.is_empty();
        if options.smoke && nothing && signal.is_none() {
            notice.warn("no candidate came in: nothing was checked");
        }
        Ok(ServeSummary { signal, all_serve: !serving.smoke_failed && !nothing })
    });
    runtime.shutdown_background();
    served
}

struct Supervisor<'a> {
    out: RowWriter<File>,
    options: &'a ServeOptions,
    notice: &'a Notice,
    signals: Signals,
    begun: Instant,
    /// What became of the frameworks' candidates.
    tally: Tally,
    /// How the host's GPUs are looked at, where there are any.
    probe: Option<GpuProbe>,
    /// What the frameworks' help says, by what was started; `None` where they have none.
    helps: BTreeMap<String, Option<PathBuf>>,
    /// Frameworks that were checked, and whether one of them failed.
    checked: BTreeSet<String>,
    smoke_failed: bool,
    /// Models that were started before.
    started: BTreeSet<String>,
}

impl Supervisor<'_> {
    async fn all(&mut self, mut rows: Receiver<Result<(Row, RowPlace)>>) -> Result<Option<Signal>> {
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
                Ok(candidate) => self.attached(candidate),
                Err(e) => {
                    self.notice.error(&e.at(place));
                    continue;
                }
            };
            // The baseline comes first; one start tells whether a framework serves at all.
            if self.options.smoke && !self.checked.insert(candidate.framework.clone()) {
                continue;
            }
            if self.options.budget.is_some_and(|budget| self.begun.elapsed() > budget) {
                self.out.write(&rows::skipped(
                    row,
                    FailureClass::Budget,
                    "the time that --budget gives was over before its turn",
                ))?;
                continue;
            }
            if self.options.attach.is_some() && !self.started.is_empty() {
                let why = "the attached server is one candidate, and it was taken for the first: it does not have these flags";
                self.out.write(&rows::skipped(row, FailureClass::Unsupported, why))?;
                continue;
            }
            let framework = self.options.frameworks.get(&candidate.server.definition);
            if let (Some(limit), Some(framework)) = (self.options.give_up, framework)
                && let Some(why) = self.tally.hopeless(&candidate, framework, limit)
            {
                self.out.write(&rows::skipped(row, FailureClass::GaveUp, &why))?;
                continue;
            }
            match self.one(row, &candidate).await? {
                NextStep::GoOn => {}
                NextStep::Signal(signal) => return Ok(Some(signal)),
                NextStep::ReaderLeft => return Ok(None),
                NextStep::Broken(error) => return Err(error),
            }
        }
    }

    /// One candidate, from its row to its `server_end`.
    async fn one(&mut self, row: Row, candidate: &Candidate) -> Result<NextStep> {
        let Some(framework) = self.options.frameworks.get(&candidate.server.definition) else {
            let why = format!(
                "there is no framework definition {:?}; --frameworks DIR adds some",
                candidate.server.definition
            );
            return self.fail(row, None, CandidateFailure::of(FailureClass::Unsupported, why), NextStep::GoOn).await;
        };
        if let Err(why) = self.launchable(candidate) {
            return self.fail(row, None, CandidateFailure::of(FailureClass::Unsupported, why), NextStep::GoOn).await;
        }
        let launch = match Launch::prepare(candidate, self.options) {
            Ok(launch) => launch,
            Err(mut failed) => {
                let launch = failed.launch.take();
                return self.fail(row, launch.as_deref(), failed, NextStep::GoOn).await;
            }
        };
        // The GPUs of a server that is there already are its own affair.
        let gpus = if launch.attached { Ok(Vec::new()) } else { self.gpus(candidate).await };
        let gpus = match gpus {
            Ok(gpus) => gpus,
            Err(failed) => return self.fail(row, Some(&launch), failed, NextStep::GoOn).await,
        };
        self.notice.progress(format!("starting {} ({})", candidate.candidate_id, framework.title));
        let interrupted = async {
            tokio::select! {
                signal = self.signals.next() => NextStep::Signal(signal),
                () = reader_left(self.out.sink()) => NextStep::ReaderLeft,
            }
        };
        let server = &candidate.server;
        let kind = format!("{} {:?} {:?}", server.definition, server.launcher, server.image);
        let about = StartContext { candidate, framework, gpus: &gpus, help: !self.helps.contains_key(&kind) };
        match launch.ready(about, self.options, interrupted).await {
            Ok(mut ready) => {
                // A program that has no help is not asked again and again.
                ready.help = self.helps.entry(kind).or_insert(ready.help).clone();
                self.lease(row, about, &launch, ready).await
            }
            Err(mut failed) => {
                let after = failed.after.take().map_or(NextStep::GoOn, |after| *after);
                self.fail(row, Some(&launch), failed, after).await
            }
        }
    }

    /// Stops what was started and writes the candidate's row as its `server_end`.
    async fn fail(
        &mut self,
        row: Row,
        launch: Option<&Launch>,
        mut failed: CandidateFailure,
        mut after: NextStep,
    ) -> Result<NextStep> {
        let flags = row.get("server").and_then(|server| server["flags"].as_object()).cloned().unwrap_or_default();
        self.tally.failed(row.str("framework").unwrap_or_default(), flags, &failed);
        let (mut stop, mut exit) = (None, None);
        let mut facts = Members::new();
        if let Some(launch) = launch {
            launch.enter(ServerState::Failed, None);
        }
        if let Some(child) = failed.child.take() {
            let log = child.log.clone();
            let grace = if matches!(after, NextStep::GoOn) {
                self.options.grace
            } else {
                self.options.grace.min(HURRIED_GRACE)
            };
            let (stopped, ended) = child.stop(grace).await;
            if !stopped.survivors.is_empty() {
                let why =
                    format!("still there after a stop: {}; nothing more is started", stopped.survivors.join(", "));
                after = NextStep::Broken(Error::new(why));
            }
            (stop, exit) = (Some(stopped), ended);
            facts = log.facts();
            if let Some(launch) = launch {
                launch.enter(ServerState::Released, None);
            }
        }
        self.notice.clear();
        self.smoke_failed = true;
        self.out.write(&rows::failed(row, launch, &failed, exit, stop, facts))?;
        Ok(after)
    }
}
