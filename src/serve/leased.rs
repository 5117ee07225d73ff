//! A ready server: lease it, watch it, stop it, see that everything was given back.

use std::time::{Duration, Instant};

use super::child::Child;
use super::diagnosis::crashed;
use super::gpus::GpuSampler;
use super::launch::Launch;
use super::start::{ReadyServer, StartContext};
use super::workers::Workers;
use super::{CandidateFailure, HURRIED_GRACE, NextStep, Supervisor, exec_per_server, rows, smoke};
use crate::base::error::{Context, Error, Result};
use crate::engines::framework::{Framework, ServerPhase};
use crate::engines::gpu::Gpu;
use crate::rows::kinds::{ServerAddress, ServerState, Status};
use crate::rows::row::Row;
use crate::rows::words::FailureClass;
use crate::system::lease::LeaseOffer;
use crate::system::process::guard::REMOTE_UNKNOWN;
use crate::system::process::{proc, reader_left};

/// How long a stopped server's port is waited for.
const PORT_RELEASE: Duration = Duration::from_secs(60);

impl Supervisor<'_> {
    /// Writes the `server` row, waits until the server has been used, stops it, writes its `server_end`.
    pub(super) async fn lease(
        &mut self,
        row: Row,
        StartContext { candidate, framework, gpus, .. }: StartContext<'_>,
        launch: &Launch,
        mut ready: ReadyServer,
    ) -> Result<NextStep> {
        let in_pipe = self.options.chain.is_empty() && !self.options.hold && !self.options.smoke;
        let offer = if in_pipe { Some(LeaseOffer::make()?) } else { None };
        let endpoint = ServerAddress {
            base_url: launch.base_url.clone(),
            model_id: ready.model_id.clone(),
            lease: offer.as_ref().map(|offer| offer.path().display().to_string()),
            reached_by: launch.reached_by,
        };
        let deadline = self.options.budget.map(|budget| budget.saturating_sub(self.begun.elapsed()));
        let cold = self.started.insert(candidate.model.clone());
        let known = rows::ServerFacts { endpoint, left: deadline, cold, gpus };
        let server_row = rows::server(row.clone(), candidate, launch, &ready, known);
        launch.enter(ServerState::Ready, Some(self.options.lease_timeout));
        self.notice.clear();
        let written = if self.options.smoke { Ok(()) } else { self.out.write(&server_row) };
        if let Err(e) = written {
            ready.child.stop(self.options.grace).await;
            return if e.is_reader_left() { Ok(NextStep::ReaderLeft) } else { Err(e) };
        }
        let sampler = match &self.probe {
            Some(probe) if !gpus.is_empty() => {
                Some(GpuSampler::start(probe.clone(), gpus.to_vec(), &launch.folder().join("gpu.jsonl")))
            }
            _ => None,
        };
        let outcome = self.used(offer, &server_row, (launch, framework), &mut ready.child, &mut ready.workers).await;
        let gpu = sampler.and_then(GpuSampler::stop);
        let mut failed = None;
        let mut grace = self.options.grace;
        let mut after = match outcome {
            LeaseOutcome::Done => {
                failed = launch.dead_engine(&ready.child, &ready.patterns);
                NextStep::GoOn
            }
            LeaseOutcome::Failed(why) => {
                failed = Some(why);
                NextStep::GoOn
            }
            LeaseOutcome::Died => {
                failed =
                    Some(launch.diagnosis(&ready.child, &ready.patterns, FailureClass::ServerDied, ServerPhase::Ready));
                NextStep::GoOn
            }
            LeaseOutcome::LostWorker(worker) => {
                failed = Some(launch.lost_worker(&mut ready.child, &ready.patterns, &worker, ServerPhase::Ready).await);
                NextStep::GoOn
            }
            LeaseOutcome::Ended(after) => {
                if let NextStep::Signal(_) = after {
                    grace = grace.min(HURRIED_GRACE);
                    failed = Some(CandidateFailure::of(
                        FailureClass::Interrupted,
                        "bench-serve was interrupted; run it again to go on".into(),
                    ));
                }
                if let NextStep::Broken(error) = &after {
                    failed = Some(CandidateFailure::of(FailureClass::LeaseTimeout, error.to_string()));
                }
                after
            }
        };
        match &failed {
            Some(failed) if failed.status == Status::Oom => {
                self.tally.failed(&candidate.framework, candidate.server.flags.clone(), failed);
            }
            _ => self.tally.good(candidate),
        }
        if failed.is_some() {
            launch.enter(ServerState::Failed, None);
        }
        launch.enter(ServerState::Stopping, Some(grace));
        let log = ready.child.log.clone();
        let (mut stop, exit) = ready.child.stop(grace).await;
        // Its clients may have seen it crash, and given it back, before we did.
        if failed.is_none() && crashed(exit) {
            failed =
                Some(launch.post_mortem(&log, exit, &ready.patterns, FailureClass::ServerDied, ServerPhase::Ready));
        }
        // Beside a survivor there is nothing to wait for.
        if matches!(after, NextStep::GoOn) && stop.survivors.is_empty() {
            stop.held = self.held(launch, gpus).await;
        }
        if let Some(unknown) = stop.survivors.iter().find(|s| s.starts_with(REMOTE_UNKNOWN)) {
            failed = Some(CandidateFailure::of(
                FailureClass::RemoteUnknown,
                format!("{unknown}; look there before anything else is started"),
            ));
        }
        // Whoever is still there may hold a GPU or a port: nothing more is started beside it.
        stop.held.extend(stop.survivors.clone());
        if stop.held.is_empty() {
            launch.enter(ServerState::Released, None);
        } else {
            let why = format!(
                "{} did not give back in time: {}; nothing more is started: see who holds it, then run again",
                launch.server_id,
                stop.held.join(", ")
            );
            after = NextStep::Broken(Error::new(why));
        }
        if !stop.survivors.is_empty() {
            self.notice.warn(format!(
                "still there after the stop of {}: {}",
                launch.server_id,
                stop.survivors.join(", ")
            ));
        }
        let end = rows::server_end(candidate, launch, failed.as_ref(), exit, Some(stop), (log.facts(), gpu));
        // Nobody has seen a server row of a flow check: its end says it all.
        let end_row = if self.options.smoke { rows::whole_end(row, &end) } else { Row::new("server_end", &end) };
        self.smoke_failed |= self.options.smoke && failed.is_some();
        match self.out.write(&end_row) {
            Err(e) if e.is_reader_left() => Ok(NextStep::ReaderLeft),
            Err(e) => Err(e),
            Ok(()) => Ok(after),
        }
    }

    /// What a stopped server did not give back: its port, the memory of its GPUs.
    async fn held(&self, launch: &Launch, gpus: &[Gpu]) -> Vec<String> {
        let mut held = Vec::new();
        let begun = Instant::now();
        while !proc::port_is_free(launch.client_port) {
            if begun.elapsed() > PORT_RELEASE {
                held.push(format!("port {}", launch.client_port));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if let (Some(probe), false) = (&self.probe, gpus.is_empty())
            && let Err(more) = probe.released(gpus, self.options.release_timeout).await
        {
            held.extend(more);
        }
        held
    }

    /// Waits until the server is not needed any more.
    async fn used(
        &mut self,
        offer: Option<LeaseOffer>,
        row: &Row,
        (launch, framework): (&Launch, &Framework),
        child: &mut Child,
        workers: &mut Workers,
    ) -> LeaseOutcome {
        let guard = child.guard;
        // A clone of the descriptor: the chain may be writing while we watch.
        let watched = match self.out.sink().try_clone().context("cannot watch standard output") {
            Ok(watched) => watched,
            Err(e) => return LeaseOutcome::Ended(NextStep::Broken(e)),
        };
        let chained = async {
            match offer {
                Some(offer) => {
                    match tokio::time::timeout(self.options.lease_timeout, offer.wait_for_holders(self.options.holders))
                        .await
                    {
                        Ok(Ok(mut lent)) => {
                            launch.enter(ServerState::Leased, None);
                            lent.wait_for_release().await;
                            LeaseOutcome::Done
                        }
                        Ok(Err(e)) => LeaseOutcome::Ended(NextStep::Broken(e)),
                        Err(_) => LeaseOutcome::Ended(NextStep::Broken(not_taken(self.options.lease_timeout))),
                    }
                }
                None if self.options.smoke => {
                    launch.enter(ServerState::Leased, None);
                    let model = row.get("endpoint").and_then(|e| e["model_id"].as_str()).unwrap_or_default();
                    smoke::check(launch, framework, model, self.options.api_key.as_deref()).await
                }
                None if self.options.hold && self.options.chain.is_empty() => {
                    self.notice.say(format!("{} is ready; Ctrl-C stops it", launch.base_url));
                    std::future::pending().await
                }
                None => {
                    launch.enter(ServerState::Leased, None);
                    exec_per_server::run(&self.options.chain, row, launch, &mut self.out, self.notice).await
                }
            }
        };
        tokio::select! {
            used = chained => used,
            () = reader_left(&watched) => LeaseOutcome::Ended(NextStep::ReaderLeft),
            _ = child.ended() => LeaseOutcome::Died,
            worker = workers.watch(guard) => LeaseOutcome::LostWorker(worker),
            signal = self.signals.next() => LeaseOutcome::Ended(NextStep::Signal(signal)),
        }
    }
}

/// How the use of a server ended.
pub(super) enum LeaseOutcome {
    Done,
    Died,
    LostWorker(String),
    Failed(CandidateFailure),
    Ended(NextStep),
}

fn not_taken(limit: Duration) -> Error {
    Error::new(format!(
        "nobody took the server's lease within {} s: is bench-load next in the pipe? A filter in between that buffers \
         holds the row back: use `jq --unbuffered`, `grep --line-buffered`, `sed -u`, or filter before bench-serve",
        limit.as_secs()
    ))
}
