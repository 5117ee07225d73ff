//! Load without a pipeline: a `server` row made from the command line, so that everything after it is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base::digest;
use crate::base::error::{Context, Error, Result};
use crate::rows::kinds::{
    Artifacts, Benchmark, Candidate, CandidateServer, CheckSettings, Hardware, LauncherStep, Load, Members, Scenario,
    SearchPosition, Server, ServerAddress, ServerEnd, Status, Unit,
};
use crate::rows::row::Row;
use crate::rows::words::{ReachedBy, Strategy};
use crate::system::http::{ClientOptions, HttpClient};

/// A running server, and the load that the command line asks for.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its base URL.
    pub url: String,
    /// The model's id; if absent, the only one that the server lists.
    pub model: Option<String>,
    /// The framework's name, for the report.
    pub framework: String,
    /// The scenarios to run.
    pub scenarios: Vec<Scenario>,
    /// How requests arrive.
    pub loads: Vec<Load>,
    /// The benchmark settings.
    pub benchmark: Benchmark,
    /// SLA limits.
    pub sla: Members,
    /// What to check of the answers.
    pub check: Option<CheckSettings>,
}

impl Target {
    /// The `server` row of this target, and the `server_end` that closes it. Clients of one meeting share the server's id.
    ///
    /// # Errors
    /// When the server cannot be reached, or lists several models and none was chosen.
    pub fn rows(&self, connect: Duration, api_key: Option<&str>, meeting: Option<&str>) -> Result<(Row, Row)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        let client = HttpClient::new(&self.url, &ClientOptions::single(connect, api_key))?;
        let (status, body) = runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(30), client.get("/v1/models")).await })
            .map_err(|_| Error::new("/v1/models did not answer within 30 s").at(client.base()))?
            .map_err(|e| Error::new("cannot reach the server").because(e).at(client.base()))?;
        let listed: Value = serde_json::from_slice(&body).unwrap_or_default();
        let models = listed["data"].as_array().cloned().unwrap_or_default();
        let model = match (&self.model, &models[..]) {
            (Some(model), _) => model.clone(),
            (None, [only]) => only["id"].as_str().unwrap_or_default().to_string(),
            (None, _) => {
                let why =
                    format!("/v1/models answered {status} and lists {} models; choose one with --model", models.len());
                return Err(Error::new(why).at(client.base()));
            }
        };
        let simulated = models.iter().any(|entry| entry["id"] == model.as_str() && entry["simulated"] == true);
        Ok(self.make(client.base(), &model, simulated, meeting))
    }

    fn make(&self, base: &str, model: &str, simulated: bool, meeting: Option<&str>) -> (Row, Row) {
        let candidate_id = format!("{}-{}", self.framework, digest::short(&json!([base, model])));
        let now = Timestamp::now().to_string();
        let start = meeting.map_or_else(|| json!([now, std::process::id()]), |meeting| json!(meeting));
        let server_id = format!("{candidate_id}-{}", digest::short(&start));
        let mut units = Vec::new();
        for scenario in &self.scenarios {
            for (load, spec) in self.loads.iter().enumerate() {
                let what = json!([base, model, scenario, spec, self.benchmark]);
                let key = digest::sha256(digest::canonical(&what).as_bytes())[..16].to_string();
                units.push(Unit { key, scenario: scenario.name.clone(), load, repeat: 0, start: None, bar: None });
            }
        }
        let candidate = Candidate {
            framework: self.framework.clone(),
            candidate_id: candidate_id.clone(),
            model: model.to_string(),
            tokenizer: None,
            precision: None,
            quantization: None,
            hardware: Hardware::default().into(),
            gpus: None,
            server: CandidateServer {
                definition: self.framework.clone(),
                served_name: None,
                argv: Vec::new(),
                followers: Vec::new(),
                env: BTreeMap::new(),
                files: BTreeMap::new(),
                flags: Members::new(),
                changed: Members::new(),
                launcher: vec![LauncherStep::plain("attach")],
                image: None,
                mounts: Vec::new(),
            }
            .into(),
            server_command: format!("(a server that was already running at {base})"),
            launch_command: None,
            scenarios: self.scenarios.clone().into(),
            loads: self.loads.clone().into(),
            units,
            benchmark: self.benchmark.clone().into(),
            check: self.check.clone().map(Into::into),
            speculation: None,
            sla: self.sla.clone().into(),
            weights: Members::new().into(),
            search: SearchPosition {
                strategy: Strategy::None,
                index: 0,
                of: 1,
                space: 1,
                baseline: true,
                calibration: false,
                slot_check: None,
                why: "given by hand".into(),
                stage: None,
                never_tried: Members::new(),
            },
            position: None,
            claim: None,
            slot: None,
            version: None,
            validated_cli_flags: None,
            substitutions: Vec::new(),
            caveats: Vec::new().into(),
            simulated,
            status: None,
            failure_class: None,
            failure_reason: None,
        };
        let server = Server {
            server_id: server_id.clone(),
            candidate_id: candidate_id.clone(),
            endpoint: ServerAddress {
                base_url: base.into(),
                model_id: model.into(),
                lease: None,
                reached_by: ReachedBy::Url,
            },
            framework_version: None,
            framework_commit: None,
            environment: Members::new(),
            ready_ms: None,
            deadline: None,
            hardware: Hardware::default(),
            artifacts: Artifacts::new(),
            launched_argv: Vec::new(),
            cpus: None,
            facts: Members::new(),
            cold: false,
            start: None,
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
            node: None,
            ended_at: now,
        };
        (row, Row::new("server_end", &end))
    }
}
