//! Another project's benchmark client against a leased server. What it says goes into the stream as it says it: nothing
//! of it is a measurement of ours.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::Loader;
use super::prepare::what;
use super::run::{INTERRUPTED, SERVER_LOST, StopReason, not_run};
use crate::base::error::{Context, Error, Result};
use crate::base::{redact, shell};
use crate::engines::framework::FrameworkClient;
use crate::rows::jsonl;
use crate::rows::jsonl::quote_bare;
use crate::rows::kinds::{
    Candidate, ClientInfo as Who, Load, LoadMode, Members, Native, Run, Scenario, Server, Status,
};
use crate::rows::row::{Row, parse_value};
use crate::rows::words::FailureClass;
use crate::system::lease::ClientLease;
use crate::system::process::group::ProcessGroup;

/// The file in its folder that a client leaves.
const RESULT: &str = "result.json";

impl Loader<'_> {
    /// Runs the client for every unit of a server.
    pub(super) async fn foreign_units(
        &mut self,
        client: &FrameworkClient,
        candidate: &Candidate,
        server: &Server,
        held: Option<&ClientLease>,
    ) -> Result<()> {
        for unit in &candidate.units {
            let (scenario, load) = what(candidate, unit)?;
            let run = self.run_row(candidate, server, None, unit, scenario, load);
            if self.foreign(client, candidate, server, (run, scenario), held).await?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Runs the client for one unit; why it was ended before its time.
    async fn foreign(
        &mut self,
        client: &FrameworkClient,
        candidate: &Candidate,
        server: &Server,
        (run, scenario): (Run, &Scenario),
        held: Option<&ClientLease>,
    ) -> Result<Option<StopReason>> {
        let program = client.command.iter().take(3).cloned().collect::<Vec<_>>().join(" ");
        let mut run = Run { client: Who { name: program, version: "unknown".into(), commit: None }, ..run };
        let folder = TempDir::with_prefix("bench-client-").context("cannot make a folder for the client's result")?;
        let argv = match argv(client, candidate, server, scenario, &run, &folder.path().display().to_string()) {
            Ok(argv) => argv,
            Err(why) => {
                not_run(&mut self.out, &run, Status::Skipped, FailureClass::Unsupported, &why)?;
                return Ok(None);
            }
        };
        run.benchmark_command = redact::foreign(&shell::join(&argv));
        self.notice.say(format!("{}: {}", run.workload.scenario, run.benchmark_command));
        let running = self.execute(&argv);
        let said = match self.unless_stopped(held, running).await {
            Ok(said) => said,
            Err(why) => {
                let (class, reason) = match why {
                    StopReason::ServerLost | StopReason::Hopeless => (FailureClass::ServerLost, SERVER_LOST),
                    StopReason::Interrupted | StopReason::ReaderLeft => (FailureClass::Interrupted, INTERRUPTED),
                };
                not_run(&mut self.out, &run, Status::Failed, class, reason)?;
                return Ok(Some(why));
            }
        };
        let text = std::fs::read_to_string(folder.path().join(RESULT));
        let payload = text.map_err(|_| "it left no result".to_string()).and_then(|text| Self::payload(&text));
        match (said, payload) {
            (Ok(()), Ok(payload)) => {
                let native = Native {
                    format: Some(client.format.clone()),
                    server_id: server.server_id.clone(),
                    run: Some(run),
                    payload,
                };
                self.out.write(&Row::new("native", &native))?;
            }
            (Err(why), _) | (_, Err(why)) => {
                not_run(&mut self.out, &run, Status::Failed, FailureClass::ClientFailed, &why)?
            }
        }
        Ok(None)
    }

    /// Runs a command in a group of its own, whose processes go with it whatever becomes of us.
    async fn execute(&self, argv: &[String]) -> Result<(), String> {
        let log = tempfile::tempfile().map_err(|e| e.to_string())?;
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null()).process_group(0);
        if let Some(key) = &self.options.api_key {
            command.env("OPENAI_API_KEY", key);
        }
        for end in [Command::stdout, Command::stderr] {
            end(&mut command, log.try_clone().map_err(|e| e.to_string())?);
        }
        let mut child = command.spawn().map_err(|e| format!("{} cannot be started: {e}", argv[0]))?;
        let _group = ProcessGroup::of(&child);
        let status = child.wait().await.map_err(|e| e.to_string())?;
        let mut text = String::new();
        let mut log = log;
        let read = std::io::Seek::rewind(&mut log).and_then(|()| std::io::Read::read_to_string(&mut log, &mut text));
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        match status.success() {
            true => Ok(()),
            false if read.is_err() => Err(format!("it ended with {status}")),
            false => Err(format!("it ended with {status}: {}", redact::foreign(last.trim()))),
        }
    }

    /// The last object of the file.
    fn payload(text: &str) -> Result<Members, String> {
        let text = quote_bare(text);
        let whole = parse_value(text.trim());
        let last = || text.lines().rev().find(|line| !line.trim().is_empty()).map_or(Ok(Value::Null), parse_value);
        let value = whole.or_else(|_| last()).map_err(|e: Error| format!("its result cannot be read: {e}"))?;
        match value {
            Value::Object(mut members) => {
                jsonl::foreign(&mut members, &redact::redactor());
                Ok(members)
            }
            _ => Err("its result is not a JSON object".into()),
        }
    }
}

/// The client's command for one run.
fn argv(
    client: &FrameworkClient,
    candidate: &Candidate,
    server: &Server,
    scenario: &Scenario,
    run: &Run,
    folder: &str,
) -> Result<Vec<String>, String> {
    let bench = &candidate.benchmark;
    let refuse = |what: &str| Err(format!("{what}, which only bench-load itself can drive"));
    if scenario.kind != "random" || scenario.range_ratio.is_some() {
        return refuse("the workload is more than random prompts of one length");
    }
    let Load { mode, rate, arrivals, cap, .. } = &run.load;
    if arrivals.is_some() || cap.is_some() || (*mode == LoadMode::Open && rate.is_none()) {
        return refuse("the load is more than a fixed rate, a fixed number in flight or a burst");
    }
    if bench.whole_answers || bench.warmup_s.is_some() || run.shard.is_some() {
        return refuse("the plan asks for whole answers, a warm-up under load or parts of it");
    }
    let endpoint = client.endpoints.get(bench.endpoint.as_str());
    let endpoint = endpoint.ok_or_else(|| format!("{} does not speak {}", client.command[0], bench.endpoint))?;
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
    Ok(words.map(|word| filled(word, &values)).collect())
}

/// A word with its `{names}` filled in; braces around other things are left alone.
fn filled(word: &str, values: &BTreeMap<&str, String>) -> String {
    let inner = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
    inner.and_then(|name| values.get(name)).cloned().unwrap_or_else(|| word.to_string())
}
