//! One run: warm-up, then the measured requests, then the client's own health.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

use hdrhistogram::Histogram;
use jiff::Timestamp;
use tokio::time::Instant;

use super::ask::RequestBuilder;
use super::dataset::DatasetEntry;
use super::flight::{InFlight, PendingSessions, SendSchedule};
use super::jobs::Jobs;
use super::measure::{course, health};
use super::pace::Heartbeat;
use super::request::{Clock, FollowSettings, RequestTimeouts, blank, send};
use super::workload::{Purpose, WorkloadItems};
use crate::base::error::Result;
use crate::base::notice::Notice;
use crate::base::redact;
use crate::engines::prometheus;
use crate::metrics::sample::{Sample, encode};
use crate::metrics::sla;
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::{
    Benchmark, ClientHealth, Histograms, LoadMode, Members, Request, RequestStatus, Run, RunEnd, Scenario, Status,
};
use crate::rows::row::Row;
use crate::rows::units::Micros;
use crate::rows::words::{FailureClass, Phase};
use crate::system::lease::{ClientLease, monotonic_ns};

/// From the start of the clock to time zero, so that the pacer is there in time.
const LEAD: Duration = Duration::from_millis(5);

/// What an interrupted run says.
pub const INTERRUPTED: &str = "bench-load was interrupted; run it again to go on";
/// What a run says whose server went away.
pub const SERVER_LOST: &str = "the server went away during the run; its log says why";

/// What a run says that was cut short.
const HOPELESS: &str = "cut short: what had come back could not keep the SLA any more";

/// Why a run was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A signal came.
    Interrupted,
    /// The lease was lost.
    ServerLost,
    /// Nobody reads our rows any more.
    ReaderLeft,
    /// What has come back can no longer keep the SLA: the rest would only take time.
    Hopeless,
}

/// What a run gave, for who decides what to do next.
#[derive(Debug, Clone, Default)]
pub struct RunOutcome {
    /// Why it was ended before its time.
    pub stopped: Option<StopReason>,
    /// Its measured requests, where it is to be judged.
    pub sample: Sample,
    /// The client did not keep up.
    pub saturated: bool,
    /// Gaps between tokens, µs, where a chunk is a token or says how many it has.
    pub gaps: Option<Histogram<u64>>,
}

/// What a run asks, of whom.
#[derive(Clone, Copy)]
pub struct RunSpec<'a> {
    /// How the server is asked.
    pub asker: &'a RequestBuilder,
    /// What is asked.
    pub scenario: &'a Scenario,
    /// The rows of the scenario's data set; none of one that is made up.
    pub entries: &'a [DatasetEntry],
    /// How the load is driven.
    pub bench: &'a Benchmark,
    /// Index of the load spec within the candidate.
    pub load_index: usize,
    /// What the run is judged by.
    pub sla: &'a sla::Limits,
}

/// Everything that a run needs.
pub struct LoadRun<'a> {
    /// Its row.
    pub run: Run,
    /// What it asks.
    pub task: RunSpec<'a>,
    /// Rows of the data set that this server was sent already.
    pub sent: &'a mut BTreeSet<usize>,
    /// Time limits of a request.
    pub limits: RequestTimeouts,
    /// Keep the times of all chunks in the rows.
    pub full: bool,
    /// Takes secrets out of what servers say.
    /// It is a probe: somebody judges it at its end, and it ends once it cannot keep its SLA any more.
    pub judged: bool,
    /// What has come back.
    pub sample: Sample,
    /// Open the writer's rows go to.
    pub out: &'a mut RowWriter<File>,
    /// Where progress goes.
    pub notice: &'a Notice,
}

/// An empty distribution, µs.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that a histogram takes")
}

impl LoadRun<'_> {
    /// Runs to the end or until `stopped` says otherwise.
    ///
    /// # Errors
    /// When rows cannot be written.
    pub async fn go(
        mut self,
        stopped: impl Future<Output = StopReason>,
        held: Option<&ClientLease>,
    ) -> Result<RunOutcome> {
        tokio::pin!(stopped);
        let RunSpec { asker, scenario, entries, bench, load_index, .. } = self.task;
        // No prompt is sent twice to one server: every load point, repeat and probe has its own.
        let probe = self.run.probe.map_or(String::new(), |p| p.to_string());
        let trial = format!("{load_index}/{}/{probe}", self.run.repeat);
        let purpose = Purpose { scenario: &scenario.name, phase: Phase::Measured, trial: &trial };
        let n = self.run.workload.num_prompts;
        let items = match WorkloadItems::new(scenario, purpose, self.run.seed, (entries, n), self.sent) {
            Ok(items) => items,
            Err(why) => {
                not_run(self.out, &self.run, Status::Failed, FailureClass::PromptsExhausted, &why)?;
                return Ok(RunOutcome::default());
            }
        };
        let shard = self.run.shard;
        let jobs = |phase| Jobs::new(items.phase(phase), asker, shard);
        // A warm-up under load needs none before it.
        let steady = self.run.warmup_s.filter(|_| self.run.load.mode != LoadMode::Burst);
        let first = if steady.is_some() { 0 } else { bench.warmup_requests };
        let (sessions, before) = match (jobs(Phase::Measured).first(n), jobs(Phase::Warmup).first(first)) {
            (Ok(sessions), Ok(before)) => (sessions, before),
            // A workload that cannot be made for this server is a failed run.
            (Err(e), _) | (_, Err(e)) => {
                not_run(self.out, &self.run, Status::Failed, FailureClass::Unsupported, &e.to_string())?;
                return Ok(RunOutcome::default());
            }
        };
        let (course, schedule_sha256) = course(&self.run, scenario, &items.sessions(n), steady);
        self.run.schedule_sha256 = schedule_sha256;
        let warming = async { (self.warm_up(before).await, asker.counters().await) };
        let (warmed, counters) = tokio::select! {
            (rows, counters) = warming => (Ok(rows), counters),
            why = &mut stopped => (Err(why), None),
        };
        self.run.started_at = Timestamp::now().to_string();
        self.out.write(&Row::new("run", &self.run))?;
        // Who shares the load waits for the others; where the server is gone, that is seen below.
        let shared = match (self.run.shard, held, &warmed) {
            (Some(_), Some(held), Ok(_)) => tokio::select! {
                t0_ns = held.meet(&self.run.run_id) => Ok(t0_ns),
                why = &mut stopped => Err(why),
            },
            _ => Ok(None),
        };
        let heartbeat = Heartbeat::start();
        let turns = tokio::task::spawn_local(heartbeat.turns());
        // In closed loop nothing is due, so the clock starts with the first request.
        let lead = if course.due.is_some() { LEAD } else { Duration::ZERO };
        let clock = Clock(match &shared {
            Ok(Some(t0_ns)) => Instant::now() + Duration::from_nanos(t0_ns.saturating_sub(monotonic_ns()?)),
            _ => Instant::now() + lead,
        });
        let mut flight = InFlight::new();
        let ended = match warmed.and_then(|rows| shared.map(|_| rows)) {
            Err(why) => Some(why),
            Ok(rows) => {
                if course.due.is_none() {
                    tokio::time::sleep_until(clock.0).await;
                }
                for row in rows {
                    self.write(row)?;
                }
                let coming = PendingSessions {
                    warm: jobs(Phase::Warmup),
                    sessions: sessions.into_iter(),
                    tail: jobs(Phase::Tail),
                };
                self.fly(&mut flight, SendSchedule { clock, ..course }, coming, stopped.as_mut()).await?
            }
        };
        let gaps = if self.judged { flight.token_gaps.clone() } else { None };
        turns.abort();
        let over = clock.now();
        // Nobody who was interrupted is kept waiting for this.
        let after = if ended.is_none() && counters.is_some() { asker.counters().await } else { None };
        let server_metrics = match (counters, after) {
            (Some(before), Some(after)) => prometheus::between(asker.told(), &before, &after),
            _ => Members::new(),
        };
        let saturated = self.end(flight, &heartbeat, over, ended, server_metrics)?;
        self.sample.close();
        Ok(RunOutcome { stopped: ended, sample: self.sample, saturated, gaps })
    }

    /// How each request is followed.
    pub(super) fn follow(&self, clock: Clock) -> FollowSettings {
        FollowSettings { limits: self.limits, clock, stream: self.task.asker.asking.stream }
    }

    /// Requests that are sent one after the other and not measured; their times count from their own beginning.
    async fn warm_up(&self, sessions: Vec<Vec<super::jobs::Job>>) -> Vec<Request> {
        let clock = Clock(Instant::now());
        let asker = self.task.asker;
        let mut rows = Vec::new();
        for job in sessions.into_iter().flatten() {
            let row = super::jobs::row(&self.run.run_id, &job, Phase::Warmup, None, self.run.workload.output_len);
            let outcome = send(&asker.client, asker.asking.endpoint.as_str(), job.body, row, self.follow(clock)).await;
            rows.push(outcome.row);
        }
        rows
    }

    /// A server may say in an error what it was sent, its key included.
    pub(super) fn write(&mut self, mut row: Request) -> Result<()> {
        row.error = row.error.map(|error| redact::foreign(&error));
        // The usual reasons are a word.
        let odd = |reason: &String| reason.len() > 16;
        if row.finish_reason.as_ref().is_some_and(odd) {
            row.finish_reason = row.finish_reason.map(|reason| redact::foreign(&reason));
        }
        if self.judged && row.phase == Phase::Measured {
            self.sample.add(&row, self.task.sla);
        }
        self.out.write_typed("request", &row)
    }

    fn end(
        &mut self,
        mut flight: InFlight,
        heartbeat: &Heartbeat,
        now: Micros,
        ended: Option<StopReason>,
        server_metrics: Members,
    ) -> Result<bool> {
        flight.tasks.abort_all();
        for (phase, i) in std::mem::take(&mut flight.flying) {
            let mut row = blank(&self.run.run_id, i, phase, None, RequestStatus::Aborted);
            row.end_us = Some(now);
            self.write(row)?;
        }
        let client =
            ClientHealth { connections: flight.connections(), ..health(&mut flight.lags, heartbeat, &self.run.load) };
        let (status, class, reason) = match ended {
            Some(StopReason::Interrupted | StopReason::ReaderLeft) => {
                (Status::Failed, Some(FailureClass::Interrupted), Some(INTERRUPTED))
            }
            Some(StopReason::ServerLost) => (Status::Failed, Some(FailureClass::ServerLost), Some(SERVER_LOST)),
            Some(StopReason::Hopeless) => (Status::Ok, Some(FailureClass::CannotPass), Some(HOPELESS)),
            None if client.saturated => {
                let why =
                    "the client did not keep up with its schedule; give it a quieter machine or ask for less load";
                (Status::Ok, Some(FailureClass::ClientSaturated), Some(why))
            }
            None => (Status::Ok, None, None),
        };
        let end = RunEnd {
            run_id: self.run.run_id.clone(),
            shard: self.run.shard,
            status,
            failure_class: class,
            failure_reason: reason.map(String::from),
            duration_s: now.seconds(),
            client,
            server_metrics,
            histograms: Histograms {
                chunk_gap_us: encode(&flight.gaps),
                itl_us: flight.token_gaps.as_ref().and_then(encode),
            },
            ended_at: Timestamp::now().to_string(),
        };
        self.notice.clear();
        self.out.write(&Row::new("run_end", &end))?;
        Ok(end.client.saturated)
    }
}

/// Writes a run of which no request is sent, and why.
///
/// # Errors
/// When the rows cannot be written.
pub fn not_run(out: &mut RowWriter<File>, run: &Run, status: Status, class: FailureClass, why: &str) -> Result<()> {
    out.write(&Row::new("run", run))?;
    let end = RunEnd {
        run_id: run.run_id.clone(),
        shard: run.shard,
        status,
        failure_class: Some(class),
        failure_reason: Some(redact::foreign(why)),
        duration_s: 0.0,
        client: ClientHealth::default(),
        histograms: Histograms::default(),
        server_metrics: Members::new(),
        ended_at: Timestamp::now().to_string(),
    };
    out.write(&Row::new("run_end", &end))
}
