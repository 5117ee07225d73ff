//! The row of a run, before it.

use jiff::Timestamp;

use super::ask::RequestBuilder;
use super::{Loader, target};
use crate::base::version::COMMIT;
use crate::base::{digest, shell};
use crate::rows::kinds::{Candidate, ClientInfo as ClientName, Load, Run, Scenario, Server, Unit, Workload};

impl Loader<'_> {
    /// The row of a unit's run.
    pub(super) fn run_row(
        &self,
        candidate: &Candidate,
        server: &Server,
        asker: Option<&RequestBuilder>,
        unit: &Unit,
        scenario: &Scenario,
        load: &Load,
    ) -> Run {
        let bench = &candidate.benchmark;
        let port = self.options.frameworks.get(&candidate.server.definition).map(|d| d.default_port);
        let what = serde_json::json!([
            scenario.identity(),
            bench.endpoint,
            bench.num_prompts,
            bench.extra_request_body,
            bench.ignore_eos
        ]);
        let workload = Workload {
            scenario: scenario.name.clone(),
            kind: scenario.kind.clone(),
            endpoint: bench.endpoint.clone(),
            input_len: scenario.input_len,
            output_len: scenario.output_len,
            num_prompts: requests(bench.num_prompts, bench.duration_s, load),
            dataset_path: scenario.dataset.as_ref().map(|dataset| dataset.path.clone()),
            prefix_reuse: scenario.reuses_prefixes(),
            template_tokens: asker.and_then(RequestBuilder::template_tokens),
            whole: bench.whole_answers,
            prompt_form: asker.map_or("unknown", RequestBuilder::prompt_form).into(),
            sha256: digest::sha256(digest::canonical(&what).as_bytes()),
        };
        Run {
            run_id: format!("{}/{}/{}/{}", server.server_id, unit.scenario, unit.load, unit.repeat),
            server_id: server.server_id.clone(),
            unit: Some(unit.key.clone()),
            workload,
            load: load.clone(),
            probe: None,
            shard: self.options.shard,
            repeat: unit.repeat,
            seed: bench.seed,
            warmup_s: bench.warmup_s,
            schedule_sha256: None,
            benchmark_command: shell::join(&target::command(candidate, &server.endpoint, port, scenario, load)),
            cache: bench.cache,
            connections: asker.map(|asker| asker.client.connections()).unwrap_or_default(),
            client: ClientName {
                name: "bench-load".into(),
                version: env!("CARGO_PKG_VERSION").into(),
                commit: COMMIT.map(String::from),
            },
            smoke: bench.smoke,
            simulated: server.simulated,
            started_at: Timestamp::now().to_string(),
        }
    }
}

/// Measured requests of a run: as many as asked, or as many as the duration needs.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
pub(super) fn requests(num_prompts: u32, duration_s: Option<f64>, load: &Load) -> u32 {
    let by_time = duration_s.zip(load.rate).map_or(0, |(duration, rate)| (duration * rate).ceil() as u32);
    num_prompts.max(by_time)
}
