//! A leased server: how it is reached, which requests it accepts, and the rows of its runs.

use std::time::Duration;

use jiff::Timestamp;

use super::builder::{RequestBuilder, RequestSpec};
use super::command::command;
use super::options::LoadOptions;
use crate::base::cpus::CpuList;
use crate::base::error::{Error, Result};
use crate::base::version::COMMIT;
use crate::base::{digest, redact, shell};
use crate::engines::framework::Framework;
use crate::metrics::search::LengthNeed;
use crate::rows::kinds::{
    Candidate, ClientInfo as ClientName, Connections, Load, Members, Run, Scenario, Server, Shard, Unit, Workload,
};
use crate::rows::words::PromptForm;
use crate::system::http::ClientOptions;
use crate::system::lease::ClientLease;

/// A server from its `server` row.
#[derive(Clone, Copy)]
pub struct LeasedServer<'a> {
    /// The candidate that it runs.
    pub candidate: &'a Candidate,
    /// The server's own part of the row.
    pub server: &'a Server,
    /// The definition of its framework, if there is one.
    pub definition: Option<&'a Framework>,
    /// The lease; `None` if the server is only known by its URL.
    pub lease: Option<&'a ClientLease>,
}

impl<'a> LeasedServer<'a> {
    /// The scenario and the load of a unit.
    ///
    /// # Errors
    /// When the row does not have them.
    pub fn scenario_and_load(&self, unit: &Unit) -> Result<(&'a Scenario, &'a Load)> {
        let missing = |part: &str| Error::new(format!("the {part} of unit {} is missing in its row", unit.key));
        let scenario = self.candidate.scenarios.iter().find(|scenario| scenario.name == unit.scenario);
        let load = self.candidate.loads.get(unit.load);
        Ok((scenario.ok_or_else(|| missing("scenario"))?, load.ok_or_else(|| missing("load"))?))
    }

    /// Time left until the server's deadline; `None` without one.
    pub fn time_left(&self) -> Option<Duration> {
        let deadline: Timestamp = self.server.deadline.as_ref()?.parse().ok()?;
        Some(Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default())
    }

    /// The command that repeats a run of so many requests at this load with this seed.
    pub fn command(&self, scenario: &Scenario, load: &Load, requests: u32, seed: u64) -> String {
        let mut candidate = self.candidate.clone();
        candidate.benchmark.seed = seed;
        candidate.benchmark.num_prompts = requests;
        let port = self.definition.map(|definition| definition.default_port);
        shell::join(&command(&candidate, &self.server.endpoint, port, scenario, load))
    }

    /// How to connect, and the headers of every request: the plan's, and those of the user, which take precedence.
    ///
    /// # Errors
    /// When a header names an environment variable that is not set.
    pub fn client_options(&self, options: &LoadOptions) -> Result<ClientOptions> {
        let mut headers = Vec::new();
        for (name, value) in self.candidate.benchmark.headers.iter().chain(options.headers.iter().map(|(n, v)| (n, v)))
        {
            headers.push((name.clone(), from_environment(value)?));
        }
        Ok(ClientOptions {
            // Without a definition it is unknown whether the server really keeps the connections that it promises to keep.
            connections: self.definition.map_or(Connections::PerRequest, |d| d.request.connections),
            connect_timeout: Some(options.connect_timeout),
            api_key: options.api_key.clone(),
            headers,
        })
    }

    /// The requests that the candidate's scenarios need.
    pub fn request_spec(&self) -> RequestSpec {
        let bench = &self.candidate.benchmark;
        let exact_length = match self.definition {
            _ if !bench.ignore_eos => Members::new(),
            Some(definition) => definition.request.exact_length.clone().into_iter().collect(),
            None => std::iter::once(("ignore_eos".to_string(), true.into())).collect(),
        };
        let generated = |scenario: &Scenario| scenario.dataset.as_ref().is_none_or(|dataset| dataset.synthetic);
        RequestSpec {
            endpoint: bench.endpoint,
            model: self.server.endpoint.model_id.clone(),
            extra: bench.extra_request_body.clone(),
            exact_length,
            ids: self.definition.is_none_or(|d| d.request.token_id_prompts),
            sized: self.candidate.scenarios.iter().any(generated),
            stream: !bench.whole_answers,
            continuous: bench.continuous_usage && !bench.whole_answers,
        }
    }

    /// The `run` row of a unit.
    pub fn run_row(
        &self,
        builder: Option<&RequestBuilder>,
        unit: &Unit,
        scenario: &Scenario,
        load: &Load,
        shard: Option<Shard>,
        cpus: Option<&CpuList>,
    ) -> Run {
        let (bench, server) = (&self.candidate.benchmark, self.server);
        let length = LengthNeed::default().length(bench.num_prompts, bench.duration_s, load, None);
        let identity = serde_json::json!([
            scenario.identity(),
            bench.endpoint,
            bench.num_prompts,
            bench.extra_request_body,
            bench.ignore_eos
        ]);
        let workload = Workload {
            scenario: scenario.name.clone(),
            kind: scenario.kind,
            endpoint: bench.endpoint,
            input_len: scenario.input_len,
            output_len: scenario.output_len,
            num_prompts: length.requests,
            dataset_path: scenario.dataset.as_ref().map(|dataset| dataset.path.clone()),
            prefix_reuse: scenario.reuses_prefixes(),
            template_tokens: builder.and_then(RequestBuilder::template_tokens),
            whole: bench.whole_answers,
            prompt_form: builder.map_or(PromptForm::Unknown, RequestBuilder::prompt_form),
            sha256: digest::sha256(digest::canonical(&identity).as_bytes()),
        };
        Run {
            run_id: format!("{}/{}/{}/{}", server.server_id, unit.scenario, unit.load, unit.repeat),
            server_id: server.server_id.clone(),
            unit: Some(unit.key.clone()),
            workload,
            load: load.clone(),
            probe: None,
            shard,
            clock: None,
            repeat: unit.repeat,
            attempt: 0,
            length: Some(length),
            seed: bench.seed,
            warmup_s: bench.warmup_s,
            schedule_sha256: None,
            benchmark_command: self.command(scenario, load, length.requests, bench.seed),
            cache: bench.cache,
            connections: builder.map(|builder| builder.client.connections()).unwrap_or_default(),
            client: ClientName {
                name: "bench-load".into(),
                version: env!("CARGO_PKG_VERSION").into(),
                commit: COMMIT.map(String::from),
                cpus: cpus.map(ToString::to_string),
            },
            smoke: bench.smoke,
            simulated: server.simulated,
            started_at: Timestamp::now().to_string(),
        }
    }
}

/// A header's value with each `${NAME}` replaced from the environment.
fn from_environment(value: &str) -> Result<String> {
    let mut whole = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) =
            after.split_once('}').ok_or_else(|| Error::new(format!("${{ without }} in the header {value:?}")))?;
        let found =
            std::env::var(name).map_err(|_| Error::new(format!("a header uses ${{{name}}}, which is not set")))?;
        redact::hide([found.clone()]);
        whole.push_str(before);
        whole.push_str(&found);
        rest = after;
    }
    Ok(whole + rest)
}
