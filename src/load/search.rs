//! A rate search on one server: runs, one after the other, at the rates that [`crate::metrics::rate_search`] asks for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::jobs::Jobs;
use super::request::{Clock, FollowSettings, blank, send};
use super::run::{RunOutcome, RunSpec, StopReason};
use super::workload::{Purpose, WorkloadItems};
use super::{Loader, request};
use crate::base::error::Result;
use crate::metrics::rate_search::{ProbeOutcome, RateSearch, significant};
use crate::metrics::sample::gap_ms;
use crate::metrics::sla::Limits;
use crate::metrics::stability;
use crate::rows::kinds::{Load, LoadMode, Qps, RequestStatus, Run, SearchEnd, SlaTest};
use crate::rows::row::Row;
use crate::rows::words::{Limit, Phase, SearchEndReason};
use crate::system::lease::ClientLease;

/// A limit that is kept or missed by less than this share is a close call.
const NEAR: f64 = 0.1;
/// Most requests that are sent at once to see roughly what a server can do.
const SOUNDING: u32 = 64;
/// A bracket wider than this factor is worth a sounding.
const WIDE: f64 = 4.0;

/// What a search needs beside the server.
#[derive(Clone, Copy)]
pub(super) struct SearchContext<'a> {
    /// The row of each run, but for rate, seed and name.
    pub run: &'a Run,
    pub task: RunSpec<'a>,
    pub qps: Qps,
    /// The command that repeats a run at this load with this seed.
    pub command: &'a dyn Fn(&Load, u64) -> String,
    /// No run may begin that would end after this.
    pub until: Option<Instant>,
}

impl Loader<'_> {
    /// Searches; why it was ended before its time.
    pub(super) async fn seek(
        &mut self,
        what: SearchContext<'_>,
        sent: &mut BTreeSet<usize>,
        held: Option<&ClientLease>,
    ) -> Result<Option<StopReason>> {
        let bench = what.task.bench;
        let against = format!("{} {}", what.task.scenario.identity(), json!(what.run.load));
        let range = what.qps.lower..=what.qps.upper;
        let incumbent = self.incumbents.get(&against).copied().filter(|rate| what.qps.prune && range.contains(rate));
        let start = match what.qps.upper / what.qps.lower > WIDE && incumbent.is_none() {
            true => {
                let sounding = sounding(what, self.options.limits);
                match self.unless_stopped(held, sounding).await {
                    Ok(start) => start,
                    Err(stopped) => return Ok(Some(stopped)),
                }
            }
            false => None,
        };
        let mut search = match incumbent {
            Some(rate) => RateSearch::against(what.qps, rate),
            None => RateSearch::new(what.qps, start),
        };
        let mut count = 0;
        let mut reason = None;
        let mut ended = None;
        while let Some(probe) = search.next() {
            if what.until.is_some_and(|until| Instant::now() + self.longest > until) {
                reason = Some(SearchEndReason::Budget);
                break;
            }
            let load = Load { rate: Some(probe.rate), ..what.run.load.clone() };
            let mut run = what.run.clone();
            run.run_id = format!("{}/{count}", run.run_id);
            run.probe = Some(count);
            run.seed = bench.seed + u64::from(probe.vote);
            run.workload.num_prompts = super::rows::requests(bench.num_prompts, bench.duration_s, &load);
            run.benchmark_command = (what.command)(&load, run.seed);
            run.load = load;
            let begun = Instant::now();
            let gone = self.trial(run, what.task, sent, true, held).await?;
            self.longest = self.longest.max(begun.elapsed());
            count += 1;
            if let Some(stopped) = gone.stopped.filter(|stopped| *stopped != StopReason::Hopeless) {
                (reason, ended) = (Some(SearchEndReason::Interrupted), Some(stopped));
                break;
            }
            search.record(probe, judge(what.task.sla, &gone, what.run.warmup_s));
        }
        let found = search.ended();
        let end = SearchEnd {
            server_id: what.run.server_id.clone(),
            unit: what.run.unit.clone(),
            scenario: what.run.workload.scenario.clone(),
            max_pass: found.max_pass,
            min_fail: found.min_fail,
            rounds: found.rounds,
            probes: count,
            reason: reason.unwrap_or(found.reason),
            non_monotone: found.non_monotone,
        };
        if let Some(rate) = end.max_pass {
            let best = self.incumbents.entry(against).or_insert(rate);
            *best = best.max(rate);
        }
        self.out.write(&Row::new("search_end", &end))?;
        Ok(ended)
    }
}

/// Sends some requests at once, which are not measured; half of the rate at which they came back is where to begin.
async fn sounding(what: SearchContext<'_>, limits: request::RequestTimeouts) -> Option<f64> {
    let RunSpec { asker, scenario, entries, bench, load_index, .. } = what.task;
    let n = bench.num_prompts.min(SOUNDING);
    let trial = format!("{load_index}/{}", what.run.repeat);
    let purpose = Purpose { scenario: &scenario.name, phase: Phase::Measured, trial: &trial };
    // What is sent here begins with other words than what is measured.
    let items = WorkloadItems::new(scenario, purpose, what.run.seed, (entries, 1), &mut BTreeSet::new()).ok()?;
    let clock = Clock(tokio::time::Instant::now());
    let how = FollowSettings { limits, clock, stream: asker.asking.stream };
    let mut tasks = JoinSet::new();
    for job in Jobs::new(items.phase(Phase::Pilot), asker, None).first(n).ok()?.into_iter().flatten() {
        let row = blank(&what.run.run_id, job.i, Phase::Pilot, None, RequestStatus::Aborted);
        let (client, endpoint) = (asker.client.clone(), asker.asking.endpoint.clone());
        tasks.spawn_local(async move { send(&client, endpoint.as_str(), job.body, row, how).await });
    }
    let mut ok = 0;
    while let Some(done) = tasks.join_next().await {
        ok += u32::from(done.is_ok_and(|outcome| outcome.row.status == RequestStatus::Ok));
    }
    let rate = f64::from(ok) / clock.0.elapsed().max(Duration::from_micros(1)).as_secs_f64();
    // Two digits are more than it is good for.
    (ok > 0).then(|| significant(rate / 2.0, 2))
}

/// Whether a run kept the SLA, and whether that was a close call. Of one that is too short to tell whether the server keeps up
/// its limits decide alone.
fn judge(limits: &Limits, gone: &RunOutcome, warm_s: Option<f64>) -> ProbeOutcome {
    let connected =
        |(status, n): (&RequestStatus, &u64)| *n == 0 || matches!(status, RequestStatus::Connect | RequestStatus::Tls);
    if gone.saturated || gone.sample.by_status.iter().all(connected) {
        return ProbeOutcome::Infra;
    }
    let steady = stability::stability(&gone.sample.spans, LoadMode::Open, warm_s);
    let tests = limits.gate(&gone.sample, steady.as_ref(), &|statistic| gap_ms(gone.gaps.as_ref(), statistic));
    // To fall behind is no close call.
    let close = |test: &SlaTest| test.limit != Limit::InFlight && test.margin.is_some_and(|margin| margin.abs() < NEAR);
    if tests.iter().all(|test| test.passed) {
        // A success rate is a matter of all or nothing: 100 % is no close call for a floor of 99 %.
        let latency = |test: &&SlaTest| matches!(test.limit, Limit::Latency { .. } | Limit::InFlight);
        return ProbeOutcome::Pass { near: tests.iter().filter(latency).any(close) };
    }
    ProbeOutcome::Fail { near: tests.iter().filter(|test| !test.passed).all(close) }
}
