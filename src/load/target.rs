//! Load without a pipeline: a `server` row made from the command line, so that everything after it is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base::digest;
use crate::base::error::{Context, Error, Result};
use crate::rows::kinds::{
    Artifacts, Benchmark, Candidate, CandidateServer, Hardware, LauncherStep, Load, LoadMode, Members, Scenario,
    SearchPosition, Server, ServerAddress, ServerEnd, Status, Unit,
};
use crate::rows::row::Row;
use crate::rows::words::Strategy;
use crate::system::http::{ClientOptions, HttpClient};

/// What the command line says about a server that somebody else runs.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its base URL.
    pub url: String,
    /// The model's id; asked of the server when there is only one.
    pub model: Option<String>,
    /// The framework's name, for the report.
    pub framework: String,
    /// What is asked.
    pub scenarios: Vec<Scenario>,
    /// How requests arrive.
    pub loads: Vec<Load>,
    /// How the load is driven.
    pub benchmark: Benchmark,
    /// SLA limits.
    pub sla: Members,
}

impl Target {
    /// The `server` row of this target, and the `server_end` that closes it.
    ///
    /// # Errors
    /// When the server does not say which model it serves.
    pub fn rows(&self, connect: Duration, api_key: Option<&str>) -> Result<(Row, Row)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        let client = HttpClient::new(&self.url, &ClientOptions::single(connect, api_key))?;
        let (status, body) = runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(30), client.get("/v1/models")).await })
            .map_err(|_| Error::new("/v1/models does not answer within 30 s").at(client.base()))?
            .map_err(|e| Error::new("cannot reach the server").because(e).at(client.base()))?;
        let listed: Value = serde_json::from_slice(&body).unwrap_or_default();
        let models = listed["data"].as_array().cloned().unwrap_or_default();
        let model = match (&self.model, &models[..]) {
            (Some(model), _) => model.clone(),
            (None, [only]) => only["id"].as_str().unwrap_or_default().to_string(),
            (None, _) => {
                let why =
                    format!("/v1/models answers {status} and lists {} models; say which with --model", models.len());
                return Err(Error::new(why).at(client.base()));
            }
        };
        let simulated = models.iter().any(|entry| entry["id"] == model.as_str() && entry["simulated"] == true);
        Ok(self.make(client.base(), &model, simulated))
    }

    fn make(&self, base: &str, model: &str, simulated: bool) -> (Row, Row) {
        let candidate_id = format!("{}-{}", self.framework, digest::short(&json!([base, model])));
        let now = Timestamp::now().to_string();
        let server_id = format!("{candidate_id}-{}", digest::short(&json!([now, std::process::id()])));
        let mut units = Vec::new();
        for scenario in &self.scenarios {
            for (load, spec) in self.loads.iter().enumerate() {
                let what = json!([base, model, scenario, spec, self.benchmark]);
                let key = digest::sha256(digest::canonical(&what).as_bytes())[..16].to_string();
                units.push(Unit { key, scenario: scenario.name.clone(), load, repeat: 0 });
            }
        }
        let candidate = Candidate {
            framework: self.framework.clone(),
            candidate_id: candidate_id.clone(),
            model: model.to_string(),
            tokenizer: None,
            precision: None,
            quantization: None,
            hardware: Hardware::default(),
            gpus: None,
            server: CandidateServer {
                definition: self.framework.clone(),
                argv: Vec::new(),
                env: BTreeMap::new(),
                files: BTreeMap::new(),
                flags: Members::new(),
                changed: Members::new(),
                launcher: vec![LauncherStep::plain("attach")],
                image: None,
                mounts: Vec::new(),
            },
            server_command: format!("(a server that was already running at {base})"),
            scenarios: self.scenarios.clone(),
            loads: self.loads.clone(),
            units,
            benchmark: self.benchmark.clone(),
            sla: self.sla.clone(),
            weights: Members::new(),
            search: SearchPosition {
                strategy: Strategy::None,
                index: 0,
                of: 1,
                space: 1,
                baseline: true,
                why: "given by hand".into(),
                never_tried: Members::new(),
            },
            version: None,
            validated_cli_flags: None,
            substitutions: Vec::new(),
            caveats: Vec::new(),
            simulated,
            status: None,
            failure_class: None,
            failure_reason: None,
        };
        let server = Server {
            server_id: server_id.clone(),
            candidate_id: candidate_id.clone(),
            endpoint: super::endpoint(base, model),
            framework_version: None,
            framework_commit: None,
            environment: Members::new(),
            ready_ms: None,
            deadline: None,
            hardware: Hardware::default(),
            artifacts: Artifacts::new(),
            launched_argv: Vec::new(),
            facts: Members::new(),
            cold: false,
            started_at: now.clone(),
            simulated,
        };
        let mut row = Row::new("server", &candidate);
        row.merge(&server);
        let end = ServerEnd {
            server_id,
            candidate_id,
            status: Status::Ok,
            failure_class: None,
            failure_reason: None,
            exit: None,
            stop: None,
            smoke: None,
            gpu: None,
            facts: Members::new(),
            lifecycle: Vec::new(),
            artifacts: Artifacts::new(),
            ended_at: now,
        };
        (row, Row::new("server_end", &end))
    }
}

/// The command that repeats one run on its own, against the deploy command's port (`port`) for a leased server.
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
    match &scenario.dataset {
        Some(dataset) => {
            flag("--dataset", dataset.path.clone());
            dataset.default_output_len.iter().for_each(|n| flag("--output-len", n.to_string()));
        }
        None => flag("--scenario", format!("{}={}:{}", scenario.name, scenario.input_len, scenario.output_len)),
    }
    scenario.range_ratio.iter().for_each(|ratio| flag("--range-ratio", ratio.to_string()));
    if let Some(prefix) = scenario.shared_prefix {
        flag("--prefix", prefix.tokens.to_string());
        flag("--groups", prefix.groups.to_string());
    }
    scenario.turns.iter().for_each(|turns| flag("--turns", turns.to_string()));
    scenario.think_s.iter().for_each(|think| flag("--think", think.to_string()));
    flag("--num-prompts", super::rows::requests(bench.num_prompts, bench.duration_s, load).to_string());
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
        // A switch, further down.
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
        (scenario.dataset.as_ref().is_some_and(|dataset| dataset.prefix_reuse && !dataset.synthetic), "--prefix-reuse"),
    ];
    argv.extend(switches.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_string()));
    argv
}
