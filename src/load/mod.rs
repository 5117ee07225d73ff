//! bench-load: drive one workload against one leased server and record what happened to every request.

pub mod ask;
pub mod dataset;
mod flight;
mod import_client;
mod jobs;
mod measure;
pub mod pace;
mod prepare;
pub mod request;
mod rows;
pub mod run;
pub mod schedule;
mod search;
pub mod target;
pub mod workload;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use tokio::sync::mpsc::Receiver;

use self::ask::RequestBuilder;
use self::dataset::DatasetEntry;
use self::prepare::{asking, what};
use self::request::RequestTimeouts;
use self::run::{INTERRUPTED, LoadRun, RunOutcome, RunSpec, SERVER_LOST, StopReason, not_run};
use self::search::SearchContext;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::base::shell;
use crate::engines::framework::Frameworks;
use crate::metrics::sample::Sample;
use crate::metrics::sla;
use crate::rows::jsonl::{RowPlace, RowWriter, Rows};
use crate::rows::kinds::{
    CachePolicy, Candidate, Dataset, Load, LoadMode, Run, Scenario, Server, ServerAddress, Shard, Status,
};
use crate::rows::row::Row;
use crate::rows::words::{Arrivals, FailureClass, ReachedBy};
use crate::system::http::HttpClient;
use crate::system::lease::ClientLease;
use crate::system::process::signals::Signals;
use crate::system::process::{feed, reader_left};

/// Reads a data set: the SHA-256 of its bytes, and its rows.
pub type DatasetReader = fn(&Dataset) -> Result<(String, Vec<DatasetEntry>)>;

/// What bench-load was asked to do.
#[derive(Debug)]
pub struct LoadOptions {
    /// The framework definitions, for what endpoints take.
    pub frameworks: Frameworks,
    /// Time limits of a request.
    pub limits: RequestTimeouts,
    /// Limit of making a connection.
    pub connect_timeout: Duration,
    /// Keep the times of all chunks in the rows.
    pub full: bool,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// Further headers, before the plan's own.
    pub headers: Vec<(String, String)>,
    /// Another project's client that is run instead of ours, by its framework's name.
    pub client: Option<String>,
    /// Our part of each load, where other clients hold the same leases.
    pub shard: Option<Shard>,
    /// Where data sets come from.
    pub read_dataset: DatasetReader,
}

/// Loads every leased server of `rows`; the signal by which to die, if one came.
///
/// # Errors
/// When rows cannot be read or written.
pub fn load(rows: Rows, out: RowWriter<File>, options: &LoadOptions, notice: &Notice) -> Result<Option<Signal>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let local = tokio::task::LocalSet::new();
    let loaded = local.block_on(&runtime, async {
        let watched = out.sink().try_clone().context("cannot watch standard output")?;
        let mut loading = Loader {
            out,
            watched,
            options,
            notice,
            signals: RefCell::new(Signals::listen()?),
            signal: Cell::new(None),
            longest: Duration::ZERO,
            datasets: BTreeMap::new(),
            incumbents: BTreeMap::new(),
        };
        loading.all(feed(rows)).await
    });
    runtime.shutdown_background();
    loaded
}

struct Loader<'a> {
    out: RowWriter<File>,
    watched: File,
    options: &'a LoadOptions,
    notice: &'a Notice,
    signals: RefCell<Signals>,
    signal: Cell<Option<Signal>>,
    longest: Duration,
    /// The best rate that any candidate kept, by scenario and load.
    incumbents: BTreeMap<String, f64>,
    /// What was read of a data set, by its path.
    datasets: BTreeMap<String, Rc<(String, Vec<DatasetEntry>)>>,
}

impl Loader<'_> {
    async fn all(&mut self, mut rows: Receiver<Result<(Row, RowPlace)>>) -> Result<Option<Signal>> {
        loop {
            let next = tokio::select! {
                biased;
                signal = next_signal(&self.signals) => match self.signal.replace(Some(signal)) {
                    // The first: what comes now is only passed on, until bench-serve has said how it ended.
                    None => continue,
                    Some(_) => return Ok(Some(signal)),
                },
                () = reader_left(&self.watched) => return Ok(None),
                next = rows.recv() => next,
            };
            let Some(next) = next else { return Ok(self.signal.get()) };
            let (row, place) = next?;
            let kind = row.record().map(String::from);
            let stopping = self.signal.get().filter(|_| kind.as_deref() == Some("server"));
            // bench-serve was not sent the signal: it sees that we are gone, and does not hold its next server for nobody.
            if stopping.is_some() {
                return Ok(stopping);
            }
            let leased = kind.as_deref() == Some("server");
            let done = if leased { self.server(&row).await } else { self.out.write(&row) };
            match done {
                Err(e) if e.is_reader_left() => return Err(e),
                Err(e) => self.notice.error(&e.at(place)),
                Ok(()) => {}
            }
            if kind.as_deref() == Some("server_end") && self.signal.get().is_some() {
                return Ok(self.signal.get());
            }
        }
    }

    /// Takes the lease, passes the row on, runs its units, gives the lease back.
    async fn server(&mut self, row: &Row) -> Result<()> {
        let candidate: Candidate = row.view()?;
        let server: Server = row.view()?;
        let held = match &server.endpoint.lease {
            // With several holders the others may still be on their way.
            Some(path) => match self.unless_stopped(None, ClientLease::take(Path::new(path))).await {
                Ok(held) => Some(held?),
                Err(StopReason::ReaderLeft) => return Err(Error::reader_left()),
                Err(_) => return self.out.write(row),
            },
            None => None,
        };
        self.out.write(row)?;
        if candidate.units.is_empty() {
            return Ok(());
        }
        if let Some(name) = &self.options.client {
            let client = self.options.frameworks.get(name).and_then(|framework| framework.client.as_ref());
            let client = client.ok_or_else(|| Error::new(format!("there is no client of {name:?}")))?;
            return self.foreign_units(client, &candidate, &server, held.as_ref()).await;
        }
        let definition = self.options.frameworks.get(&candidate.server.definition);
        // Of a server that somebody else runs nobody has to have a definition; who started this one has it.
        if definition.is_none() && held.is_some() {
            let name = &candidate.server.definition;
            let why =
                format!("there is no framework definition {name:?}: give bench-load the --frameworks of bench-serve");
            return Err(Error::new(why));
        }
        let bench = &candidate.benchmark;
        let client = HttpClient::new(&server.endpoint.base_url, &self.manners(bench, definition)?)?;
        let asking = asking(&candidate, &server, definition);
        let finding = RequestBuilder::find(client, asking, self.options.limits.ttft, self.notice);
        // A server that takes no request of ours fails its units; a signal, a lost lease, a reader that left end the wait.
        let asker = match self.unless_stopped(held.as_ref(), finding).await {
            Ok(Ok(asker)) => Ok(asker.with_metrics(definition.and_then(|d| d.metrics.clone()))),
            Ok(Err(e)) => Err((FailureClass::NoAnswer, e.to_string())),
            Err(StopReason::ReaderLeft) => return Err(Error::reader_left()),
            Err(StopReason::Interrupted) => Err((FailureClass::Interrupted, INTERRUPTED.to_string())),
            Err(StopReason::ServerLost | StopReason::Hopeless) => {
                Err((FailureClass::ServerLost, SERVER_LOST.to_string()))
            }
        };
        // Rows of each scenario's data set that this server was sent already.
        let mut sent: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for unit in &candidate.units {
            let (scenario, load) = what(&candidate, unit)?;
            let sla = sla::Limits::read(&sla::of_scenario(&candidate.sla, &scenario.name)).with_floor();
            let run = self.run_row(&candidate, &server, asker.as_ref().ok(), unit, scenario, load);
            if let Some((class, why)) = self.not_run(&server, scenario, load, &sla) {
                not_run(&mut self.out, &run, Status::Skipped, class, &why)?;
                continue;
            }
            let data = self.dataset(scenario);
            let (asker, data) = match (&asker, data) {
                (Ok(asker), Ok(data)) => (asker, data),
                (Err((class, why)), _) => {
                    not_run(&mut self.out, &run, Status::Failed, class.clone(), why)?;
                    continue;
                }
                (_, Err(e)) => {
                    not_run(&mut self.out, &run, Status::Failed, FailureClass::NoDataset, &e.to_string())?;
                    continue;
                }
            };
            let sent = sent.entry(&scenario.name).or_default();
            if bench.cache == CachePolicy::Reset {
                let resetting = asker.reset_cache(definition.and_then(|d| d.reset_path.as_deref()));
                match self.unless_stopped(held.as_ref(), resetting).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => {
                        not_run(&mut self.out, &run, Status::Failed, FailureClass::CacheNotReset, &why)?;
                        continue;
                    }
                    Err(_) => break,
                }
                sent.clear();
            }
            let task = RunSpec { asker, scenario, entries: &data.1, bench, load_index: unit.load, sla: &sla };
            if let (None, Some(qps)) = (load.rate, load.qps) {
                let until = left(&server).map(|left| Instant::now() + left);
                let port = definition.map(|d| d.default_port);
                let command = |load: &Load, seed| {
                    let mut one = candidate.clone();
                    one.benchmark.seed = seed;
                    shell::join(&target::command(&one, &server.endpoint, port, scenario, load))
                };
                let what = SearchContext { run: &run, task, qps, command: &command, until };
                if self.seek(what, sent, held.as_ref()).await?.is_some() {
                    break;
                }
                continue;
            }
            let begun = Instant::now();
            if self.trial(run, task, sent, false, held.as_ref()).await?.stopped.is_some() {
                break;
            }
            self.longest = self.longest.max(begun.elapsed());
        }
        Ok(())
    }

    async fn trial(
        &mut self,
        run: Run,
        task: RunSpec<'_>,
        sent: &mut BTreeSet<usize>,
        judged: bool,
        held: Option<&ClientLease>,
    ) -> Result<RunOutcome> {
        let stopped = stopped(&self.signals, &self.watched, &self.signal, held);
        let trial = LoadRun {
            run,
            task,
            sent,
            limits: self.options.limits,
            full: self.options.full,
            judged,
            sample: Sample::default(),
            out: &mut self.out,
            notice: self.notice,
        };
        trial.go(stopped, held).await
    }

    /// Why a unit is not run at all.
    fn not_run(
        &self,
        server: &Server,
        scenario: &Scenario,
        load: &Load,
        sla: &sla::Limits,
    ) -> Option<(FailureClass, String)> {
        if load.mode == LoadMode::Closed && load.concurrency.is_none_or(|n| n == 0) {
            return Some((FailureClass::Unsupported, "a closed loop needs its concurrency: at least 1".into()));
        }
        let paced = scenario.dataset.as_ref().is_some_and(|dataset| dataset.rate.is_some());
        if load.mode == LoadMode::Open && load.arrivals == Some(Arrivals::Trace) && !paced {
            let why = "arrivals: trace needs a data set whose rows all have a timestamp";
            return Some((FailureClass::Unsupported, why.into()));
        }
        let searched = load.mode == LoadMode::Open && load.rate.is_none();
        if searched && self.options.shard.is_some() {
            return Some((
                FailureClass::Unsupported,
                "clients that share a load do not search: give request_rates".into(),
            ));
        }
        if searched && (sla.is_empty() || load.qps.is_none()) {
            let why = "a search for the highest rate needs limits to keep: give an sla, or request_rates";
            return Some((FailureClass::Unsupported, why.into()));
        }
        if let Err(e) = raise_files(u64::from(load.concurrency.or(load.cap).unwrap_or(1))) {
            return Some((FailureClass::Unsupported, e.to_string()));
        }
        let left = left(server)?;
        let why =
            || format!("it would not have ended before the deadline {}", server.deadline.as_deref().unwrap_or(""));
        (self.longest > left).then(|| (FailureClass::Budget, why()))
    }

    /// `work`, unless a signal comes, the lease is lost or our reader leaves.
    async fn unless_stopped<T>(
        &self,
        held: Option<&ClientLease>,
        work: impl Future<Output = T>,
    ) -> Result<T, StopReason> {
        tokio::select! {
            done = work => Ok(done),
            why = stopped(&self.signals, &self.watched, &self.signal, held) => Err(why),
        }
    }
}

/// What is left until the server's deadline.
fn left(server: &Server) -> Option<Duration> {
    let deadline: Timestamp = server.deadline.as_ref()?.parse().ok()?;
    Some(Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default())
}

/// Returns when work is to end: a signal, which is kept, a lease that is lost, a reader that left.
async fn stopped(
    signals: &RefCell<Signals>,
    watched: &File,
    came: &Cell<Option<Signal>>,
    held: Option<&ClientLease>,
) -> StopReason {
    let lost = async {
        match held {
            Some(held) => held.lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // The reason before what follows from it.
        biased;
        signal = next_signal(signals) => {
            came.set(Some(signal));
            StopReason::Interrupted
        }
        () = reader_left(watched) => StopReason::ReaderLeft,
        () = lost => StopReason::ServerLost,
    }
}

/// The next signal; only one waits at a time.
#[allow(
    clippy::await_holding_refcell_ref,
    reason = "one task, and only one of its branches waits for signals at a time"
)]
async fn next_signal(signals: &RefCell<Signals>) -> Signal {
    signals.borrow_mut().next().await
}

/// Raises the limit of open files to what the system allows, for many streams at once.
///
/// # Errors
/// When the limit is too low for `streams`.
fn raise_files(streams: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    let needed = streams + 64;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")?;
    }
    if hard < needed {
        return Err(Error::new(format!(
            "{streams} streams need {needed} open files, and the limit is {hard} (ulimit -n)"
        )));
    }
    Ok(())
}

/// Where a load without a pipeline goes: used by [`target`].
fn endpoint(base_url: &str, model_id: &str) -> ServerAddress {
    ServerAddress { base_url: base_url.into(), model_id: model_id.into(), lease: None, reached_by: ReachedBy::Url }
}
