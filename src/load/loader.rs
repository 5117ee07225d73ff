//! Reads rows, takes the lease of each server and runs its units.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use tokio::sync::mpsc::Receiver;

use super::builder::RequestBuilder;
use super::checker::{AnswerChecker, CheckTarget};
use super::copies::{LoadJobs, enough_jobs};
use super::dataset_cache::DatasetCache;
use super::driver::RunDriver;
use super::events::EndedRun;
use super::import_client::run_import_units;
use super::leased_server::LeasedServer;
use super::news::{NEWS, SharedNews};
use super::options::LoadOptions;
use super::recorder::RunSpec;
use super::search::{SearchContext, search};
use super::stop::StopReason;
use super::workers::WorkerThreads;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::metrics::search::{LengthNeed, SearchRange, run_s};
use crate::metrics::sla;
use crate::rows::jsonl::{RowPlace, RowWriter, Rows};
use crate::rows::kinds::{CachePolicy, Candidate, Load, LoadMode, Run, Scenario, Server, Status, Unit};
use crate::rows::row::Row;
use crate::rows::words::{Arrivals, FailureClass};
use crate::system::claims::ClaimEnder;
use crate::system::http::HttpClient;
use crate::system::lease::ClientLease;
use crate::system::process::feed;
use crate::system::stop_file;

/// The server's prefix cache before a run.
enum CacheState {
    /// As the plan wants it.
    Ready,
    /// It could not be emptied; a row says why.
    NotReset,
    /// A signal, a lost lease or a reader that left ended the wait.
    Stopped,
}

/// Number of open files besides the streams of requests.
const OTHER_FILES: u64 = 64;

/// Loads every server of `rows`; the signal to die by, if one came.
///
/// # Errors
/// When rows cannot be read or written.
pub fn load(rows: Rows, out: RowWriter<File>, options: &LoadOptions, notice: &Notice) -> Result<Option<Signal>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let local = tokio::task::LocalSet::new();
    let loaded = local.block_on(&runtime, async {
        if options.jobs > 1 && !options.is_copy {
            return LoadJobs::new(options.jobs, out, notice)?.all(feed(rows)).await;
        }
        let mut loader = Loader {
            driver: RunDriver::new(out, options, notice)?,
            datasets: DatasetCache::new(options.read_dataset),
            incumbents: BTreeMap::new(),
            checker: AnswerChecker::default(),
            lost_lease: None,
            claims: ClaimEnder::default(),
            news: SharedNews::default(),
        };
        loader.checker.extend(&options.check);
        loader.all(feed(rows)).await
    });
    runtime.shutdown_background();
    loaded
}

struct Loader<'a> {
    driver: RunDriver<'a>,
    datasets: DatasetCache,
    /// The highest rate at which any candidate met the SLA, by scenario and load.
    incumbents: BTreeMap<String, f64>,
    checker: AnswerChecker,
    /// The server of the last row if it stopped before its lease was taken, and what that means unless its end says why.
    lost_lease: Option<(String, Error)>,
    /// The claim of the candidate whose rows are being written.
    claims: ClaimEnder,
    /// What other copies of bench-load know.
    news: SharedNews,
}

impl Loader<'_> {
    async fn all(&mut self, mut rows: Receiver<Result<(Row, RowPlace)>>) -> Result<Option<Signal>> {
        // A server whose end has not passed yet.
        let mut is_open = false;
        loop {
            let driver = &self.driver;
            let next = tokio::select! {
                biased;
                signal = driver.next_signal() => match driver.record_signal(signal) {
                    // After the first signal, rows are only passed on until bench-serve has written its server_end.
                    None if is_open => continue,
                    _ => return Ok(Some(signal)),
                },
                () = driver.reader_left() => return Ok(None),
                next = rows.recv() => next,
            };
            let Some(next) = next else {
                if let Some((_, lost)) = self.lost_lease.take() {
                    self.driver.notice.error(&lost);
                }
                return Ok(self.driver.signal());
            };
            let (row, place) = next?;
            if self.driver.options.is_copy && row.record() == Some(NEWS) {
                self.news.take(&row, &mut self.incumbents, &mut self.checker.references)?;
                continue;
            }
            let kind = row.record().map(String::from);
            let is_server = kind.as_deref() == Some("server");
            // If bench-serve did not get the signal, our exit tells it not to hold this server for us.
            if let Some(signal) = driver.signal().filter(|_| is_server) {
                return Ok(Some(signal));
            }
            if let Some((id, lost)) = self.lost_lease.take() {
                let ends = kind.as_deref() == Some("server_end") && row.str("server_id") == Some(&id);
                match row.str("status").filter(|_| ends) {
                    Some(status) if status != Status::Ok.as_str() => self.driver.notice.warn(lost.to_string()),
                    Some(_) | None => self.driver.notice.error(&lost),
                }
            }
            is_open = is_server || (is_open && kind.as_deref() != Some("server_end"));
            if is_server {
                if !self.driver.options.is_copy {
                    enough_jobs(&row, 1)?;
                }
                self.claims.whole = false;
                self.claims.written(&row, self.driver.out.sink())?;
            }
            let done = if is_server { self.server(&row).await } else { self.driver.out.write(&row) };
            if done.is_ok()
                && !is_server
                && let Err(e) = self.claims.written(&row, self.driver.out.sink())
            {
                self.driver.notice.error(&e);
            }
            if self.driver.options.is_copy
                && let Some(news) = self.news.news(&self.incumbents, &self.checker.references)
            {
                self.driver.out.write(&news)?;
            }
            self.lost_lease = self.lost_lease.take().map(|(id, lost)| (id, lost.at(place.clone())));
            match done {
                // Nothing more could be saved.
                Err(e) if e.is_reader_left() || e.is_unwritable() => return Err(e),
                Err(e) => {
                    // Another attempt would end in the same way.
                    self.claims.whole = true;
                    self.driver.notice.error(&e.at(place));
                }
                Ok(()) => {}
            }
            if let Some(signal) = self.driver.signal().filter(|_| kind.as_deref() == Some("server_end")) {
                return Ok(Some(signal));
            }
        }
    }

    /// Takes the lease, passes the row on, runs the units and returns the lease.
    async fn server(&mut self, row: &Row) -> Result<()> {
        let candidate: Candidate = row.view()?;
        let server: Server = row.view()?;
        // Only the first of clients on several hosts is where the lease is.
        let is_guest = self.driver.options.is_guest();
        let lease = match server.endpoint.lease.as_ref().filter(|_| !is_guest) {
            // Other holders of the lease may still be starting.
            Some(path) => match self.driver.unless_stopped(None, ClientLease::take(Path::new(path))).await {
                Ok(Ok(lease)) => Some(lease),
                // Its server_end follows if it died; without its own row nobody could tell what that is about.
                Ok(Err(e)) => {
                    self.lost_lease = Some((server.server_id.clone(), e));
                    return self.driver.out.write(row);
                }
                Err(StopReason::ReaderLeft) => return Err(Error::reader_left()),
                Err(_) => return self.driver.out.write(row),
            },
            None => None,
        };
        self.driver.out.write(row)?;
        let checks = AnswerChecker::has_load(&candidate);
        if candidate.units.is_empty() && !checks {
            self.claims.whole = true;
            return Ok(());
        }
        self.driver.events.enter(&candidate);
        let frameworks = &self.driver.options.frameworks;
        let name = &candidate.server.definition;
        let definition = frameworks.get(name);
        let leased = LeasedServer { candidate: &candidate, server: &server, definition, lease: lease.as_ref() };
        if let Some(name) = &self.driver.options.client {
            let of = frameworks.get(name).and_then(|framework| Some((framework, framework.client.as_ref()?)));
            let (framework, client) =
                of.ok_or_else(|| Error::new(format!("no framework definition {name:?} with a benchmark client")))?;
            run_import_units(&mut self.driver, framework, client, leased).await?;
            self.claims.whole = self.driver.signal().is_none();
            return Ok(());
        }
        // A server that was already running needs no definition; bench-serve has one for every server that it starts.
        if definition.is_none() && lease.is_some() {
            let why = format!("unknown framework definition {name:?}: pass --frameworks as for bench-serve");
            return Err(Error::new(why));
        }
        let done = self.units(leased).await;
        self.driver.leave(&server.server_id).await.and(done)
    }

    /// Runs the units of a server.
    async fn units(&mut self, leased: LeasedServer<'_>) -> Result<()> {
        let LeasedServer { candidate, server, definition, lease } = leased;
        let bench = &candidate.benchmark;
        let (shard, cpus) = (self.driver.options.shard, self.driver.options.cpus.clone());
        let options = leased.client_options(self.driver.options)?;
        let client = HttpClient::new(&server.endpoint.base_url, &options)?;
        let workers = WorkerThreads::start(self.driver.options.threads, client.base(), &options).map(Arc::new)?;
        let limit = self.driver.options.limits.ttft;
        let asking = client.clone();
        self.checker.begin(&leased, &self.driver.options.check)?;
        let finding = RequestBuilder::find(client, leased.request_spec(), limit, self.driver.notice);
        // If the server refuses all requests, its units fail; a signal, a lost lease or a reader that left ends the wait.
        let builder = match self.driver.unless_stopped(lease, finding).await {
            Ok(Ok(builder)) => Ok(builder.with_metrics(definition.and_then(|d| d.metrics.clone()))),
            Ok(Err(e)) => Err((FailureClass::NoAnswer, e.to_string())),
            Err(StopReason::ReaderLeft) => return Err(Error::reader_left()),
            Err(why) => {
                let (_, class, reason) = why.end();
                Err((class, reason))
            }
        };
        // Rows of each scenario's dataset that this server has already received.
        let mut sent: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        // The length of each scenario's answers on this server, s: the shortest of its runs, since answers take ever longer while a
        // server falls behind.
        let mut answers: BTreeMap<&str, Option<f64>> = BTreeMap::new();
        let incumbents = self.incumbents.clone();
        for unit in &candidate.units {
            if stop_file::is_asked() {
                break;
            }
            let (scenario, load) = leased.scenario_and_load(unit)?;
            let limits = sla::Limits::read(&sla::of_scenario(&candidate.sla, &scenario.name)).with_floor();
            let run = leased.run_row(builder.as_ref().ok(), unit, scenario, load, shard, cpus.as_ref());
            let known = answers.get(scenario.name.as_str()).copied().flatten();
            if let Some((class, why)) = self.skip_reason(&leased, scenario, load, &limits, known) {
                self.driver.not_run(&run, Status::Skipped, class, &why)?;
                self.driver.events.unit_over();
                continue;
            }
            let data = self.datasets.rows(scenario);
            let (builder, data) = match (&builder, data) {
                (Ok(builder), Ok(data)) => (builder, data),
                (Err((class, why)), _) => {
                    self.driver.not_run(&run, Status::Failed, class.clone(), why)?;
                    self.driver.events.unit_over();
                    continue;
                }
                (_, Err(e)) => {
                    let why = e.to_string();
                    self.driver.not_run(&run, Status::Failed, FailureClass::NoDataset, &why)?;
                    self.driver.events.unit_over();
                    continue;
                }
            };
            let sent = sent.entry(&scenario.name).or_default();
            let spec = RunSpec {
                builder,
                workers: &workers,
                scenario,
                entries: &data.1,
                bench,
                load_index: unit.load,
                sla: &limits,
            };
            let answer = answers.entry(&scenario.name).or_default();
            let ended = match SearchRange::of(load) {
                Some(range) => self.search_unit(&leased, (&run, unit), spec, range, (sent, answer)).await?,
                None => self.run_unit(&leased, &run, spec, load, (sent, answer)).await?,
            };
            if ended {
                return Ok(());
            }
            self.driver.events.unit_over();
        }
        let target = CheckTarget { leased, client: asking, builder: builder.as_ref().ok() };
        if self.checker.check(&mut self.driver, &mut self.datasets, target).await? {
            // Others are not measured against one that never wins.
            self.incumbents = incumbents;
        }
        self.claims.whole = self.driver.signal().is_none() && !stop_file::is_asked();
        Ok(())
    }

    /// Searches for the highest load of a unit; true if no further unit can run.
    async fn search_unit(
        &mut self,
        leased: &LeasedServer<'_>,
        (run, unit): (&Run, &Unit),
        spec: RunSpec<'_>,
        range: SearchRange,
        (sent, answer): (&mut BTreeSet<usize>, &mut Option<f64>),
    ) -> Result<bool> {
        match self.reset_cache(leased, run, spec.builder, sent).await? {
            CacheState::Ready => {}
            CacheState::NotReset => return Ok(false),
            CacheState::Stopped => return Ok(true),
        }
        let until = leased.time_left().map(|left| Instant::now() + left);
        let command = |load: &Load, n, seed| leased.command(spec.scenario, load, n, seed);
        let candidate = leased.candidate;
        let framework = candidate.search.stage.map(|_| candidate.framework.as_str());
        let context =
            SearchContext { run, spec, range, unit, framework, command: &command, until, lease: leased.lease };
        let mut own = *answer;
        let ended = search(&mut self.driver, &mut self.incumbents, context, sent, &mut own).await?;
        *answer = shorter(*answer, own);
        if let Some(best) = ended.max_pass {
            self.checker.searched(leased, spec.scenario, &range, best, own);
        }
        Ok(ended.stopped.is_some())
    }

    /// Measures a unit at its load, again if the client fell behind, or once and longer if the run was too short to tell whether the
    /// server keeps up; true if no further unit can run.
    async fn run_unit(
        &mut self,
        leased: &LeasedServer<'_>,
        run: &Run,
        spec: RunSpec<'_>,
        load: &Load,
        (sent, answer): (&mut BTreeSet<usize>, &mut Option<f64>),
    ) -> Result<bool> {
        let (bench, scenario) = (spec.bench, spec.scenario);
        let attempts = if run.shard.is_some() { 1 } else { self.driver.options.attempts };
        let mut longer = None;
        for attempt in 0..attempts {
            let mut run = run.clone();
            if let Some(length) = &mut run.length {
                length.answer_s = longer.or(*answer);
            }
            if attempt > 0 {
                run.run_id = format!("{}/attempt-{}", run.run_id, attempt + 1);
                run.attempt = attempt;
            }
            match self.reset_cache(leased, &run, spec.builder, sent).await? {
                CacheState::Ready => {}
                CacheState::NotReset => return Ok(false),
                CacheState::Stopped => return Ok(true),
            }
            let begun = Instant::now();
            let planned = run.clone();
            let outcome = self.driver.trial(run, spec, sent, false, leased.lease).await?;
            if outcome.stopped.is_some() {
                return Ok(true);
            }
            self.driver.longest = self.driver.longest.max(begun.elapsed());
            *answer = shorter(*answer, outcome.answer_s);
            self.checker.ran(leased, scenario, load, spec.sla, &outcome);
            let is_short = longer.is_none() && outcome.is_too_short(&planned, spec.sla);
            let has_prompts =
                bench.cache == CachePolicy::Reset || scenario.has_prompts_for(sent.len(), bench.num_prompts);
            let is_last = attempt + 1 == attempts;
            if is_last
                || !(outcome.saturated || is_short)
                || !has_prompts
                || self.skip_reason(leased, scenario, load, spec.sla, *answer).is_some()
            {
                let (sample, gaps) = (&outcome.sample, outcome.gaps.as_ref());
                let ended = EndedRun { sample, gaps, saturated: outcome.saturated };
                self.driver.events.run(self.driver.notice, &planned, ended, spec.sla);
                break;
            }
            longer = longer.or(outcome.answer_s.filter(|_| is_short));
            let why = if outcome.saturated {
                "the load generator fell behind; measuring this run again"
            } else {
                "too short to tell whether the server keeps up; measuring this run again, longer"
            };
            self.driver.notice.warn(format!("{}: {why}", scenario.name));
        }
        Ok(false)
    }

    /// Empties the server's prefix cache, if that is asked before each run.
    async fn reset_cache(
        &mut self,
        leased: &LeasedServer<'_>,
        run: &Run,
        builder: &RequestBuilder,
        sent: &mut BTreeSet<usize>,
    ) -> Result<CacheState> {
        if leased.candidate.benchmark.cache != CachePolicy::Reset {
            return Ok(CacheState::Ready);
        }
        let reset = builder.reset_cache(leased.definition.and_then(|d| d.reset_path.as_deref()));
        match self.driver.unless_stopped(leased.lease, reset).await {
            Ok(Ok(())) => {
                sent.clear();
                Ok(CacheState::Ready)
            }
            Ok(Err(why)) => {
                self.driver.not_run(run, Status::Failed, FailureClass::CacheNotReset, &why)?;
                Ok(CacheState::NotReset)
            }
            Err(_) => Ok(CacheState::Stopped),
        }
    }

    /// Why a unit is skipped.
    fn skip_reason(
        &self,
        leased: &LeasedServer<'_>,
        scenario: &Scenario,
        load: &Load,
        limits: &sla::Limits,
        answer_s: Option<f64>,
    ) -> Option<(FailureClass, String)> {
        let unsupported = |why: &str| Some((FailureClass::Unsupported, why.to_string()));
        if load.mode == LoadMode::Closed && load.users.is_none() && load.concurrency.is_none_or(|n| n == 0) {
            return unsupported("a closed loop requires concurrency, at least 1");
        }
        // A client without a request to send would wait for ever.
        if let (LoadMode::Closed, Some(n), Some(shard)) = (load.mode, load.concurrency, self.driver.options.shard)
            && n < shard.of
        {
            return unsupported(&format!("concurrency {n} cannot be shared by {} clients", shard.of));
        }
        let paced = scenario.dataset.as_ref().is_some_and(|dataset| dataset.rate.is_some());
        if load.mode == LoadMode::Open && load.arrivals == Some(Arrivals::Trace) && !paced {
            return unsupported("arrivals: trace requires a dataset in which every row has a timestamp");
        }
        let searched = load.is_search() || (load.mode == LoadMode::Open && load.rate.is_none());
        if searched && self.driver.options.shard.is_some() {
            return unsupported("clients that share a load cannot search for it: set request_rates or max_concurrency");
        }
        if searched && (limits.is_empty() || !load.is_search()) {
            return unsupported(
                "a search for the highest load requires an sla to meet: set sla, or request_rates or max_concurrency",
            );
        }
        if let Err(e) = raise_open_files(u64::from(most_streams(load))) {
            return unsupported(&e.to_string());
        }
        let left = leased.time_left()?;
        let deadline = leased.server.deadline.as_deref().unwrap_or_default();
        let why = || format!("it would not have finished before the deadline {deadline}");
        let bench = &leased.candidate.benchmark;
        let length = LengthNeed::once(load.mode).length(bench.num_prompts, bench.duration_s, load, answer_s);
        let warm_s = |answer: f64| f64::from(bench.warmup_requests) * answer + bench.warmup_s.unwrap_or(0.0);
        let own = run_s(&length, load).zip(answer_s).map(|(run, answer)| run + warm_s(answer));
        // A search looks at its runs itself.
        let own = own.filter(|_| !load.is_search()).map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX));
        (own.unwrap_or(self.driver.longest) > left).then(|| (FailureClass::Budget, why()))
    }
}

/// The shorter of two answers, as far as they are known.
fn shorter(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).min_by(f64::total_cmp)
}

/// Number of streams that a load has at once, as far as it says.
fn most_streams(load: &Load) -> u32 {
    load.concurrency.or(load.users.map(|users| users.upper)).or(load.cap).unwrap_or(1)
}

/// Raises the limit of open files to the maximum that the system allows, for many streams at once.
///
/// # Errors
/// When the limit is too low for `streams`.
fn raise_open_files(streams: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    let needed = streams + OTHER_FILES;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")?;
    }
    if hard < needed {
        let why =
            format!("{streams} streams need {needed} open files, but the limit is {hard}; raise it with ulimit -n");
        return Err(Error::new(why));
    }
    Ok(())
}
