//! Runs a framework's own benchmark client against a leased server. Its result becomes a `native` row, unchanged: nothing in
//! it was measured by bench-load.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::driver::RunDriver;
use super::leased_server::LeasedServer;
use super::stop::StopReason;
use crate::base::error::{Context, Error, Result};
use crate::base::{redact, shell};
use crate::engines::framework::{Framework, FrameworkClient};
use crate::rows::jsonl;
use crate::rows::jsonl::quote_bare;
use crate::rows::kinds::{
    Candidate, ClientInfo as ImportClientName, LauncherStep, Load, LoadMode, Members, Native, Run, Scenario, Status,
};
use crate::rows::row::{Row, parse_value};
use crate::rows::words::FailureClass;
use crate::system::process::group::ProcessGroup;

/// The result file that a client writes into its folder.
const RESULT: &str = "result.json";

/// Runs the client for every unit of a server.
///
/// # Errors
/// When a unit lacks its scenario or load, or rows cannot be written.
pub async fn run_import_units(
    driver: &mut RunDriver<'_>,
    framework: &Framework,
    client: &FrameworkClient,
    leased: LeasedServer<'_>,
) -> Result<()> {
    let installation = Installation::of(framework, leased.candidate);
    for unit in &leased.candidate.units {
        let (scenario, load) = leased.scenario_and_load(unit)?;
        let run = leased.run_row(None, unit, scenario, load, driver.options.shard, driver.options.cpus.as_ref());
        if run_unit(driver, client, &installation, &leased, run, scenario).await?.is_some() {
            break;
        }
        driver.events.unit_over();
    }
    Ok(())
}

/// Where the client's program is: beside that of the server, if both are of one framework and run on this host.
struct Installation<'a> {
    /// The framework and the server's command; `None`: the program is searched in PATH.
    beside: Option<(&'a Framework, &'a [String])>,
    /// The server's environment variables: an installation may need them.
    env: Vec<(&'a String, &'a String)>,
}

impl<'a> Installation<'a> {
    fn of(framework: &'a Framework, candidate: &'a Candidate) -> Self {
        let server = &candidate.server;
        let here = framework.name == server.definition && server.launcher.iter().all(LauncherStep::is_local);
        let beside = here.then_some((framework, &server.argv[..])).filter(|(_, argv)| framework.find(argv).is_some());
        let env = server.env.iter().filter(|_| beside.is_some());
        Self { beside, env: env.filter_map(|(name, value)| Some((name, value.as_ref()?))).collect() }
    }

    /// A command with the program of this installation.
    fn command(&self, argv: Vec<String>) -> Vec<String> {
        self.beside.and_then(|(framework, server)| framework.alike(server, &argv)).unwrap_or(argv)
    }
}

/// Runs the client for one unit; why it ended early.
async fn run_unit(
    driver: &mut RunDriver<'_>,
    client: &FrameworkClient,
    installation: &Installation<'_>,
    leased: &LeasedServer<'_>,
    run: Run,
    scenario: &Scenario,
) -> Result<Option<StopReason>> {
    let program = client.command.iter().take(3).cloned().collect::<Vec<_>>().join(" ");
    let mut run = Run {
        client: ImportClientName {
            name: program,
            version: "unknown".into(),
            commit: None,
            cpus: run.client.cpus.clone(),
        },
        ..run
    };
    let folder = TempDir::with_prefix("bench-client-").context("cannot make a folder for the client's result")?;
    let argv = match argv(client, leased, scenario, &run, &folder.path().display().to_string()) {
        Ok(argv) => installation.command(argv),
        Err(why) => {
            driver.not_run(&run, Status::Skipped, FailureClass::Unsupported, &why)?;
            return Ok(None);
        }
    };
    run.benchmark_command = redact::foreign(&shell::join(&argv));
    driver.notice.say(format!("{}: {}", run.workload.scenario, run.benchmark_command));
    let running = execute(&argv, &installation.env, driver.options.api_key.as_deref());
    let done = match driver.unless_stopped(leased.lease, running).await {
        Ok(done) => done,
        Err(why) => {
            let (_, class, reason) = why.end();
            driver.not_run(&run, Status::Failed, class, &reason)?;
            return Ok(Some(why));
        }
    };
    let text = std::fs::read_to_string(folder.path().join(RESULT));
    let payload = text.map_err(|_| "it wrote no result".to_string()).and_then(|text| payload(&text));
    match (done, payload) {
        (Ok(()), Ok(payload)) => {
            driver.events.imported(driver.notice, &run);
            let native = Native {
                format: Some(client.format.clone()),
                server_id: leased.server.server_id.clone(),
                run: Some(run),
                payload,
            };
            driver.out.write(&Row::new("native", &native))?;
        }
        (Err(why), _) | (_, Err(why)) => {
            driver.not_run(&run, Status::Failed, FailureClass::ClientFailed, &why)?;
        }
    }
    Ok(None)
}

/// Runs a command in a process group of its own, which is killed when this future is dropped.
async fn execute(argv: &[String], env: &[(&String, &String)], api_key: Option<&str>) -> Result<(), String> {
    let mut log = tempfile::tempfile().map_err(|e| e.to_string())?;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).envs(env.iter().copied()).stdin(Stdio::null()).process_group(0);
    if let Some(key) = api_key {
        command.env("OPENAI_API_KEY", key);
    }
    for end in [Command::stdout, Command::stderr] {
        end(&mut command, log.try_clone().map_err(|e| e.to_string())?);
    }
    let mut child = command.spawn().map_err(|e| format!("cannot start {}: {e}", argv[0]))?;
    let _group = ProcessGroup::of(&child);
    let status = child.wait().await.map_err(|e| e.to_string())?;
    let mut text = String::new();
    let read = std::io::Seek::rewind(&mut log).and_then(|()| std::io::Read::read_to_string(&mut log, &mut text));
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    match status.success() {
        true => Ok(()),
        false if read.is_err() => Err(format!("it ended with {status}")),
        false => Err(format!("it ended with {status}: {}", redact::foreign(last.trim()))),
    }
}

/// The result file's JSON object; of JSON lines the last one.
fn payload(text: &str) -> Result<Members, String> {
    let text = quote_bare(text);
    let whole = parse_value(text.trim());
    let last = || text.lines().rev().find(|line| !line.trim().is_empty()).map_or(Ok(Value::Null), parse_value);
    let value = whole.or_else(|_| last()).map_err(|e: Error| format!("cannot read its result: {e}"))?;
    match value {
        Value::Object(mut members) => {
            jsonl::foreign(&mut members, &redact::redactor());
            Ok(members)
        }
        _ => Err("its result is not a JSON object".into()),
    }
}

/// The client's command for one run.
fn argv(
    client: &FrameworkClient,
    leased: &LeasedServer<'_>,
    scenario: &Scenario,
    run: &Run,
    folder: &str,
) -> Result<Vec<String>, String> {
    let LeasedServer { candidate, server, .. } = leased;
    let bench = &candidate.benchmark;
    let refuse = |what: &str| Err(format!("{what}: only bench-load itself supports this"));
    let Scenario { dataset, shared_prefix, turns, range_ratio, .. } = scenario;
    if dataset.is_some() || shared_prefix.is_some() || turns.is_some() || range_ratio.is_some() {
        return refuse("the workload is not random prompts of one length");
    }
    let Load { mode, rate, arrivals, cap, .. } = &run.load;
    if arrivals.is_some() || cap.is_some() || (*mode == LoadMode::Open && rate.is_none()) {
        return refuse("the load is not a fixed rate, a fixed concurrency or a burst");
    }
    if bench.whole_answers || bench.warmup_s.is_some() || run.shard.is_some() {
        return refuse("the plan asks for non-streaming requests, a warm-up under load or a shared load");
    }
    let endpoint = client.endpoints.get(bench.endpoint.as_str());
    let endpoint = endpoint.ok_or_else(|| format!("{} does not support {}", client.command[0], bench.endpoint))?;
    let load = match mode {
        LoadMode::Open => &client.loads.open,
        LoadMode::Closed => &client.loads.closed,
        LoadMode::Burst => &client.loads.burst,
    };
    let length = if bench.ignore_eos { &client.exact_length } else { &client.own_length };
    let text = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    let values = BTreeMap::from([
        ("base_url", server.endpoint.base_url.clone()),
        ("model_id", server.endpoint.model_id.clone()),
        ("tokenizer", candidate.tokenizer.clone().unwrap_or_else(|| candidate.model.clone())),
        ("input_len", scenario.input_len.to_string()),
        ("output_len", scenario.output_len.to_string()),
        ("num_prompts", run.workload.num_prompts.to_string()),
        ("warmup", bench.warmup_requests.to_string()),
        ("seed", run.seed.to_string()),
        ("rate", text(*rate)),
        ("concurrency", run.load.concurrency.unwrap_or(1).to_string()),
        ("temperature", bench.extra_request_body.get("temperature").map_or("0".into(), Value::to_string)),
        ("extra_body", Value::Object(bench.extra_request_body.clone()).to_string()),
        ("result", format!("{folder}/{RESULT}")),
        ("folder", folder.to_string()),
        ("file", RESULT.to_string()),
    ]);
    let words = client.command.iter().chain(endpoint).chain(load).chain(length);
    Ok(words.map(|word| fill(word, &values)).collect())
}

/// The value of a word that is a known `{name}`; any other word as it is.
fn fill(word: &str, values: &BTreeMap<&str, String>) -> String {
    let inner = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
    inner.and_then(|name| values.get(name)).cloned().unwrap_or_else(|| word.to_string())
}
