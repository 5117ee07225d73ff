//! Takes the candidates one by one, from row to `server_end`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::mpsc::Receiver;

use super::caches::CacheFolder;
use super::earlier::EarlierStarts;
use super::events::{CandidateEvents, ServeProgress};
use super::failure::{CandidateFailure, NO_TIME, NextStep};
use super::give_up::FailureTally;
use super::gpu_locks::GpuLocks;
use super::gpus::GpuProbe;
use super::launch::Launch;
use super::options::ServeOptions;
use super::private_file::artifacts_folder;
use super::slots::SlotBoard;
use super::start::{FailedStart, StartContext};
use super::{preflight, rows, slot_use, start};
use crate::base::cpus::CpuList;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::engines::framework::Framework;
use crate::rows::jsonl::{RowPlace, RowWriter, Rows};
use crate::rows::kinds::{Candidate, Members, ServerState};
use crate::rows::row::Row;
use crate::rows::words::{FailureClass, ReachedBy};
use crate::system::process::signals::Signals;
use crate::system::process::{affinity, feed, guard, reader_left};
use crate::system::run_folder;
use crate::system::stop_file;

/// Maximum grace after a signal: the user waits for the prompt.
pub(super) const HURRIED_GRACE: Duration = Duration::from_secs(10);

/// How bench-serve ended.
#[derive(Debug, Clone, Copy)]
pub struct ServeSummary {
    /// The signal by which to die, if one came.
    pub signal: Option<Signal>,
    /// With `smoke`: every framework that was checked serves.
    pub all_serve: bool,
}

/// Serves the candidates of `rows`, one after the other; `earlier` are the starts of those before it.
///
/// # Errors
/// When rows cannot be read or written, or no client took a lease. A failed candidate is not an error.
pub fn serve(
    rows: Rows,
    earlier: EarlierStarts,
    out: RowWriter<File>,
    options: &ServeOptions,
    notice: &Notice,
) -> Result<ServeSummary> {
    guard::adopt_orphans()?;
    let left = run_folder::remove_dead();
    if !left.is_empty() {
        notice.warn(format!("killed what a bench-serve that was killed had left running: {}", left.join(", ")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let local = tokio::task::LocalSet::new();
    let served = local.block_on(&runtime, async {
        if let Some(plan) = &options.slots {
            let mut board = SlotBoard::new(plan, earlier, out, options, notice)?;
            let signal = board.all(feed(rows)).await?;
            return Ok(ServeSummary { signal, all_serve: false });
        }
        let mut supervisor = Supervisor {
            out,
            options,
            notice,
            signals: Signals::listen()?,
            begun: Instant::now(),
            models_started: BTreeSet::new(),
            helps: BTreeMap::new(),
            limits_raised: BTreeMap::new(),
            smoke_tested: BTreeSet::new(),
            smoke_failed: false,
            probe: GpuProbe::find(&options.gpu_probe),
            tally: earlier.tally(),
            locks: GpuLocks::default(),
            usual_cpus: None,
            so_far: ServeProgress::default(),
        };
        let signal = supervisor.all(feed(rows)).await?;
        let none_tested = supervisor.smoke_tested.is_empty();
        if options.smoke && none_tested && signal.is_none() {
            notice.warn("no candidate rows in the input: nothing was checked");
        }
        Ok(ServeSummary { signal, all_serve: !supervisor.smoke_failed && !none_tested })
    });
    runtime.shutdown_background();
    if options.slots.is_some() {
        // What loses both its bench-serve and its guard becomes a child of this process.
        let _ = guard::kill_orphans();
        let _ = run_folder::remove_dead();
    }
    served
}

pub(super) struct Supervisor<'a> {
    pub(super) out: RowWriter<File>,
    pub(super) options: &'a ServeOptions,
    pub(super) notice: &'a Notice,
    pub(super) signals: Signals,
    pub(super) begun: Instant,
    /// Failed candidates of each framework.
    pub(super) tally: FailureTally,
    /// The GPUs that no other bench-serve of this user may use.
    locks: GpuLocks,
    /// The command that lists the host's GPUs; `None` on a host without GPUs.
    pub(super) probe: Option<GpuProbe>,
    /// The captured help by definition, launcher and image; `None` where it could not be captured.
    helps: BTreeMap<String, Option<PathBuf>>,
    /// Launchers' commands that were asked whether every limit can be raised, and the answers.
    pub(super) limits_raised: BTreeMap<Vec<String>, bool>,
    /// Frameworks that were checked with `--smoke`.
    smoke_tested: BTreeSet<String>,
    pub(super) smoke_failed: bool,
    /// The CPUs of this process, while it runs on those of a slot.
    usual_cpus: Option<CpuList>,
    /// Models that have been started before.
    pub(super) models_started: BTreeSet<String>,
    /// How far all candidates are.
    pub(super) so_far: ServeProgress,
}

impl Supervisor<'_> {
    async fn all(&mut self, mut rows: Receiver<Result<(Row, RowPlace)>>) -> Result<Option<Signal>> {
        loop {
            let next = tokio::select! {
                next = rows.recv() => next,
                signal = self.signals.next() => return Ok(Some(signal)),
                () = reader_left(self.out.sink()) => return Ok(None),
            };
            let Some(row) = next.filter(|_| !stop_file::is_asked()) else { return Ok(None) };
            let (row, place) = row?;
            let runnable = row.record() == Some("candidate") && row.get("status").is_none();
            if !runnable {
                self.out.write(&row)?;
                continue;
            }
            let candidate: Candidate = match row.view() {
                Ok(candidate) => {
                    let candidate = slot_use::in_slot(candidate, &self.options.frameworks);
                    preflight::attached(candidate, self.options.attach.as_deref())
                }
                Err(e) => {
                    self.notice.error(&e.at(place));
                    continue;
                }
            };
            if candidate.claim.is_some() && (!self.options.chain.is_empty() || self.options.smoke) {
                return Err(Error::new(
                    "a claimed candidate (bench-expand --claim) needs bench-load behind bench-serve, which writes how it ended",
                ));
            }
            // The baseline comes first; one start shows whether a framework serves at all.
            if self.options.smoke && !self.smoke_tested.insert(candidate.framework.clone()) {
                continue;
            }
            self.so_far.pace.enter(candidate.position);
            if self.options.budget.is_some_and(|budget| self.begun.elapsed() > budget) {
                self.events(&candidate).skipped(NO_TIME);
                self.out.write(&rows::skipped(row, FailureClass::Budget, NO_TIME))?;
                continue;
            }
            if self.options.attach.is_some() && !self.models_started.is_empty() {
                let why = "--attach measures the server as one candidate, the first of the input; it does not run with this candidate's flags";
                self.out.write(&rows::skipped(row, FailureClass::Unsupported, why))?;
                continue;
            }
            if let Some((class, why)) = self.foreseen(&candidate) {
                self.events(&candidate).skipped(&why);
                self.out.write(&rows::skipped(row, class, &why))?;
                continue;
            }
            match self.one(row, &candidate).await? {
                NextStep::Continue => {}
                NextStep::Signal(signal) => return Ok(Some(signal)),
                NextStep::ReaderLeft => return Ok(None),
                NextStep::Broken(error) => return Err(error),
            }
        }
    }

    /// Tells the events of a candidate whose turn is now.
    fn events<'c>(&self, candidate: &'c Candidate) -> CandidateEvents<'c>
    where
        Self: 'c,
    {
        CandidateEvents::of(candidate, self.so_far, self.notice)
    }

    /// Why a candidate is not started after the failures of others.
    fn foreseen(&mut self, candidate: &Candidate) -> Option<(FailureClass, String)> {
        let limit = self.options.give_up?;
        let framework = self.options.frameworks.get(&candidate.server.definition)?;
        self.tally.skips(candidate, framework, limit)
    }

    /// One candidate, from its row to its `server_end`.
    async fn one(&mut self, row: Row, candidate: &Candidate) -> Result<NextStep> {
        let events = CandidateEvents::of(candidate, self.so_far, self.notice);
        let Some(framework) = self.options.frameworks.get(&candidate.server.definition) else {
            let why = format!(
                "unknown framework definition {:?}; add its folder with --frameworks DIR",
                candidate.server.definition
            );
            return self
                .fail(&events, candidate, row, None, CandidateFailure::new(FailureClass::Unsupported, why))
                .await;
        };
        if let Err(why) = preflight::launchable(candidate, &self.options.frameworks) {
            return self
                .fail(&events, candidate, row, None, CandidateFailure::new(FailureClass::Unsupported, why))
                .await;
        }
        if let Err(error) = artifacts_folder(&self.options.artifacts) {
            return Ok(NextStep::Broken(error));
        }
        let refused_limits = self.refused_limits(candidate).await;
        let caches = match self.caches(candidate, framework).await {
            Ok(caches) => caches,
            Err(e) => return self.fail(&events, candidate, row, None, CandidateFailure::from(e)).await,
        };
        let cpus = self.cpus(candidate);
        let launch = match cpus.and_then(|cpus| Launch::prepare(candidate, self.options, &refused_limits, caches, cpus))
        {
            Ok(launch) => launch,
            Err(e) => {
                return self.fail(&events, candidate, row, None, CandidateFailure::from(e)).await;
            }
        };
        if let Err(failure) = launch.check_port() {
            return self.fail(&events, candidate, row, Some(&launch), failure).await;
        }
        // bench-serve neither checks nor samples the GPUs of another host.
        let gpus = match &self.probe {
            Some(probe) if launch.reached_by == ReachedBy::SameHost => preflight::gpus(probe, candidate).await,
            _ => Ok(Vec::new()),
        };
        let gpus = match gpus {
            Ok(gpus) => gpus,
            Err(failure) => return self.fail(&events, candidate, row, Some(&launch), failure).await,
        };
        if let Err(error) = self.locks.take(&gpus) {
            return Ok(NextStep::Broken(error));
        }
        if let Err(failure) = preflight::free(&gpus) {
            return self.fail(&events, candidate, row, Some(&launch), failure).await;
        }
        if let Err(e) = self.enter_slot(candidate) {
            return self.fail(&events, candidate, row, Some(&launch), CandidateFailure::from(e)).await;
        }
        events.starting();
        let interrupted = async {
            tokio::select! {
                signal = self.signals.next() => NextStep::Signal(signal),
                () = reader_left(self.out.sink()) => NextStep::ReaderLeft,
            }
        };
        let server = &candidate.server;
        let kind = format!("{} {:?} {:?}", server.definition, server.launcher, server.image);
        let (capture_help, notice) = (!self.helps.contains_key(&kind), self.notice);
        let context = StartContext { candidate, framework, gpus: &gpus, capture_help, events: &events, notice };
        let started = start::until_ready(&launch, context, self.options, interrupted).await;
        self.leave_slot()?;
        match started {
            Ok(mut ready) => {
                // The help is captured once, even when there is none.
                ready.help = self.helps.entry(kind).or_insert(ready.help).clone();
                self.lease(&events, row, context, &launch, ready).await
            }
            Err(failed) => self.fail(&events, candidate, row, Some(&launch), failed).await,
        }
    }

    /// The CPUs that a candidate's server gets, if they are not all: those of its slot, otherwise those that the client leaves.
    fn cpus(&self, candidate: &Candidate) -> Result<Option<CpuList>> {
        match candidate.slot.as_ref().and_then(|slot| slot.cpus.as_ref()) {
            Some(own) => own.parse().map(Some).map_err(Error::new),
            None => Ok(self.options.cpus.clone()),
        }
    }

    /// Moves this thread, which starts servers, to the CPUs of the candidate's slot, if it has some.
    fn enter_slot(&mut self, candidate: &Candidate) -> Result<()> {
        let own = candidate.slot.as_ref().and_then(|slot| slot.cpus.as_ref());
        if let Some(cpus) = self.cpus(candidate)?.filter(|_| own.is_some()) {
            let usual = affinity::current()?;
            affinity::run_on(&cpus)?;
            self.usual_cpus = Some(usual);
        }
        Ok(())
    }

    /// Moves it back: what runs beside the server must not run on its CPUs.
    fn leave_slot(&mut self) -> Result<()> {
        self.usual_cpus.take().map_or(Ok(()), |usual| affinity::run_on(&usual))
    }

    /// Where the server keeps what it compiles.
    async fn caches(&self, candidate: &Candidate, framework: &Framework) -> Result<Option<CacheFolder>> {
        let Some(all) = self.options.caches.as_ref().filter(|_| !framework.caches.is_empty()) else { return Ok(None) };
        let found = match (&candidate.hardware.gpu_model, &self.probe) {
            (None, Some(probe)) => preflight::gpus(probe, candidate).await.unwrap_or_default(),
            _ => Vec::new(),
        };
        let on_cpu = (candidate.hardware.gpu_count == Some(0)).then_some("cpu");
        let gpu = on_cpu.or(candidate.hardware.gpu_model.as_deref()).or(found.first().map(|gpu| gpu.name.as_str()));
        CacheFolder::of(all, candidate, framework, self.options.frameworks.launchers(), gpu)
    }

    /// Stops what was started and writes the candidate's row as its `server_end`.
    async fn fail(
        &mut self,
        events: &CandidateEvents<'_>,
        candidate: &Candidate,
        row: Row,
        launch: Option<&Launch>,
        failed: impl Into<FailedStart>,
    ) -> Result<NextStep> {
        let FailedStart { failure, child, mut next } = failed.into();
        self.tally.failed(candidate, &failure);
        self.tally.learn(candidate, &failure, events.elapsed());
        let (mut stop, mut exit) = (None, None);
        let mut facts = Members::new();
        if let Some(launch) = launch {
            launch.enter(ServerState::Failed, None);
        }
        if let Some(child) = child {
            let log = child.log.clone();
            let grace = if matches!(next, NextStep::Continue) {
                self.options.grace
            } else {
                self.options.grace.min(HURRIED_GRACE)
            };
            let stopped = child.stop(grace).await;
            if !stopped.stop.survivors.is_empty() {
                let why = format!(
                    "still running after a stop: {}; no further server is started",
                    stopped.stop.survivors.join(", ")
                );
                next = NextStep::Broken(Error::new(why));
            }
            (stop, exit) = (Some(stopped.stop), stopped.exit);
            facts = log.facts();
            if let Some(launch) = launch {
                launch.enter(ServerState::Released, None);
            }
        }
        self.smoke_failed = true;
        let end = rows::failed(row, launch, &failure, exit, stop, facts);
        events.failed(&failure.class, end.str("failure_reason").unwrap_or_default(), launch);
        self.so_far.failed += u32::from(!failure.class.is_cut());
        self.out.write(&end)?;
        Ok(next)
    }
}
