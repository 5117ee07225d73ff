//! A ready server: lease it, watch it, stop it, check that its port and GPU memory are free again.

use std::time::{Duration, Instant};

use super::child::{Child, StoppedServer};
use super::diagnosis::{ServerDiagnosis, crashed};
use super::events::CandidateEvents;
use super::failure::{CandidateFailure, LeaseOutcome, NextStep};
use super::gpus::GpuSampler;
use super::launch::Launch;
use super::start::{ReadyServer, StartContext};
use super::supervisor::{HURRIED_GRACE, Supervisor};
use super::workers::Workers;
use super::{exec_per_server, rows, smoke};
use crate::base::error::{Context, Error, Result};
use crate::engines::framework::{Framework, ServerPhase};
use crate::engines::gpu::Gpu;
use crate::rows::kinds::{ServerAddress, ServerState, Status};
use crate::rows::row::Row;
use crate::rows::words::{FailureClass, StartKind};
use crate::system::lease::LeaseOffer;
use crate::system::process::{proc, reader_left};

/// How long to wait for a stopped server's port to be free.
const PORT_RELEASE: Duration = Duration::from_secs(60);

impl Supervisor<'_> {
    /// Writes the `server` row, waits until the server has been used, stops it, writes its `server_end`.
    pub(super) async fn lease(
        &mut self,
        events: &CandidateEvents<'_>,
        row: Row,
        StartContext { candidate, framework, gpus, .. }: StartContext<'_>,
        launch: &Launch,
        mut ready: ReadyServer,
    ) -> Result<NextStep> {
        let in_pipe = self.options.chain.is_empty() && !self.options.hold && !self.options.smoke;
        let offer = if in_pipe { Some(LeaseOffer::make()?) } else { None };
        let endpoint = ServerAddress {
            base_url: launch.base_url().to_string(),
            model_id: ready.model_id.clone(),
            lease: offer.as_ref().map(|offer| offer.path().display().to_string()),
            reached_by: launch.reached_by,
        };
        let budget_left = self.options.budget.map(|budget| budget.saturating_sub(self.begun.elapsed()));
        let cold = self.models_started.insert(candidate.model.clone());
        let facts = rows::ServerFacts { endpoint, budget_left, cold, gpus };
        let server_row = rows::server(row.clone(), candidate, launch, &ready, facts);
        launch.enter(ServerState::Ready, Some(self.options.lease_timeout));
        launch.has_served();
        events.ready(ready.ready, launch.start.map_or(cold, |start| start == StartKind::Cold));
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
        let outcome = self.in_use(offer, &server_row, (launch, framework), &mut ready.child, &mut ready.workers).await;
        let gpu = sampler.and_then(GpuSampler::stop);
        let mut failed = None;
        let mut grace = self.options.grace;
        let diagnosis = ServerDiagnosis::new(launch, &ready.patterns);
        let mut next = match outcome {
            LeaseOutcome::Done => {
                failed = diagnosis.dead_engine(&ready.child);
                NextStep::Continue
            }
            LeaseOutcome::Failed(why) => {
                failed = Some(why);
                NextStep::Continue
            }
            LeaseOutcome::Died => {
                failed = Some(diagnosis.running(&ready.child, FailureClass::ServerDied, ServerPhase::Ready));
                NextStep::Continue
            }
            LeaseOutcome::LostWorker(worker) => {
                failed = Some(diagnosis.lost_worker(&mut ready.child, &worker, ServerPhase::Ready).await);
                NextStep::Continue
            }
            LeaseOutcome::Ended(next) => {
                if let NextStep::Signal(_) = next {
                    grace = grace.min(HURRIED_GRACE);
                    failed = Some(CandidateFailure::new(
                        FailureClass::Interrupted,
                        "bench-serve was interrupted; rerun to resume",
                    ));
                }
                if let NextStep::Broken(error) = &next {
                    failed = Some(CandidateFailure::new(FailureClass::LeaseTimeout, error.to_string()));
                }
                next
            }
        };
        match &failed {
            Some(failed) if failed.status == Status::Oom => {
                self.tally.failed(candidate, failed);
            }
            _ => self.tally.good(candidate),
        }
        if failed.is_some() {
            launch.enter(ServerState::Failed, None);
        }
        launch.enter(ServerState::Stopping, Some(grace));
        let log = ready.child.log.clone();
        let pid = ready.child.server;
        let StoppedServer { mut stop, exit, unknown } = ready.child.stop(grace).await;
        // Its clients may have seen it crash, and returned the lease, before bench-serve did.
        if failed.is_none() && crashed(exit) {
            failed = Some(diagnosis.post_mortem(&log, (pid, exit), FailureClass::ServerDied, ServerPhase::Ready));
        }
        // A survivor never frees its port and memory: do not wait for them.
        if matches!(next, NextStep::Continue) && stop.survivors.is_empty() {
            stop.held = self.held(launch, gpus).await;
        }
        if let Some(unknown) = unknown {
            let why = format!("{unknown}; check there before you start anything else");
            failed = Some(CandidateFailure::new(FailureClass::RemoteUnknown, why));
        }
        // A survivor may hold a GPU or a port: no further server is started beside it.
        stop.held.extend(stop.survivors.clone());
        if stop.held.is_empty() {
            launch.enter(ServerState::Released, None);
        } else {
            let why = format!(
                "{} did not free in time: {}; no further server is started: find what holds it, then rerun",
                launch.server_id,
                stop.held.join(", ")
            );
            next = NextStep::Broken(Error::new(why));
        }
        if !stop.survivors.is_empty() {
            self.notice.warn(format!(
                "still running after the stop of {}: {}",
                launch.server_id,
                stop.survivors.join(", ")
            ));
        }
        if let Some(failed) = &failed {
            events.failed(&failed.class, &rows::reason(launch, failed), Some(launch));
            self.so_far.failed += u32::from(!failed.class.is_cut());
        }
        let end = rows::server_end(candidate, launch, failed.as_ref(), exit, Some(stop), (log.facts(), gpu));
        // A smoke test writes no server row, so its end is the whole candidate row.
        let end_row = if self.options.smoke { rows::whole_end(row, &end) } else { Row::new("server_end", &end) };
        self.smoke_failed |= self.options.smoke && failed.is_some();
        match self.out.write(&end_row) {
            Err(e) if e.is_reader_left() => Ok(NextStep::ReaderLeft),
            Err(e) => Err(e),
            Ok(()) => Ok(next),
        }
    }

    /// What a stopped server did not free in time: its port, the memory of its GPUs.
    async fn held(&self, launch: &Launch, gpus: &[Gpu]) -> Vec<String> {
        let mut held = Vec::new();
        let begun = Instant::now();
        while !launch.is_elsewhere() && !proc::port_is_free(launch.client_port) {
            if begun.elapsed() > PORT_RELEASE {
                held.push(format!("port {}", launch.client_port));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if let (Some(probe), false) = (&self.probe, gpus.is_empty())
            && let Err(gpus) = probe.released(gpus, self.options.release_timeout).await
        {
            held.extend(gpus);
        }
        held
    }

    /// Waits until the server is no longer needed.
    async fn in_use(
        &mut self,
        offer: Option<LeaseOffer>,
        row: &Row,
        (launch, framework): (&Launch, &Framework),
        child: &mut Child,
        workers: &mut Workers,
    ) -> LeaseOutcome {
        let guard = child.guard;
        // A clone of the descriptor: the chain may be writing while this waits.
        let watched = match self.out.sink().try_clone().context("cannot watch standard output") {
            Ok(watched) => watched,
            Err(e) => return LeaseOutcome::Ended(NextStep::Broken(e)),
        };
        let mark = child.mark();
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
                        Err(_) => LeaseOutcome::Ended(NextStep::Broken(lease_timeout(self.options.lease_timeout))),
                    }
                }
                None if self.options.smoke => {
                    launch.enter(ServerState::Leased, None);
                    let model = row.get("endpoint").and_then(|e| e["model_id"].as_str()).unwrap_or_default();
                    smoke::check(launch, framework, model, self.options.api_key.as_deref()).await
                }
                None if self.options.hold && self.options.chain.is_empty() => {
                    self.notice.say(format!("{} is ready; press Ctrl-C to stop it", launch.base_url()));
                    std::future::pending().await
                }
                None => {
                    launch.enter(ServerState::Leased, None);
                    exec_per_server::run(&self.options.chain, row, (launch, mark.clone()), &mut self.out, self.notice)
                        .await
                }
            }
        };
        tokio::select! {
            outcome = chained => outcome,
            () = reader_left(&watched) => LeaseOutcome::Ended(NextStep::ReaderLeft),
            _ = child.ended() => LeaseOutcome::Died,
            worker = workers.watch(guard) => LeaseOutcome::LostWorker(worker),
            signal = self.signals.next() => LeaseOutcome::Ended(NextStep::Signal(signal)),
        }
    }
}

fn lease_timeout(limit: Duration) -> Error {
    Error::new(format!(
        "no client took the server's lease within {} s: is bench-load next in the pipe? A filter in between that buffers \
         holds the row back: use `jq --unbuffered`, `grep --line-buffered`, `sed -u`, or filter before bench-serve",
        limit.as_secs()
    ))
}
