//! From a start to a ready server, or to the reason why there is none.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::child::Child;
use super::diagnosis::LogCheck;
use super::launch::Launch;
use super::log::{LogFiles, ServerLog};
use super::manifest::Manifest;
use super::probe::ProbeResult;
use super::workers::Workers;
use super::{CandidateFailure, NextStep, ServeOptions, manifest, probe};
use crate::base::error::Result;
use crate::engines::diagnose::{FailurePatterns, LogFacts};
use crate::engines::framework::{Framework, ServerPhase};
use crate::engines::gpu::Gpu;
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::{Candidate, ServerState, Status};
use crate::rows::words::FailureClass;
use crate::system::http::{ClientOptions, HttpClient};

/// The shortest and the longest time between two probes.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// How much longer than the start itself help may take to be printed: nothing else runs beside a leased server.
const HELP_REST: Duration = Duration::from_secs(30);

/// What is started.
#[derive(Debug, Clone, Copy)]
pub struct StartContext<'a> {
    /// The candidate.
    pub candidate: &'a Candidate,
    /// Its framework.
    pub framework: &'a Framework,
    /// Its GPUs.
    pub gpus: &'a [Gpu],
    /// Nobody has saved the framework's help yet.
    pub help: bool,
}

/// A server that is ready.
#[derive(Debug)]
pub struct ReadyServer {
    /// The server.
    pub child: Child,
    /// From exec to ready.
    pub ready: Duration,
    /// The model's id as listed.
    pub model_id: String,
    /// The server says that it simulates.
    pub simulated: bool,
    /// What exactly it is.
    pub manifest: Manifest,
    /// What the framework's help says, where it was captured.
    pub help: Option<PathBuf>,
    /// What its log may tell.
    pub patterns: FailurePatterns,
    /// Its workers, as far as they were seen.
    pub workers: Workers,
}

/// Why this is not the version that the candidate's flags were checked for: its results would be filed under another's.
fn other_version(candidate: &Candidate, manifest: &Manifest) -> Option<String> {
    let (checked, real) = (candidate.version.as_deref()?, manifest.version.as_deref()?);
    let differ = FrameworkVersion::parse(checked)? != FrameworkVersion::parse(real)?;
    differ.then(|| {
        format!("the server is version {real}, and its flags were checked for {checked}: capture the help again (bench-validate --capture-help)")
    })
}

impl Launch {
    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// Why it never became ready; what was started is stopped by the caller, through [`CandidateFailure::child`].
    pub async fn ready(
        &self,
        about: StartContext<'_>,
        options: &ServeOptions,
        interrupted: impl Future<Output = NextStep>,
    ) -> Result<ReadyServer, CandidateFailure> {
        let StartContext { candidate, framework, gpus, .. } = about;
        let capturing = async { if about.help { self.capture_help().await } else { None } };
        tokio::pin!(interrupted, capturing);
        let mut help = None;
        let limit = options.ready_timeout.unwrap_or(Duration::from_secs(framework.probe.ready_timeout_s));
        let started = Instant::now();
        self.remove_leftovers().await;
        // What was started is told even if nothing comes of it.
        self.write_manifest(candidate, &Manifest::default(), gpus)
            .map_err(|e| CandidateFailure::of(FailureClass::NotStarted, e.to_string()))?;
        // They take some milliseconds to compile: meanwhile the server starts.
        let failures = framework.failures.clone();
        let compiling = tokio::task::spawn_blocking(move || FailurePatterns::new(&failures));
        self.enter(ServerState::Starting, Some(limit));
        let mut child = self.start(framework, options).await.map_err(|e| {
            CandidateFailure::of(
                FailureClass::NotStarted,
                format!("{e}; is {} installed and on the PATH?", framework.title),
            )
        })?;
        self.enter(ServerState::Probing, Some(limit));
        let patterns = match compiling.await {
            Ok(Ok(patterns)) => patterns,
            Ok(Err(e)) => {
                let failed = CandidateFailure::of(FailureClass::NotStarted, e.to_string());
                return Err(CandidateFailure { child: Some(Box::new(child)), ..failed });
            }
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        };
        let client =
            HttpClient::new(&self.base_url, &ClientOptions::single(Duration::from_secs(5), options.api_key.as_deref()))
                .map_err(|e| CandidateFailure::of(FailureClass::NotStarted, e.to_string()))?;
        let guard = child.guard;
        // Whoever listens for a server elsewhere need not be of our family: its launcher answers for it.
        let family = self.ways.is_here.then_some(guard);
        let mut workers = Workers::new(&framework.workers)
            .map_err(|e| CandidateFailure::of(FailureClass::NotStarted, e.to_string()))?;
        let mut looked = LogCheck { lines: 0, at: started };
        let failed = loop {
            let probing = probe::probe(&client, framework, &candidate.model, self.port, family);
            tokio::pin!(probing);
            let found = loop {
                tokio::select! {
                biased;
                _ = child.ended() => break Err(self.died(&mut child, &patterns).await),
                after = &mut interrupted => {
                    let why = "bench-serve was interrupted while the server started; run it again".to_string();
                    break Err(CandidateFailure { after: Some(Box::new(after)), ..CandidateFailure::of(FailureClass::Interrupted, why) });
                }
                captured = &mut capturing, if help.is_none() => {
                    help = Some(captured);
                }
                found = &mut probing => break Ok(found),
                }
            };
            let found = match found {
                Ok(found) => found,
                Err(failed) => break failed,
            };
            let last = match found {
                ProbeResult::Ready { model_id, simulated } => {
                    let ready = started.elapsed();
                    let help = match help {
                        Some(captured) => captured,
                        None => tokio::time::timeout(HELP_REST, capturing).await.ok().flatten(),
                    };
                    let manifest = manifest::collect(self, candidate, framework, &client, gpus).await;
                    if let Err(e) = self.write_manifest(candidate, &manifest, gpus) {
                        break CandidateFailure::of(FailureClass::NotStarted, e.to_string());
                    }
                    if let Some(why) = other_version(candidate, &manifest) {
                        break CandidateFailure::of(FailureClass::VersionChanged, why);
                    }
                    return Ok(ReadyServer { child, ready, model_id, simulated, manifest, help, patterns, workers });
                }
                ProbeResult::WrongModel { listed } => {
                    let why = format!(
                        "the server lists {} and not {:?}; give the served model's name",
                        listed.join(", "),
                        candidate.model
                    );
                    break CandidateFailure::of(FailureClass::WrongModel, why);
                }
                ProbeResult::Stranger { owner } => {
                    let why =
                        format!("port {} is answered by {owner}, which is not the server that was started", self.port);
                    break CandidateFailure::of(FailureClass::PortInUse, why);
                }
                ProbeResult::NotYet(why) => why,
            };
            if started.elapsed() > limit {
                let why = format!(
                    "not ready after {} s: {last}; see {} or give --ready-timeout",
                    limit.as_secs(),
                    self.log.display()
                );
                break CandidateFailure {
                    status: Status::Timeout,
                    ..CandidateFailure::of(FailureClass::NotReady, why)
                };
            }
            if let Some(failed) = self.fatal(&mut child, &patterns, &mut looked).await {
                break failed;
            }
            if let Some(worker) = workers.lost(guard) {
                break self.lost_worker(&mut child, &patterns, &worker, ServerPhase::Starting).await;
            }
            // As exact as a hundredth of the time so far: a start of minutes is not asked for forty times a second.
            tokio::time::sleep((started.elapsed() / 100).clamp(PROBE_EVERY.0, PROBE_EVERY.1)).await;
        };
        Err(CandidateFailure { child: Some(Box::new(child)), ..failed })
    }

    async fn start(&self, framework: &Framework, options: &ServeOptions) -> Result<Child> {
        let log = ServerLog::new(LogFacts::new(&framework.facts)?);
        let files = LogFiles::create(&self.log, options.log_limit)?;
        Child::start(&self.argv, &self.ways.outside, &self.environment, files, self.redactor().clone(), log).await
    }
}
