//! The bench-load command that repeats a run.

use serde_json::Value;

use crate::rows::kinds::{Candidate, Load, LoadMode, Scenario, ServerAddress};

/// The bench-load command that repeats one run. For a leased server its URL has the port of the deploy command (`port`).
#[must_use]
pub fn command(
    candidate: &Candidate,
    endpoint: &ServerAddress,
    port: Option<u16>,
    scenario: &Scenario,
    load: &Load,
) -> Vec<String> {
    let bench = &candidate.benchmark;
    let url = match port {
        Some(port) if endpoint.lease.is_some() => format!("http://127.0.0.1:{port}"),
        _ => endpoint.base_url.clone(),
    };
    let mut argv: Vec<String> = vec!["bench-load".into(), "--url".into(), url];
    let mut flag = |name: &str, value: String| argv.extend([name.to_string(), value]);
    flag("--model", endpoint.model_id.clone());
    flag("--endpoint", bench.endpoint.to_string());
    flag("--framework", candidate.server.definition.clone());
    scenario.flags().into_iter().for_each(|(name, value)| flag(name, value));
    flag("--num-prompts", bench.num_prompts.to_string());
    match bench.warmup_s {
        Some(seconds) => flag("--warmup-s", seconds.to_string()),
        None => flag("--warmup", bench.warmup_requests.to_string()),
    }
    flag("--seed", bench.seed.to_string());
    if !bench.extra_request_body.is_empty() {
        flag("--extra-body", Value::Object(bench.extra_request_body.clone()).to_string());
    }
    if let Some(arrivals) = &load.arrivals {
        flag("--arrivals", arrivals.to_string());
    }
    match load.mode {
        LoadMode::Open => load.rate.iter().for_each(|rate| flag("--rate", rate.to_string())),
        LoadMode::Closed => load.concurrency.iter().for_each(|n| flag("--concurrency", n.to_string())),
        // A switch, see below.
        LoadMode::Burst => {}
    }
    if let Some(cap) = load.cap {
        flag("--cap", cap.to_string());
    }
    for (name, value) in &bench.headers {
        flag("--header", format!("{name}: {value}"));
    }
    let switches = [
        (load.mode == LoadMode::Burst, "--burst"),
        (!bench.ignore_eos, "--no-ignore-eos"),
        (bench.whole_answers, "--no-stream"),
        (bench.continuous_usage, "--continuous-usage"),
    ];
    argv.extend(switches.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_string()));
    argv.extend(scenario.prefix_reuse().then(|| "--prefix-reuse".to_string()));
    argv
}
