//! One run: warm-up, then the measured requests, then the client's own health.

use std::collections::BTreeSet;
use std::time::Duration;

use hdrhistogram::Histogram;
use jiff::Timestamp;
use tokio::time::Instant;

use super::flight::InFlight;
use super::jobs;
use super::jobs::{Job, Jobs};
use super::launch::PendingSessions;
use super::pace::Heartbeat;
use super::partners::Partners;
use super::recorder::{MOST_LONGER, RunRecorder, RunSpec, not_run};
use super::request::{Clock, Outgoing, blank};
use super::send_schedule::SendSchedule;
use super::stop::StopReason;
use super::workload::{Purpose, WorkloadItems};
use crate::base::error::Result;
use crate::engines::prometheus;
use crate::metrics::sample::{Sample, encode, gap_ms};
use crate::metrics::search::{LengthNeed, answer_s};
use crate::metrics::sla::Limits;
use crate::metrics::stability::stability;
use crate::rows::kinds::{
    ClientHealth, Histograms, LoadMode, MAX_REQUESTS, Members, Request, RequestStatus, Run, RunEnd, Status,
};
use crate::rows::row::Row;
use crate::rows::units::Micros;
use crate::rows::words::{Arrivals, FailureClass, Phase};
use crate::system::lease::monotonic_ns;

/// From the start of the clock to time zero, so that the pacing thread has started by then.
const LEAD: Duration = Duration::from_millis(5);

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct RunOutcome {
    /// Why it ended early.
    pub stopped: Option<StopReason>,
    /// Its measured requests.
    pub sample: Sample,
    /// How long an answer took, s: the p95 of E2E of its measured requests.
    pub answer_s: Option<f64>,
    /// The client fell behind its schedule.
    pub saturated: bool,
    /// Gaps between tokens, µs, if every chunk is one token or says how many it has.
    pub gaps: Option<Histogram<u64>>,
}

impl RunOutcome {
    /// An open loop met its limits, but was too short to tell whether the server keeps up with the rate, and a run that is as long as
    /// its answers ask for would be longer. `run` is its row as it was planned.
    #[must_use]
    pub fn is_too_short(&self, run: &Run, limits: &Limits) -> bool {
        let Run { load, workload, warmup_s, .. } = run;
        let is_open = load.mode == LoadMode::Open && load.arrivals != Some(Arrivals::Trace);
        let asked = workload.num_prompts;
        let needed = LengthNeed::once(load.mode).length(asked, None, load, self.answer_s).requests;
        let longer = u64::from(needed.min(asked.saturating_mul(MOST_LONGER))) > self.sample.spans.len() as u64;
        let unknown = || stability(&self.sample.spans, LoadMode::Open, *warmup_s).is_none();
        is_open && longer && !limits.is_empty() && self.met(limits) && unknown()
    }

    /// Its requests met the limits, whether or not the server kept up. A run without an answer meets none.
    #[must_use]
    pub fn met(&self, limits: &Limits) -> bool {
        let gaps = |statistic| gap_ms(self.gaps.as_ref(), statistic);
        self.sample.ok() > 0 && limits.gate(&self.sample, None, &gaps).iter().all(|test| test.passed)
    }
}

/// One run that is about to start.
pub struct LoadRun<'a> {
    /// Writes its rows.
    pub recorder: RunRecorder<'a>,
    /// Rows of the dataset that this server has already received; those of this run are added.
    pub sent: &'a mut BTreeSet<usize>,
}

impl LoadRun<'_> {
    /// Runs to the end, or until `stopped` returns.
    ///
    /// # Errors
    /// When rows cannot be written.
    pub async fn go(mut self, stopped: impl Future<Output = StopReason>, partners: Partners<'_>) -> Result<RunOutcome> {
        tokio::pin!(stopped);
        let recorder = &mut self.recorder;
        let RunSpec { builder, workers, scenario, entries, bench, load_index, .. } = recorder.spec;
        // No prompt is sent twice to one server: every load point, repeat and probe has its own.
        let probe = recorder.run.probe.map_or(String::new(), |p| p.to_string());
        let again = if recorder.run.attempt > 0 { format!("/{}", recorder.run.attempt) } else { String::new() };
        let trial = format!("{load_index}/{}/{probe}{again}", recorder.run.repeat);
        let purpose = Purpose { scenario: &scenario.name, phase: Phase::Measured, trial: &trial };
        let n = recorder.run.workload.num_prompts;
        if n.max(bench.warmup_requests) > MAX_REQUESTS {
            let why = format!(
                "a run of {n} requests after {} to warm up: more than {MAX_REQUESTS} are not possible; lower num_prompts, duration_s or the rate",
                bench.warmup_requests
            );
            not_run(recorder.out, &recorder.run, Status::Failed, FailureClass::Unsupported, &why)?;
            return Ok(RunOutcome::default());
        }
        let seed = recorder.run.seed;
        let draw =
            |n, sent: &mut BTreeSet<usize>| WorkloadItems::new(scenario, purpose.clone(), seed, (entries, n), sent);
        let sent_before = self.sent.clone();
        let items = match draw(n, self.sent) {
            Ok(items) => items,
            Err(why) => {
                not_run(recorder.out, &recorder.run, Status::Failed, FailureClass::PromptsExhausted, &why)?;
                return Ok(RunOutcome::default());
            }
        };
        let shard = recorder.run.shard;
        // A warm-up under load replaces the sequential one.
        let warmup_s = recorder.run.warmup_s.filter(|_| recorder.run.load.mode != LoadMode::Burst);
        // The bursts before a search have warmed the server up.
        let is_warm = warmup_s.is_some() || recorder.run.probe.is_some();
        let first = if is_warm { 0 } else { bench.warmup_requests };
        let (sessions, before) = match (
            Jobs::new(items.phase(Phase::Measured), builder, shard).first(n),
            Jobs::new(items.phase(Phase::Warmup), builder, shard).first(first),
        ) {
            (Ok(sessions), Ok(before)) => (sessions, before),
            // If the workload cannot be built for this server, the run has failed.
            (Err(e), _) | (_, Err(e)) => {
                not_run(recorder.out, &recorder.run, Status::Failed, FailureClass::Unsupported, &e.to_string())?;
                return Ok(RunOutcome::default());
            }
        };
        let (schedule, schedule_sha256) = SendSchedule::new(&recorder.run, scenario, &items.sessions(n), warmup_s);
        recorder.run.schedule_sha256 = schedule_sha256;
        let warming = async { (warm_up(recorder, before).await, builder.counters().await) };
        let (warmed, counters) = tokio::select! {
            (rows, counters) = warming => (Ok(rows), counters),
            why = &mut stopped => (Err(why), None),
        };
        let (mut items, mut sessions, mut schedule) = (items, sessions, schedule);
        if warmed.as_ref().is_ok_and(|rows| recorder.lengthen(rows, sent_before.len())) {
            let n = recorder.run.workload.num_prompts;
            *self.sent = sent_before;
            // The rows of a data set that it begins with are the same.
            if let Ok(longer) = draw(n, self.sent)
                && let Ok(more) = Jobs::new(longer.phase(Phase::Measured), builder, shard).first(n)
            {
                (items, sessions) = (longer, more);
                let again = SendSchedule::new(&recorder.run, scenario, &items.sessions(n), warmup_s);
                (schedule, recorder.run.schedule_sha256) = again;
            }
        }
        let compared = match &warmed {
            Ok(_) => tokio::select! {
                clock = partners.compare_clocks(recorder.notice) => clock,
                why = &mut stopped => Err(why),
            },
            Err(why) => Err(*why),
        };
        recorder.run.clock = compared.as_ref().ok().copied().flatten();
        recorder.run.started_at = Timestamp::now().to_string();
        recorder.out.write(&Row::new("run", &recorder.run))?;
        // Clients that share the load wait for each other; a lost server is noticed below.
        let shared = match compared {
            Ok(_) => tokio::select! {
                t0_ns = partners.meet(&recorder.run, recorder.notice) => t0_ns,
                why = &mut stopped => Err(why),
            },
            Err(why) => Err(why),
        };
        let heartbeat = Heartbeat::start();
        let turns = tokio::task::spawn_local(heartbeat.turns());
        for thread in 0..workers.len() {
            let turns = heartbeat.turns();
            workers.spawn(thread, |_| turns);
        }
        // In closed loop nothing is due, so the clock starts with the first request.
        let lead = if schedule.due.is_some() { LEAD } else { Duration::ZERO };
        let clock = Clock(match &shared {
            Ok(Some(t0_ns)) => Instant::now() + Duration::from_nanos(t0_ns.saturating_sub(monotonic_ns()?)),
            _ => Instant::now() + lead,
        });
        let mut flight = InFlight::new(workers.clone());
        let stop = match warmed.and_then(|rows| shared.map(|_| rows)) {
            Err(why) => Some(why),
            Ok(rows) => {
                if schedule.due.is_none() {
                    tokio::time::sleep_until(clock.0).await;
                }
                for row in rows {
                    recorder.write(row)?;
                }
                let pending = PendingSessions {
                    warm: Jobs::new(items.phase(Phase::Warmup), builder, shard),
                    sessions,
                    tail: Jobs::new(items.phase(Phase::Tail), builder, shard),
                };
                flight.fly(recorder, SendSchedule { clock, ..schedule }, pending, stopped.as_mut()).await?
            }
        };
        let gaps = flight.token_gaps.clone();
        turns.abort();
        let over = clock.now();
        // An interrupted run does not wait for this.
        let after = if stop.is_none() && counters.is_some() { builder.counters().await } else { None };
        let server_metrics = match (counters, after) {
            (Some(before), Some(after)) => prometheus::between(builder.metric_mappings(), &before, &after),
            _ => Members::new(),
        };
        let saturated = end(recorder, flight, &heartbeat, over, stop, server_metrics)?;
        recorder.sample.close();
        let answer_s = answer_s(&recorder.sample);
        Ok(RunOutcome { stopped: stop, sample: std::mem::take(&mut recorder.sample), answer_s, saturated, gaps })
    }
}

/// Sends requests one after the other without measuring them; their times count from the start of the warm-up.
async fn warm_up(recorder: &RunRecorder<'_>, sessions: Vec<Vec<Job>>) -> Vec<Request> {
    let follow = recorder.follow(Clock(Instant::now()));
    let RunSpec { builder, workers, .. } = recorder.spec;
    let mut rows = Vec::new();
    for job in sessions.into_iter().flatten() {
        let row = jobs::row(&recorder.run.run_id, &job, Phase::Warmup, None, recorder.run.workload.output_len);
        let request = Outgoing::new(builder.spec.endpoint, builder.expected().with(job.choices), job.body);
        rows.extend(workers.send(0, request, row, follow).await.map(|outcome| outcome.row));
    }
    rows
}

/// Writes the rows of the requests that did not finish, and the `run_end` row; whether the client fell behind.
fn end(
    recorder: &mut RunRecorder<'_>,
    mut flight: InFlight,
    heartbeat: &Heartbeat,
    now: Micros,
    stop: Option<StopReason>,
    server_metrics: Members,
) -> Result<bool> {
    recorder.is_sampling = !matches!(stop, Some(StopReason::CannotPass(_)));
    for (phase, i) in std::mem::take(&mut flight.open) {
        let mut row = blank(&recorder.run.run_id, i, phase, None, RequestStatus::Aborted);
        row.end_us = Some(now);
        recorder.write(row)?;
    }
    let (health, behind) = flight.lateness.health(heartbeat, &recorder.run.load);
    let client = ClientHealth { connections: flight.connections(), ..health };
    let (status, class, reason) = match (stop.map(StopReason::end), behind) {
        (Some((status, class, reason)), _) => (status, Some(class), Some(reason)),
        (None, Some(why)) => (Status::Ok, Some(FailureClass::ClientSaturated), Some(why)),
        (None, None) => (Status::Ok, None, None),
    };
    let end = RunEnd {
        run_id: recorder.run.run_id.clone(),
        shard: recorder.run.shard,
        status,
        failure_class: class,
        failure_reason: reason,
        duration_s: now.seconds(),
        client,
        server_metrics,
        histograms: Histograms {
            chunk_gap_us: encode(&flight.gaps),
            itl_us: flight.token_gaps.as_ref().and_then(encode),
        },
        ended_at: Timestamp::now().to_string(),
    };
    recorder.notice.clear();
    recorder.out.write(&Row::new("run_end", &end))?;
    Ok(end.client.saturated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_sent_nothing_meets_no_limits() {
        let none = RunOutcome::default();
        assert!(!none.met(&Limits::default()) && !none.met(&Limits::default().with_floor()));
    }
}
