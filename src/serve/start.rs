//! From a start to a ready server, or to the reason why it did not become ready.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::child::Child;
use super::diagnosis::{LogCheck, ServerDiagnosis};
use super::events::CandidateEvents;
use super::failure::{CandidateFailure, NextStep};
use super::launch::Launch;
use super::log::{LogFiles, ServerLog};
use super::manifest::{Manifest, capture_help};
use super::options::ServeOptions;
use super::probe;
use super::probe::ProbeResult;
use super::workers::Workers;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::engines::diagnose::{FailurePatterns, LogFacts};
use crate::engines::framework::{Framework, ServerPhase};
use crate::engines::gpu::Gpu;
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::{Candidate, ServerState};
use crate::rows::words::FailureClass;
use crate::system::http::{ClientOptions, HttpClient};
use crate::system::process::image;

/// The shortest and the longest time between two probes.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// How long to wait for the captured help once the server is ready: nothing else may run beside a leased server.
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
    /// Capture the framework's help beside this start.
    pub capture_help: bool,
    /// Tells that it is still starting.
    pub events: &'a CandidateEvents<'a>,
    /// Shows the progress of a pull.
    pub notice: &'a Notice,
}

/// A server that is ready.
#[derive(Debug)]
pub struct ReadyServer {
    /// The server.
    pub child: Child,
    /// Time from exec to ready.
    pub ready: Duration,
    /// The model's id as listed.
    pub model_id: String,
    /// The server reports that it is a simulation.
    pub simulated: bool,
    /// Versions and environment.
    pub manifest: Manifest,
    /// The file of the framework's help, if it was captured.
    pub help: Option<PathBuf>,
    /// Patterns that explain a failure from its log.
    pub patterns: FailurePatterns,
    /// Its worker processes, as far as seen.
    pub workers: Workers,
}

/// A server that did not become ready.
#[derive(Debug)]
pub struct FailedStart {
    /// Why.
    pub failure: CandidateFailure,
    /// What was started and has not been stopped yet.
    pub child: Option<Box<Child>>,
    /// What to do afterwards.
    pub next: NextStep,
}

impl From<CandidateFailure> for FailedStart {
    fn from(failure: CandidateFailure) -> Self {
        Self { failure, child: None, next: NextStep::Continue }
    }
}

/// Whether the server has another version than the one that the candidate's flags were checked for, under which its results
/// would be filed.
fn version_mismatch(candidate: &Candidate, manifest: &Manifest) -> Option<String> {
    let (checked, running) = (candidate.version.as_deref()?, manifest.version.as_deref()?);
    let differ = FrameworkVersion::parse(checked)? != FrameworkVersion::parse(running)?;
    differ.then(|| {
        format!("the server is version {running}, but its flags were checked for version {checked}: capture the help again (bench-validate --capture-help)")
    })
}

/// Starts the server and waits until it is ready.
///
/// # Errors
/// Why it did not become ready; the caller stops [`FailedStart::child`].
pub(super) async fn until_ready(
    launch: &Launch,
    context: StartContext<'_>,
    options: &ServeOptions,
    interrupted: impl Future<Output = NextStep>,
) -> Result<ReadyServer, FailedStart> {
    let StartContext { candidate, framework, gpus, .. } = context;
    let capturing = async { if context.capture_help { capture_help(launch).await } else { None } };
    tokio::pin!(interrupted, capturing);
    let mut help = None;
    for one in &launch.commands.images {
        tokio::select! {
            biased;
            step = &mut interrupted => {
                let why = "bench-serve was interrupted while an image was pulled; rerun to resume";
                let failure = CandidateFailure::new(FailureClass::Interrupted, why);
                return Err(FailedStart { next: step, ..failure.into() });
            }
            pulled = image::ensured(one, context.notice) => {
                pulled.map_err(CandidateFailure::from)?;
            }
        }
    }
    let limit = options.ready_timeout.unwrap_or(Duration::from_secs(framework.probe.ready_timeout_s));
    let started = Instant::now();
    let not_started = CandidateFailure::from;
    launch.commands.remove_leftovers(context.notice).await;
    // Written before the start, so that a failed start has a manifest too.
    Manifest::default().write(launch, candidate, gpus).map_err(not_started)?;
    // Compiling takes some milliseconds: meanwhile the server starts.
    let failures = framework.failures.clone();
    let compiling = tokio::task::spawn_blocking(move || FailurePatterns::new(&failures));
    launch.enter(ServerState::Starting, Some(limit));
    let mut child = start(launch, framework, options).await.map_err(|e| {
        let failure = CandidateFailure::from(e);
        let hint = match failure.class {
            FailureClass::DiskFull => "free some space".into(),
            _ => format!("is {} installed and on the PATH?", framework.title),
        };
        CandidateFailure { reason: format!("{}; {hint}", failure.reason), ..failure }
    })?;
    launch.enter(ServerState::Probing, Some(limit));
    let patterns = match compiling.await {
        Ok(Ok(patterns)) => patterns,
        Ok(Err(e)) => {
            return Err(FailedStart { child: Some(Box::new(child)), ..not_started(e).into() });
        }
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    };
    let settings = ClientOptions::single(Duration::from_secs(5), options.api_key.as_deref());
    let reached: OnceCell<HttpClient> = OnceCell::new();
    let guard = child.guard;
    // A server on another host does not descend from this guard: its launcher vouches for it.
    let ancestor = launch.commands.is_here.then_some(guard);
    let mut workers = Workers::new(&framework.workers).map_err(not_started)?;
    let diagnosis = ServerDiagnosis::new(launch, &patterns);
    let mut last_check = LogCheck { lines: 0, at: started };
    let mut next = NextStep::Continue;
    let failure = loop {
        let probing = async {
            let client = match (reached.get(), launch.locate().await) {
                (Some(client), _) => client,
                (None, Ok(url)) => match HttpClient::new(url, &settings) {
                    Ok(client) => reached.get_or_init(|| client),
                    Err(e) => return ProbeResult::NotYet(e.to_string()),
                },
                (None, Err(why)) => return ProbeResult::NotYet(why),
            };
            probe::probe(client, framework, candidate.served_name(), launch.port, ancestor).await
        };
        tokio::pin!(probing);
        let found = loop {
            tokio::select! {
                biased;
                _ = child.ended() => break Err(diagnosis.died_while_starting(&child).await),
                step = &mut interrupted => {
                    next = step;
                    let why = "bench-serve was interrupted while the server was starting; rerun to resume";
                    break Err(CandidateFailure::new(FailureClass::Interrupted, why));
                }
                captured = &mut capturing, if help.is_none() => {
                    help = Some(captured);
                }
                found = &mut probing => break Ok(found),
            }
        };
        let found = match found {
            Ok(found) => found,
            Err(failure) => break failure,
        };
        let last = match found {
            ProbeResult::Ready { model_id, simulated } => {
                let ready = started.elapsed();
                let help = match help {
                    Some(captured) => captured,
                    None => tokio::time::timeout(HELP_REST, capturing).await.ok().flatten(),
                };
                let Some(client) = reached.get() else { break not_started(Error::new("nothing was probed")) };
                let manifest = Manifest::collect(launch, candidate, framework, client, gpus).await;
                if let Err(e) = manifest.write(launch, candidate, gpus) {
                    break not_started(e);
                }
                if let Some(why) = version_mismatch(candidate, &manifest) {
                    break CandidateFailure::new(FailureClass::VersionChanged, why);
                }
                return Ok(ReadyServer { child, ready, model_id, simulated, manifest, help, patterns, workers });
            }
            ProbeResult::WrongModel { listed } => {
                let why = format!(
                    "the server lists {}, not {:?}: write its name as served_model_name in base_server_flags",
                    listed.join(", "),
                    candidate.served_name()
                );
                break CandidateFailure::new(FailureClass::WrongModel, why);
            }
            ProbeResult::OtherProcess { owner } => {
                let why = format!("{owner} listens on port {}, and it is not the server that was started", launch.port);
                break CandidateFailure::new(FailureClass::PortInUse, why);
            }
            ProbeResult::NotYet(why) => why,
        };
        if started.elapsed() > limit {
            break diagnosis.not_ready(&child, limit, &last);
        }
        if let Some(failure) = diagnosis.fatal_line(&mut child, &mut last_check).await {
            break failure;
        }
        if let Some(worker) = workers.lost(guard) {
            break diagnosis.lost_worker(&mut child, &worker, ServerPhase::Starting).await;
        }
        context.events.moving();
        // To within a hundredth of the time so far: a start of minutes needs no probe every few milliseconds.
        tokio::time::sleep((started.elapsed() / 100).clamp(PROBE_EVERY.0, PROBE_EVERY.1)).await;
    };
    Err(FailedStart { failure, child: Some(Box::new(child)), next })
}

async fn start(launch: &Launch, framework: &Framework, options: &ServeOptions) -> Result<Child> {
    let log = ServerLog::new(LogFacts::new(&framework.facts)?, launch.ranks.clone());
    let files = LogFiles::create(&launch.log, options.log_limit)?;
    let redactor = launch.redactor().clone();
    Child::start(&launch.argv, &launch.commands.outside, &launch.environment, files, redactor, log).await
}
