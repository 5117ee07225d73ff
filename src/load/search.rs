//! A search on one server: runs, one after the other, at the loads that [`crate::metrics::search`] asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::driver::RunDriver;
use super::jobs::Jobs;
use super::recorder::RunSpec;
use super::request::{Clock, FollowSettings, Outgoing, RequestTimeouts, blank};
use super::stop::StopReason;
use super::workload::{Purpose, WorkloadItems};
use crate::base::error::Result;
use crate::metrics::sample::Sample;
use crate::metrics::search::{LoadSearch, Pilot, ProbeOutcome, ProbeRun, SearchRange, SearchResult, run_s};
use crate::rows::kinds::{Load, Request, RequestStatus, Run, RunLength, SearchEnd, Unit};
use crate::rows::row::Row;
use crate::rows::words::{Phase, SearchEndReason, SearchedLoad};
use crate::system::lease::ClientLease;
use crate::system::stop_file;

/// What a search is about.
#[derive(Clone, Copy)]
pub struct SearchContext<'a> {
    /// The row of each run, apart from its load, length, seed and id.
    pub run: &'a Run,
    /// What each run sends.
    pub spec: RunSpec<'a>,
    /// The range to search.
    pub range: SearchRange,
    /// Its unit, which may say where to begin.
    pub unit: &'a Unit,
    /// The candidate's framework, if the plan has stages: it is compared with others of its framework only.
    pub framework: Option<&'a str>,
    /// The command that repeats a run of so many requests at this load with this seed.
    pub command: &'a dyn Fn(&Load, u32, u64) -> String,
    /// No run starts that would end after this.
    pub until: Option<Instant>,
    /// The lease of the server.
    pub lease: Option<&'a ClientLease>,
}

impl SearchContext<'_> {
    /// True if a run of this length would not end in time.
    fn is_late(&self, longest: Duration, length: &RunLength, load: &Load) -> bool {
        let own = |s: f64| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX);
        let takes = run_s(length, load).map_or_else(|| longest.max(own(length.due_s.unwrap_or(0.0))), own);
        self.until.is_some_and(|until| Instant::now().checked_add(takes).is_none_or(|end| end > until))
    }
}

/// How a search ended.
#[derive(Debug, Clone, Copy)]
pub struct SearchOutcome {
    /// Why it ended early.
    pub stopped: Option<StopReason>,
    /// The highest load that met the SLA.
    pub max_pass: Option<f64>,
}

/// Searches for the highest load that meets the SLA, and writes `search_end`. `incumbents` has the highest
/// load of any candidate so far, by scenario and load, and gets this one. `answer` is the length of an answer so far, s.
///
/// # Errors
/// When rows cannot be written.
pub async fn search(
    driver: &mut RunDriver<'_>,
    incumbents: &mut BTreeMap<String, f64>,
    context: SearchContext<'_>,
    sent: &mut BTreeSet<usize>,
    answer: &mut Option<f64>,
) -> Result<SearchOutcome> {
    let SearchContext { spec, range, lease, .. } = context;
    let bench = spec.bench;
    let whose = context.framework.unwrap_or_default();
    let key = format!("{whose} {} {}", spec.scenario.identity(), json!(context.run.load));
    let known = range.lower..=range.upper;
    let is_known = |value: &f64| known.contains(value);
    let best = incumbents.get(&key).copied().into_iter().chain(context.unit.bar).filter(is_known).reduce(f64::max);
    let incumbent = best.filter(|_| range.prune || context.framework.is_some());
    let begin = context.unit.start.filter(is_known);
    let mut pilot = Pilot::new(range);
    let wide = incumbent.is_none() && begin.is_none() && range.is_wide();
    let bursts = pilot_bursts(context, driver.options.limits, &mut pilot, wide);
    if let Err(stopped) = driver.unless_stopped(lease, bursts).await {
        return Ok(SearchOutcome { stopped: Some(stopped), max_pass: None });
    }
    *answer = pilot.answer_s().or(*answer);
    let start = begin.or_else(|| pilot.start().filter(|_| wide));
    let mut search = match (context.run.load.screen, incumbent) {
        (true, bar) => LoadSearch::race(range, spec.sla, start, bar),
        (false, Some(leader)) if context.framework.is_some() => LoadSearch::challenge(range, spec.sla, leader),
        (false, Some(best)) => LoadSearch::against(range, spec.sla, best),
        (false, None) => LoadSearch::new(range, spec.sla, start),
    };
    let mut count = 0;
    let mut reason = None;
    let mut ended = None;
    while let Some(probe) = search.next() {
        let load = range.load(probe.value, &context.run.load);
        let mut run = context.run.clone();
        let length = probe.need.length(bench.num_prompts, bench.duration_s, &load, *answer);
        let length = spec.scenario.limited(length, sent.len(), bench.num_prompts);
        if context.is_late(driver.longest, &length, &load) {
            reason = Some(SearchEndReason::Budget);
            break;
        }
        if stop_file::is_asked() {
            reason = Some(SearchEndReason::Interrupted);
            break;
        }
        run.run_id = format!("{}/{count}", run.run_id);
        run.probe = Some(count);
        run.seed = bench.seed + u64::from(probe.vote);
        run.workload.num_prompts = length.requests;
        run.length = Some(length);
        run.benchmark_command = (context.command)(&load, length.requests, run.seed);
        if range.what == SearchedLoad::Concurrency {
            // All requests of a closed loop start together: their wait for each other is no property of the load.
            run.warmup_s = run.warmup_s.or(*answer);
        }
        let warm_s = run.warmup_s;
        run.load = load.clone();
        let begun = Instant::now();
        let outcome = driver.trial(run, spec, sent, true, lease).await?;
        driver.longest = driver.longest.max(begun.elapsed());
        count += 1;
        let cut = matches!(outcome.stopped, Some(StopReason::CannotPass(_)));
        if let Some(stopped) = outcome.stopped.filter(|_| !cut) {
            (reason, ended) = (Some(SearchEndReason::Interrupted), Some(stopped));
            break;
        }
        let judged = ProbeRun {
            load: &load,
            length: &length,
            warm_s,
            sample: &outcome.sample,
            gaps: outcome.gaps.as_ref(),
            cut,
            client_saturated: outcome.saturated,
        }
        .judge(spec.sla);
        if matches!(&judged, ProbeOutcome::Judged(evidence) if evidence.passed) {
            *answer = outcome.answer_s.or(*answer);
        }
        search.record(probe, judged);
    }
    let result = search.ended();
    if let Some(best) = result.max_pass {
        let all = incumbents.entry(key).or_insert(best);
        *all = all.max(best);
    }
    let end = SearchEnd {
        server_id: context.run.server_id.clone(),
        unit: context.run.unit.clone(),
        scenario: context.run.workload.scenario.clone(),
        searched: range.what,
        max_pass: result.max_pass,
        min_fail: result.min_fail,
        decided_by: result.decided_by,
        rounds: result.rounds,
        probes: count,
        reason: reason.unwrap_or(result.reason),
        non_monotone: result.non_monotone,
    };
    if ended.is_none() {
        let rate = end.max_pass.filter(|_| range.what == SearchedLoad::Rate);
        driver.events.search(driver.notice, context.run, end.max_pass.is_some(), rate, &said(&end, &result));
    }
    driver.out.write(&Row::new("search_end", &end))?;
    Ok(SearchOutcome { stopped: ended, max_pass: result.max_pass })
}

/// The end of a search in words.
fn said(end: &SearchEnd, result: &SearchResult) -> String {
    let unit = end.searched.unit();
    let best =
        result.max_pass.map_or_else(|| "no load met the SLA".into(), |best| format!("{best} {unit} meets the SLA"));
    if end.reason == SearchEndReason::Outraced
        && let Some(worst) = result.min_fail
    {
        return format!("out: misses the SLA at {worst} {unit}, near the best of its framework");
    }
    let worst = result.min_fail.map(|worst| {
        let limit = result.decided_by.map_or_else(|| "the SLA".into(), |limit| limit.to_string());
        format!("; {worst} misses {limit}")
    });
    format!("{best}{}", worst.unwrap_or_default())
}

/// Sends bursts of requests that are not measured, until it is known where to begin; only one unless the range is `wide`.
async fn pilot_bursts(context: SearchContext<'_>, limits: RequestTimeouts, pilot: &mut Pilot, wide: bool) {
    let RunSpec { builder, workers, scenario, entries, load_index, sla, .. } = context.spec;
    let trial = format!("{load_index}/{}", context.run.repeat);
    let purpose = Purpose { scenario: &scenario.name, phase: Phase::Measured, trial: &trial };
    // These prompts begin with other words than the measured ones.
    let Ok(items) = WorkloadItems::new(scenario, purpose, context.run.seed, (entries, 1), &mut BTreeSet::new()) else {
        return;
    };
    let mut jobs = Jobs::new(items.phase(Phase::Pilot), builder, None);
    let mut end = 0;
    while let Some(n) = pilot.next() {
        end += n;
        let clock = Clock(tokio::time::Instant::now());
        let follow = FollowSettings { limits, clock, stream: builder.spec.stream };
        let mut tasks = JoinSet::new();
        while let Ok(session) = jobs.session(end) {
            if session.is_empty() {
                break;
            }
            for job in session {
                let row = blank(&context.run.run_id, job.i, Phase::Pilot, None, RequestStatus::Aborted);
                let (workers, request) = (
                    workers.clone(),
                    Outgoing::new(builder.spec.endpoint, builder.expected().with(job.choices), job.body),
                );
                let thread = tasks.len() % workers.len();
                tasks.spawn_local(async move { workers.send(thread, request, row, follow).await });
            }
        }
        let mut sample = Sample::default();
        while let Some(done) = tasks.join_next().await {
            if let Ok(Some(outcome)) = done {
                sample.add(&Request { due_us: outcome.row.sent_us, ..outcome.row }, sla);
            }
        }
        sample.close();
        pilot.record(n, clock.0.elapsed().as_secs_f64(), &sample, sla);
        if !wide {
            return;
        }
    }
}
