//! The rows that bench-serve writes.

use std::time::Duration;

use jiff::Timestamp;

use super::failure::CandidateFailure;
use super::launch::Launch;
use super::start::ReadyServer;
use crate::base::redact;
use crate::engines::gpu::Gpu;
use crate::rows::kinds::{
    Artifacts, Candidate, GpuSummary, Hardware, Members, ProcessExit, Server, ServerAddress, ServerEnd, Status, Stop,
};
use crate::rows::row::Row;
use crate::rows::words::FailureClass;
use crate::system::process::proc::node;

/// Facts of a lease beside the server itself.
pub struct ServerFacts<'a> {
    /// Where clients reach it.
    pub endpoint: ServerAddress,
    /// Time left of `--budget`.
    pub budget_left: Option<Duration>,
    /// This is the first start of its model.
    pub cold: bool,
    /// Its GPUs.
    pub gpus: &'a [Gpu],
}

/// The candidate's row as the `server` row of a server that is ready.
pub fn server(mut row: Row, candidate: &Candidate, launch: &Launch, ready: &ReadyServer, facts: ServerFacts) -> Row {
    let ServerFacts { endpoint, budget_left, cold, gpus } = facts;
    let now = Timestamp::now();
    let mut artifacts = launch.artifacts.clone();
    artifacts.extend(ready.help.iter().map(|path| ("server_help".to_string(), path.display().to_string())));
    let server = Server {
        server_id: launch.server_id.clone(),
        candidate_id: candidate.candidate_id.clone(),
        endpoint,
        framework_version: ready.manifest.version.clone(),
        framework_commit: ready.manifest.commit.clone(),
        environment: ready.manifest.environment.clone(),
        ready_ms: Some((ready.ready.as_secs_f64() * 1e6).round() / 1e3),
        deadline: budget_left.and_then(|left| now.checked_add(left).ok()).map(|at| at.to_string()),
        hardware: hardware(candidate, gpus),
        artifacts,
        launched_argv: launch.redacted_argv(),
        cpus: launch.cpus.clone(),
        facts: ready.child.log.facts(),
        cold,
        start: launch.start,
        started_at: now.to_string(),
        simulated: candidate.simulated || ready.simulated,
    };
    row.set("record", "server");
    row.merge(&server);
    if let Some(command) = &launch.launch_command {
        row.set("launch_command", command.as_str());
    }
    row
}

/// The hardware that the plan names, completed by the GPUs that were found.
fn hardware(candidate: &Candidate, gpus: &[Gpu]) -> Hardware {
    let planned = Hardware::clone(&candidate.hardware);
    let first = gpus.first();
    Hardware {
        gpu_model: planned.gpu_model.or_else(|| first.map(|gpu| gpu.name.clone())),
        gpu_uuids: gpus.iter().map(|gpu| gpu.uuid.clone()).collect(),
        driver: planned.driver.or_else(|| first.and_then(|gpu| gpu.driver.clone())),
        node: Some(node()),
        ..planned
    }
}

/// The `server_end` of a server that was ready.
pub fn server_end(
    candidate: &Candidate,
    launch: &Launch,
    failed: Option<&CandidateFailure>,
    exit: Option<ProcessExit>,
    stop: Option<Stop>,
    (facts, gpu): (Members, Option<GpuSummary>),
) -> ServerEnd {
    ServerEnd {
        server_id: launch.server_id.clone(),
        candidate_id: candidate.candidate_id.clone(),
        status: failed.map_or(Status::Ok, |failed| failed.status),
        failure_class: failed.map(|failed| failed.class.clone()),
        failure_reason: failed.map(|failed| reason(launch, failed)),
        exit,
        stop,
        smoke: launch.smoke(),
        gpu,
        facts,
        lifecycle: launch.stages(),
        artifacts: launch.artifacts.clone(),
        node: Some(node()),
        ended_at: Timestamp::now().to_string(),
    }
}

/// The failure reason without secrets: it may quote the server.
pub fn reason(launch: &Launch, failed: &CandidateFailure) -> String {
    launch.redactor().redact(&failed.reason)
}

/// The `server_end` of a candidate that never became ready, on its whole row.
pub fn failed(
    row: Row,
    launch: Option<&Launch>,
    failed: &CandidateFailure,
    exit: Option<ProcessExit>,
    stop: Option<Stop>,
    facts: Members,
) -> Row {
    let candidate_id = row.str("candidate_id").unwrap_or_default().to_string();
    let end = ServerEnd {
        server_id: launch.map_or_else(|| format!("{candidate_id}-not-started"), |launch| launch.server_id.clone()),
        candidate_id,
        status: failed.status,
        failure_class: Some(failed.class.clone()),
        failure_reason: Some(match launch {
            Some(launch) => reason(launch, failed),
            None => redact::foreign(&failed.reason),
        }),
        exit,
        stop,
        smoke: launch.and_then(Launch::smoke),
        gpu: None,
        facts,
        lifecycle: launch.map(Launch::stages).unwrap_or_default(),
        artifacts: launch.map_or_else(Artifacts::new, |launch| launch.artifacts.clone()),
        node: Some(node()),
        ended_at: Timestamp::now().to_string(),
    };
    whole_end(row, &end)
}

/// A `server_end` on the whole candidate row, for a server without a `server` row.
pub fn whole_end(mut row: Row, end: &ServerEnd) -> Row {
    row.set("record", "server_end");
    row.merge(end);
    row
}

/// The row of a candidate that is skipped.
pub fn skipped(mut row: Row, class: FailureClass, reason: &str) -> Row {
    row.set("status", Status::Skipped.as_str());
    row.set("failure_class", class.as_str());
    row.set("failure_reason", reason);
    row
}
