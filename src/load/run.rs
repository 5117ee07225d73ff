//! One run: warm-up, then the measured requests, then the client's own health.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::ask::Asker;
use super::measure::{due_times, encode, health};
use super::pace::{Heartbeat, pace};
use super::request::{Clock, Limits, Outcome, blank, send};
use crate::error::Result;
use crate::exposition;
use crate::jsonl::Writer;
use crate::notice::Notice;
use crate::redact::Redactor;
use crate::row::Row;
use crate::schedule;
use crate::schema::{ClientHealth, Histograms, Members, Request, RequestStatus, Run, RunEnd, Status};
use crate::sla;
use crate::summary::Sample;
use crate::units::Micros;
use crate::workload::Purpose;

/// From the start of the clock to time zero, so that the pacer is there in time.
const LEAD: Duration = Duration::from_millis(5);

/// What an interrupted run says.
pub const INTERRUPTED: &str = "bench-load was interrupted; run it again to go on";
/// What a run says whose server went away.
pub const SERVER_LOST: &str = "the server went away during the run; its log says why";

/// What a run says that was cut short.
const HOPELESS: &str = "cut short: what had come back could not keep the SLA any more";
/// How often it is looked at whether a run can still keep its SLA, in requests.
const CHECK_EVERY: u32 = 16;

/// Why a run was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
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
pub struct Gone {
    /// Why it was ended before its time.
    pub stopped: Option<Stopped>,
    /// Its measured requests, where it is to be judged.
    pub sample: Sample,
    /// The client did not keep up.
    pub saturated: bool,
    /// Gaps between tokens, µs, where a chunk is a token or says how many it has.
    pub gaps: Option<Histogram<u64>>,
}

/// Everything that a run needs.
pub struct Trial<'a> {
    /// Its row.
    pub run: Run,
    /// How the server is asked.
    pub asker: &'a Asker,
    /// Index of the load spec within the candidate.
    pub load_index: usize,
    /// Warm-up requests.
    pub warmup: u32,
    /// Time limits of a request.
    pub limits: Limits,
    /// Keep the times of all chunks in the rows.
    pub full: bool,
    /// Takes secrets out of what servers say.
    pub redactor: &'a Redactor,
    /// What the run is judged by.
    pub sla: &'a sla::Limits,
    /// It is a probe: somebody judges it at its end, and it ends once it cannot keep its SLA any more.
    pub judged: bool,
    /// What has come back.
    pub sample: Sample,
    /// Open the writer's rows go to.
    pub out: &'a mut Writer<File>,
    /// Where progress goes.
    pub notice: &'a Notice,
}

/// What is in flight, and what has come back.
struct Flight {
    tasks: JoinSet<Outcome>,
    flying: BTreeSet<u32>,
    done: u32,
    ok: u32,
    lags: Vec<f64>,
    gaps: Histogram<u64>,
    token_gaps: Option<Histogram<u64>>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that a histogram takes")
}

impl Trial<'_> {
    /// Runs to the end or until `stopped` says otherwise.
    ///
    /// # Errors
    /// When rows cannot be written, or no prompt of that length is possible.
    pub async fn go(mut self, stopped: impl Future<Output = Stopped>) -> Result<Gone> {
        tokio::pin!(stopped);
        let n = self.run.workload.num_prompts;
        let due = due_times(&self.run.load, n, self.run.seed, &self.run.workload.scenario, self.run.repeat);
        self.run.schedule_sha256 = due.as_deref().map(schedule::sha256);
        // No prompt is sent twice to one server: every load point, repeat and probe has its own.
        let probe = self.run.probe.map_or(String::new(), |p| p.to_string());
        let trial = format!("{}/{}/{probe}", self.load_index, self.run.repeat);
        let bodies = self.bodies("measured", &trial, n);
        let (bodies, warm) = match (bodies, self.bodies("warmup", &trial, self.warmup)) {
            (Ok(bodies), Ok(warm)) => (bodies, warm),
            // A workload that cannot be made for this server is a failed run.
            (Err(e), _) | (_, Err(e)) => {
                not_run(self.out, &self.run, Status::Failed, "unsupported", &e.to_string())?;
                return Ok(Gone::default());
            }
        };
        let warming = async { (self.warm_up(warm).await, self.asker.counters().await) };
        let (warmed, before) = tokio::select! {
            (rows, before) = warming => (Ok(rows), before),
            why = &mut stopped => (Err(why), None),
        };
        self.run.started_at = Timestamp::now().to_string();
        self.out.write(&Row::new("run", &self.run))?;
        let heartbeat = Heartbeat::start();
        // In closed loop nothing is due, so the clock starts with the first request.
        let clock = Clock(Instant::now() + if due.is_some() { LEAD } else { Duration::ZERO });
        let mut flight = Flight {
            tasks: JoinSet::new(),
            flying: BTreeSet::new(),
            done: 0,
            ok: 0,
            lags: Vec::new(),
            gaps: histogram(),
            token_gaps: Some(histogram()),
        };
        let ended = match warmed {
            Err(why) => Some(why),
            Ok(rows) => {
                for row in rows {
                    self.write(row)?;
                }
                self.fly(&mut flight, bodies, due, clock, stopped.as_mut()).await?
            }
        };
        let gaps = if self.judged { flight.token_gaps.clone() } else { None };
        let over = clock.now();
        // Nobody who was interrupted is kept waiting for this.
        let after = if ended.is_none() && before.is_some() { self.asker.counters().await } else { None };
        let server_metrics = match (before, after) {
            (Some(before), Some(after)) => exposition::between(self.asker.told(), &before, &after),
            _ => Members::new(),
        };
        let saturated = self.end(flight, &heartbeat, over, ended, server_metrics)?;
        self.sample.close();
        Ok(Gone { stopped: ended, sample: self.sample, saturated, gaps })
    }

    fn bodies(&self, phase: &str, trial: &str, n: u32) -> Result<Vec<Vec<u8>>> {
        let w = &self.run.workload;
        let purpose = Purpose { scenario: &w.scenario, phase, trial };
        (0..n).map(|i| self.asker.body(self.run.seed, &purpose, i, w.input_len, w.output_len)).collect()
    }

    /// Requests that are sent one after the other and not measured; their times count from their own beginning.
    async fn warm_up(&self, bodies: Vec<Vec<u8>>) -> Vec<Request> {
        let clock = Clock(Instant::now());
        let mut rows = Vec::new();
        for (i, body) in (0..).zip(bodies) {
            let row = blank(&self.run.run_id, i, "warmup", None, RequestStatus::Aborted);
            let outcome = send(&self.asker.client, &self.asker.endpoint, body, row, self.limits, clock).await;
            rows.push(Request { chunk_us: Vec::new(), ..outcome.row });
        }
        rows
    }

    /// Sends what is due until all have come back.
    async fn fly(
        &mut self,
        flight: &mut Flight,
        bodies: Vec<Vec<u8>>,
        due: Option<Vec<Micros>>,
        clock: Clock,
        mut stopped: std::pin::Pin<&mut impl Future<Output = Stopped>>,
    ) -> Result<Option<Stopped>> {
        let n = bodies.len();
        let mut bodies: Vec<Option<Vec<u8>>> = bodies.into_iter().map(Some).collect();
        let mut paced: Option<UnboundedReceiver<u32>> = due.clone().map(|due| pace(due, clock.0));
        let mut next = 0;
        if paced.is_none() {
            for _ in 0..self.run.load.concurrency.unwrap_or(1).min(u32::try_from(n).unwrap_or(u32::MAX)) {
                self.launch(flight, next, None, &mut bodies, clock)?;
                next += 1;
            }
        }
        while (flight.done as usize) < n {
            tokio::select! {
                biased;
                Some(i) = async { match &mut paced { Some(paced) => paced.recv().await, None => None } } => {
                    let at = due.as_ref().map(|due| due[i as usize]);
                    self.launch(flight, i, at, &mut bodies, clock)?;
                }
                Some(Ok(outcome)) = flight.tasks.join_next() => {
                    self.landed(flight, outcome)?;
                    if self.judged && flight.done.is_multiple_of(CHECK_EVERY) && self.sla.hopeless(&self.sample, n) {
                        flight.flying.extend((0..).zip(&bodies).filter(|(_, body)| body.is_some()).map(|(i, _)| i));
                        return Ok(Some(Stopped::Hopeless));
                    }
                    if paced.is_none() && (next as usize) < n {
                        self.launch(flight, next, None, &mut bodies, clock)?;
                        next += 1;
                    }
                }
                why = &mut stopped => return Ok(Some(why)),
            }
        }
        Ok(None)
    }

    fn launch(
        &mut self,
        flight: &mut Flight,
        i: u32,
        due: Option<Micros>,
        bodies: &mut [Option<Vec<u8>>],
        clock: Clock,
    ) -> Result<()> {
        let row = blank(&self.run.run_id, i, "measured", due, RequestStatus::Aborted);
        if self.run.load.cap.is_some_and(|cap| flight.flying.len() >= cap as usize) {
            flight.done += 1;
            let row = Request { status: RequestStatus::Dropped, ..row };
            return self.write(row);
        }
        let body = bodies[i as usize].take().unwrap_or_default();
        let (client, endpoint, limits) = (self.asker.client.clone(), self.asker.endpoint.clone(), self.limits);
        flight.flying.insert(i);
        flight.tasks.spawn_local(async move { send(&client, &endpoint, body, row, limits, clock).await });
        Ok(())
    }

    fn landed(&mut self, flight: &mut Flight, outcome: Outcome) -> Result<()> {
        let Outcome { mut row, gaps, token_gaps } = outcome;
        flight.flying.remove(&row.i);
        flight.done += 1;
        if let (Some(due), Some(sent)) = (row.due_us, row.sent_us) {
            flight.lags.push(sent.since(due).0);
        }
        if row.status == RequestStatus::Ok {
            flight.ok += 1;
            for gap in gaps {
                flight.gaps.saturating_record(gap);
            }
            match (&mut flight.token_gaps, token_gaps) {
                (Some(all), Some(gaps)) => gaps.into_iter().for_each(|gap| all.saturating_record(gap)),
                (all, None) => *all = None,
                (None, _) => {}
            }
        }
        if !self.full {
            row.chunk_us.clear();
        }
        let w = &self.run.workload;
        self.notice.progress(format!("{} {}/{} done, {} ok", w.scenario, flight.done, w.num_prompts, flight.ok));
        self.write(row)
    }

    /// A server may say in an error what it was sent, its key included.
    fn write(&mut self, mut row: Request) -> Result<()> {
        row.error = row.error.map(|error| self.redactor.redact(&error));
        if self.judged && row.phase == "measured" {
            self.sample.add(&row, self.sla);
        }
        self.out.write(&Row::new("request", &row))
    }

    fn end(
        &mut self,
        mut flight: Flight,
        heartbeat: &Heartbeat,
        now: Micros,
        ended: Option<Stopped>,
        server_metrics: Members,
    ) -> Result<bool> {
        flight.tasks.abort_all();
        for i in std::mem::take(&mut flight.flying) {
            let mut row = blank(&self.run.run_id, i, "measured", None, RequestStatus::Aborted);
            row.end_us = Some(now);
            self.write(row)?;
        }
        let client = health(&mut flight.lags, heartbeat, &self.run.load);
        let (status, class, reason) = match ended {
            Some(Stopped::Interrupted | Stopped::ReaderLeft) => {
                (Status::Failed, Some("interrupted"), Some(INTERRUPTED))
            }
            Some(Stopped::ServerLost) => (Status::Failed, Some("server_lost"), Some(SERVER_LOST)),
            Some(Stopped::Hopeless) => (Status::Ok, Some("hopeless"), Some(HOPELESS)),
            None if client.saturated => {
                let why =
                    "the client did not keep up with its schedule; give it a quieter machine or ask for less load";
                (Status::Ok, Some("client_saturated"), Some(why))
            }
            None => (Status::Ok, None, None),
        };
        let end = RunEnd {
            run_id: self.run.run_id.clone(),
            status,
            failure_class: class.map(String::from),
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
pub fn not_run(out: &mut Writer<File>, run: &Run, status: Status, class: &str, why: &str) -> Result<()> {
    out.write(&Row::new("run", run))?;
    let end = RunEnd {
        run_id: run.run_id.clone(),
        status,
        failure_class: Some(class.into()),
        failure_reason: Some(why.into()),
        duration_s: 0.0,
        client: ClientHealth::default(),
        histograms: Histograms::default(),
        server_metrics: Members::new(),
        ended_at: Timestamp::now().to_string(),
    };
    out.write(&Row::new("run_end", &end))
}
