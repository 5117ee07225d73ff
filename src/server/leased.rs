//! A ready server: lease it, watch it, stop it, see that everything was given back.

use std::time::{Duration, Instant};

use super::child::Child;
use super::diagnosis::crashed;
use super::gpus::Sampler;
use super::launch::Launch;
use super::start::{About, Ready};
use super::workers::Workers;
use super::{After, Failed, HURRIED_GRACE, Serving, chain, rows, smoke};
use crate::error::{Context, Error, Result};
use crate::framework::{Framework, Phase};
use crate::gpu::Gpu;
use crate::lease::Offer;
use crate::process::guard::REMOTE_UNKNOWN;
use crate::process::{proc, reader_left};
use crate::row::Row;
use crate::schema::{Endpoint, State, Status};

/// How long a stopped server's port is waited for.
const PORT_RELEASE: Duration = Duration::from_secs(60);

impl Serving<'_> {
    /// Writes the `server` row, waits until the server has been used, stops it, writes its `server_end`.
    pub(super) async fn lease(
        &mut self,
        row: Row,
        About { candidate, framework, gpus, .. }: About<'_>,
        launch: &Launch,
        mut ready: Ready,
    ) -> Result<After> {
        let in_pipe = self.options.chain.is_empty() && !self.options.hold && !self.options.smoke;
        let offer = if in_pipe { Some(Offer::make()?) } else { None };
        let endpoint = Endpoint {
            base_url: launch.base_url.clone(),
            model_id: ready.model_id.clone(),
            lease: offer.as_ref().map(|offer| offer.path().display().to_string()),
            reached_by: launch.reached_by.clone(),
        };
        let deadline = self.options.budget.map(|budget| budget.saturating_sub(self.begun.elapsed()));
        let cold = self.started.insert(candidate.model.clone());
        let known = rows::Known { endpoint, left: deadline, cold, gpus };
        let server_row = rows::server(row.clone(), candidate, launch, &ready, known);
        launch.enter(State::Ready, Some(self.options.lease_timeout));
        self.notice.clear();
        let written = if self.options.smoke { Ok(()) } else { self.out.write(&server_row) };
        if let Err(e) = written {
            ready.child.stop(self.options.grace).await;
            return if e.is_reader_left() { Ok(After::ReaderLeft) } else { Err(e) };
        }
        let sampler = match &self.probe {
            Some(probe) if !gpus.is_empty() => {
                Some(Sampler::start(probe.clone(), gpus.to_vec(), &launch.folder().join("gpu.jsonl")))
            }
            _ => None,
        };
        let outcome = self.used(offer, &server_row, (launch, framework), &mut ready.child, &mut ready.workers).await;
        let gpu = sampler.and_then(Sampler::stop);
        let mut failed = None;
        let mut grace = self.options.grace;
        let mut after = match outcome {
            Used::Done => {
                failed = launch.dead_engine(&ready.child, &ready.patterns);
                After::GoOn
            }
            Used::Failed(why) => {
                failed = Some(why);
                After::GoOn
            }
            Used::Died => {
                failed = Some(launch.diagnosis(&ready.child, &ready.patterns, "server_died", Phase::Ready));
                After::GoOn
            }
            Used::LostWorker(worker) => {
                failed = Some(launch.lost_worker(&mut ready.child, &ready.patterns, &worker, Phase::Ready).await);
                After::GoOn
            }
            Used::Ended(after) => {
                if let After::Signal(_) = after {
                    grace = grace.min(HURRIED_GRACE);
                    failed =
                        Some(Failed::of("interrupted", "bench-serve was interrupted; run it again to go on".into()));
                }
                if let After::Broken(error) = &after {
                    failed = Some(Failed::of("lease_timeout", error.to_string()));
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
            launch.enter(State::Failed, None);
        }
        launch.enter(State::Stopping, Some(grace));
        let log = ready.child.log.clone();
        let (mut stop, exit) = ready.child.stop(grace).await;
        // Its clients may have seen it crash, and given it back, before we did.
        if failed.is_none() && crashed(exit) {
            failed = Some(launch.post_mortem(&log, exit, &ready.patterns, "server_died", Phase::Ready));
        }
        // Beside a survivor there is nothing to wait for.
        if matches!(after, After::GoOn) && stop.survivors.is_empty() {
            stop.held = self.held(launch, gpus).await;
        }
        if let Some(unknown) = stop.survivors.iter().find(|s| s.starts_with(REMOTE_UNKNOWN)) {
            failed = Some(Failed::of(REMOTE_UNKNOWN, format!("{unknown}; look there before anything else is started")));
        }
        // Whoever is still there may hold a GPU or a port: nothing more is started beside it.
        stop.held.extend(stop.survivors.clone());
        if stop.held.is_empty() {
            launch.enter(State::Released, None);
        } else {
            let why = format!(
                "{} did not give back in time: {}; nothing more is started: see who holds it, then run again",
                launch.server_id,
                stop.held.join(", ")
            );
            after = After::Broken(Error::new(why));
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
            Err(e) if e.is_reader_left() => Ok(After::ReaderLeft),
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
        offer: Option<Offer>,
        row: &Row,
        (launch, framework): (&Launch, &Framework),
        child: &mut Child,
        workers: &mut Workers,
    ) -> Used {
        let guard = child.guard;
        // A clone of the descriptor: the chain may be writing while we watch.
        let watched = match self.out.sink().try_clone().context("cannot watch standard output") {
            Ok(watched) => watched,
            Err(e) => return Used::Ended(After::Broken(e)),
        };
        let chained = async {
            match offer {
                Some(offer) => {
                    match tokio::time::timeout(self.options.lease_timeout, offer.taken(self.options.holders)).await {
                        Ok(Ok(mut lent)) => {
                            launch.enter(State::Leased, None);
                            lent.given_back().await;
                            Used::Done
                        }
                        Ok(Err(e)) => Used::Ended(After::Broken(e)),
                        Err(_) => Used::Ended(After::Broken(not_taken(self.options.lease_timeout))),
                    }
                }
                None if self.options.smoke => {
                    launch.enter(State::Leased, None);
                    let model = row.get("endpoint").and_then(|e| e["model_id"].as_str()).unwrap_or_default();
                    smoke::check(launch, framework, model, self.options.api_key.as_deref()).await
                }
                None if self.options.hold && self.options.chain.is_empty() => {
                    self.notice.say(format!("{} is ready; Ctrl-C stops it", launch.base_url));
                    std::future::pending().await
                }
                None => {
                    launch.enter(State::Leased, None);
                    chain::run(&self.options.chain, row, launch, &mut self.out, self.notice).await
                }
            }
        };
        tokio::select! {
            used = chained => used,
            () = reader_left(&watched) => Used::Ended(After::ReaderLeft),
            _ = child.ended() => Used::Died,
            worker = workers.watch(guard) => Used::LostWorker(worker),
            signal = self.signals.next() => Used::Ended(After::Signal(signal)),
        }
    }
}

/// How the use of a server ended.
pub(super) enum Used {
    Done,
    Died,
    LostWorker(String),
    Failed(Failed),
    Ended(After),
}

fn not_taken(limit: Duration) -> Error {
    Error::new(format!(
        "nobody took the server's lease within {} s: is bench-load next in the pipe? A filter in between that buffers \
         holds the row back: use `jq --unbuffered`, `grep --line-buffered`, `sed -u`, or filter before bench-serve",
        limit.as_secs()
    ))
}
