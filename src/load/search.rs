//! A rate search on one server: runs, one after the other, at the rates that [`crate::metrics::rate_search`] asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::command::measured_requests;
use super::driver::RunDriver;
use super::jobs::Jobs;
use super::recorder::RunSpec;
use super::request::{Clock, FollowSettings, Outgoing, RequestTimeouts, blank};
use super::run::RunOutcome;
use super::stop::StopReason;
use super::workload::{Purpose, WorkloadItems};
use crate::base::error::Result;
use crate::metrics::rate_search::{ProbeOutcome, RateSearch, significant};
use crate::metrics::sample::gap_ms;
use crate::metrics::sla::Limits;
use crate::metrics::stability;
use crate::rows::kinds::{Load, LoadMode, Qps, RequestStatus, Run, SearchEnd, SlaTest};
use crate::rows::row::Row;
use crate::rows::words::{Limit, Phase, SearchEndReason};
use crate::system::lease::ClientLease;

/// A limit that is met or missed by less than this share is a close call.
const NEAR: f64 = 0.1;
/// Maximum number of requests in a pilot burst, which estimates what a server can do.
const PILOT: u32 = 64;
/// A range wider than this factor is worth a pilot burst.
const WIDE: f64 = 4.0;

/// What a search is about.
#[derive(Clone, Copy)]
pub struct SearchContext<'a> {
    /// The row of each run, apart from its rate, seed and id.
    pub run: &'a Run,
    /// What each run sends.
    pub spec: RunSpec<'a>,
    /// The range to search.
    pub qps: Qps,
    /// The command that repeats a run at this load with this seed.
    pub command: &'a dyn Fn(&Load, u64) -> String,
    /// No run starts that would end after this.
    pub until: Option<Instant>,
    /// The lease of the server.
    pub lease: Option<&'a ClientLease>,
}

/// Searches for the highest rate that meets the SLA, and writes `search_end`; why it ended early. `incumbents` has the highest
/// rate of any candidate so far, by scenario and load, and gets this one.
///
/// # Errors
/// When rows cannot be written.
pub async fn search(
    driver: &mut RunDriver<'_>,
    incumbents: &mut BTreeMap<String, f64>,
    context: SearchContext<'_>,
    sent: &mut BTreeSet<usize>,
) -> Result<Option<StopReason>> {
    let SearchContext { spec, qps, lease, .. } = context;
    let bench = spec.bench;
    let key = format!("{} {}", spec.scenario.identity(), json!(context.run.load));
    let range = qps.lower..=qps.upper;
    let incumbent = incumbents.get(&key).copied().filter(|rate| qps.prune && range.contains(rate));
    let mut search = match incumbent {
        Some(rate) => RateSearch::against(qps, rate),
        None if qps.upper / qps.lower > WIDE => {
            let pilot = pilot_burst(context, driver.options.limits);
            match driver.unless_stopped(lease, pilot).await {
                Ok(start) => RateSearch::new(qps, start),
                Err(stopped) => return Ok(Some(stopped)),
            }
        }
        None => RateSearch::new(qps, None),
    };
    let mut count = 0;
    let mut reason = None;
    let mut ended = None;
    while let Some(probe) = search.next() {
        if context.until.is_some_and(|until| Instant::now() + driver.longest > until) {
            reason = Some(SearchEndReason::Budget);
            break;
        }
        let load = Load { rate: Some(probe.rate), ..context.run.load.clone() };
        let mut run = context.run.clone();
        run.run_id = format!("{}/{count}", run.run_id);
        run.probe = Some(count);
        run.seed = bench.seed + u64::from(probe.vote);
        run.workload.num_prompts = measured_requests(bench.num_prompts, bench.duration_s, &load);
        run.benchmark_command = (context.command)(&load, run.seed);
        run.load = load;
        let begun = Instant::now();
        let outcome = driver.trial(run, spec, sent, true, lease).await?;
        driver.longest = driver.longest.max(begun.elapsed());
        count += 1;
        if let Some(stopped) = outcome.stopped.filter(|stopped| *stopped != StopReason::CannotPass) {
            (reason, ended) = (Some(SearchEndReason::Interrupted), Some(stopped));
            break;
        }
        search.record(probe, judge(spec.sla, &outcome, context.run.warmup_s));
    }
    let result = search.ended();
    let end = SearchEnd {
        server_id: context.run.server_id.clone(),
        unit: context.run.unit.clone(),
        scenario: context.run.workload.scenario.clone(),
        max_pass: result.max_pass,
        min_fail: result.min_fail,
        rounds: result.rounds,
        probes: count,
        reason: reason.unwrap_or(result.reason),
        non_monotone: result.non_monotone,
    };
    if let Some(rate) = end.max_pass {
        let best = incumbents.entry(key).or_insert(rate);
        *best = best.max(rate);
    }
    driver.out.write(&Row::new("search_end", &end))?;
    Ok(ended)
}

/// Sends a burst of requests that are not measured. The search starts at half the rate at which they finished.
async fn pilot_burst(context: SearchContext<'_>, limits: RequestTimeouts) -> Option<f64> {
    let RunSpec { builder, workers, scenario, entries, bench, load_index, .. } = context.spec;
    let n = bench.num_prompts.min(PILOT);
    let trial = format!("{load_index}/{}", context.run.repeat);
    let purpose = Purpose { scenario: &scenario.name, phase: Phase::Measured, trial: &trial };
    // These prompts begin with other words than the measured ones.
    let items = WorkloadItems::new(scenario, purpose, context.run.seed, (entries, 1), &mut BTreeSet::new()).ok()?;
    let clock = Clock(tokio::time::Instant::now());
    let follow = FollowSettings { limits, clock, stream: builder.spec.stream };
    let mut tasks = JoinSet::new();
    for job in Jobs::new(items.phase(Phase::Pilot), builder, None).first(n).ok()?.into_iter().flatten() {
        let row = blank(&context.run.run_id, job.i, Phase::Pilot, None, RequestStatus::Aborted);
        let (workers, request) = (workers.clone(), Outgoing::new(builder.spec.endpoint, job.body));
        let thread = tasks.len() % workers.len();
        tasks.spawn_local(async move { workers.send(thread, request, row, follow).await });
    }
    let mut ok = 0;
    while let Some(done) = tasks.join_next().await {
        ok +=
            u32::from(done.is_ok_and(|outcome| outcome.is_some_and(|outcome| outcome.row.status == RequestStatus::Ok)));
    }
    let rate = f64::from(ok) / clock.0.elapsed().max(Duration::from_micros(1)).as_secs_f64();
    // It is not more precise than two digits.
    (ok > 0).then(|| significant(rate / 2.0, 2))
}

/// Whether a run met the SLA, and whether that was a close call. If the run is too short to tell whether the server keeps up,
/// only the limits decide.
fn judge(limits: &Limits, outcome: &RunOutcome, warm_s: Option<f64>) -> ProbeOutcome {
    let unreachable =
        |(status, n): (&RequestStatus, &u64)| *n == 0 || matches!(status, RequestStatus::Connect | RequestStatus::Tls);
    if outcome.saturated || outcome.sample.by_status.iter().all(unreachable) {
        return ProbeOutcome::Infra;
    }
    let stability = stability::stability(&outcome.sample.spans, LoadMode::Open, warm_s);
    let tests = limits.gate(&outcome.sample, stability.as_ref(), &|statistic| gap_ms(outcome.gaps.as_ref(), statistic));
    // Falling behind is not a close call.
    let close = |test: &SlaTest| test.limit != Limit::InFlight && test.margin.is_some_and(|margin| margin.abs() < NEAR);
    if tests.iter().all(|test| test.passed) {
        // A success rate of 100 % is not a close call for a floor of 99 %.
        let latency = |test: &&SlaTest| matches!(test.limit, Limit::Latency { .. } | Limit::InFlight);
        return ProbeOutcome::Pass { near: tests.iter().filter(latency).any(close) };
    }
    ProbeOutcome::Fail { near: tests.iter().filter(|test| !test.passed).all(close) }
}
