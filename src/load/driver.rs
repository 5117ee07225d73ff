//! Runs work until a signal arrives, the lease is lost or the reader of our rows leaves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::events::LoadEvents;
use super::options::LoadOptions;
use super::partners::Partners;
use super::recorder::{RunRecorder, RunSpec, not_run};
use super::run::{LoadRun, RunOutcome};
use super::stop::StopReason;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::metrics::sample::Sample;
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::{Run, Status};
use crate::rows::words::FailureClass;
use crate::system::lease::ClientLease;
use crate::system::meeting::MeetingFailure;
use crate::system::process::reader_left;
use crate::system::process::signals::Signals;

/// Runs work that has to end when a signal arrives, the lease is lost or the reader leaves.
pub struct RunDriver<'a> {
    /// Where rows go.
    pub out: RowWriter<File>,
    /// What bench-load was asked to do.
    pub options: &'a LoadOptions,
    /// Where messages go.
    pub notice: &'a Notice,
    /// Tells what happened.
    pub events: LoadEvents,
    /// Duration of the longest run so far.
    pub longest: Duration,
    watched: File,
    signals: RefCell<Signals>,
    signal: Cell<Option<Signal>>,
}

impl<'a> RunDriver<'a> {
    /// Listens for signals from now on.
    ///
    /// # Errors
    /// When standard output cannot be watched, or signals cannot be received.
    pub fn new(out: RowWriter<File>, options: &'a LoadOptions, notice: &'a Notice) -> Result<Self> {
        let watched = out.sink().try_clone().context("cannot watch standard output")?;
        let signals = RefCell::new(Signals::listen()?);
        let (events, longest, signal) = (LoadEvents::default(), Duration::ZERO, Cell::new(None));
        Ok(Self { out, options, notice, events, longest, watched, signals, signal })
    }

    /// The latest signal.
    pub fn signal(&self) -> Option<Signal> {
        self.signal.get()
    }

    /// Records a signal; the one before it.
    pub fn record_signal(&self, signal: Signal) -> Option<Signal> {
        self.signal.replace(Some(signal))
    }

    /// Returns at the next signal.
    pub async fn next_signal(&self) -> Signal {
        next_signal(&self.signals).await
    }

    /// Returns when the reader of our rows has left.
    pub async fn reader_left(&self) {
        reader_left(&self.watched).await;
    }

    /// The result of `work`, unless a signal comes, the lease is lost or our reader leaves first.
    pub async fn unless_stopped<T>(
        &self,
        lease: Option<&ClientLease>,
        work: impl Future<Output = T>,
    ) -> Result<T, StopReason> {
        tokio::select! {
            done = work => Ok(done),
            why = stopped(&self.signals, &self.watched, &self.signal, (lease, Partners::None), self.notice) => Err(why),
        }
    }

    /// Waits until no client on another host needs the server.
    ///
    /// # Errors
    /// When the reader of our rows has left.
    pub async fn leave(&self, server_id: &str) -> Result<()> {
        let Some(meeting) = &self.options.meeting else { return Ok(()) };
        // Without this client the others cannot go on either.
        if self.signal().is_some() {
            meeting.leave();
            return Ok(());
        }
        match self.unless_stopped(None, meeting.done(server_id)).await {
            Ok(Ok(()) | Err(MeetingFailure::ServerOver)) => {}
            Ok(Err(MeetingFailure::Missing(why))) => meeting.report(self.notice, why),
            Err(StopReason::ReaderLeft) => return Err(Error::reader_left()),
            Err(_) => meeting.leave(),
        }
        Ok(())
    }

    /// Writes the rows of a run that sends no request, and tells why.
    ///
    /// # Errors
    /// When rows cannot be written.
    pub fn not_run(&mut self, run: &Run, status: Status, class: FailureClass, why: &str) -> Result<()> {
        self.events.not_run(self.notice, run, status, why);
        not_run(&mut self.out, run, status, class, why)
    }

    /// Performs one run; `judged` if it is a probe of a rate search.
    ///
    /// # Errors
    /// When rows cannot be written.
    pub async fn trial(
        &mut self,
        run: Run,
        spec: RunSpec<'_>,
        sent: &mut BTreeSet<usize>,
        judged: bool,
        lease: Option<&ClientLease>,
    ) -> Result<RunOutcome> {
        let partners = Partners::of(self.options, lease);
        let stopped = stopped(&self.signals, &self.watched, &self.signal, (lease, partners), self.notice);
        let recorder = RunRecorder {
            run,
            spec,
            limits: self.options.limits,
            full: self.options.full,
            judged,
            sample: Sample::default(),
            is_sampling: true,
            out: &mut self.out,
            events: &self.events,
            notice: self.notice,
        };
        LoadRun { recorder, sent }.go(stopped, partners).await
    }
}

/// Returns when work has to end: at a signal, which is recorded, when the lease is lost or when the reader has left.
async fn stopped(
    signals: &RefCell<Signals>,
    watched: &File,
    received: &Cell<Option<Signal>>,
    (lease, partners): (Option<&ClientLease>, Partners<'_>),
    notice: &Notice,
) -> StopReason {
    let lost = async {
        match lease {
            Some(lease) => lease.lost().await,
            None => std::future::pending().await,
        }
    };
    let broken = async {
        match partners {
            Partners::Meeting(meeting) => meeting.report(notice, meeting.broken().await),
            Partners::None | Partners::Lease(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        // A cause comes before its consequences.
        biased;
        signal = next_signal(signals) => {
            received.set(Some(signal));
            StopReason::Interrupted
        }
        () = reader_left(watched) => StopReason::ReaderLeft,
        () = lost => StopReason::ServerLost,
        () = broken => StopReason::ClientMissing,
    }
}

/// Returns at the next signal.
#[allow(
    clippy::await_holding_refcell_ref,
    reason = "one task, and only one of its branches waits for signals at a time"
)]
async fn next_signal(signals: &RefCell<Signals>) -> Signal {
    signals.borrow_mut().next().await
}
