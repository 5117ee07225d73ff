//! A result as a Benchmark Report v0.2.1 of llm-d (`llmdbenchmark/analysis/benchmark_report` of llm-d/llm-d-benchmark):
//! one JSON object, which is YAML too. Latencies stay in ms, which the report allows; missing values are omitted.

use serde_json::{Map, Value, json};

use crate::base::digest;
use crate::rows::kinds::{ResultRow, Status};
use crate::rows::words::{Latency, Statistic};

/// The report of a result; `None` for a result without metrics, because a report cannot say why.
#[must_use]
pub fn report(row: &ResultRow) -> Option<Value> {
    if row.status != Status::Ok {
        return None;
    }
    let run = row.run.as_ref();
    let uid = run.map_or_else(|| digest::short(&json!(row)), |run| run.run_id.clone());
    let simulated = row.quality.simulated.then_some("simulated");
    let smoke = row.quality.smoke.then_some("flow-check");
    let words: Vec<&str> = simulated.into_iter().chain(smoke).collect();
    let about = format!("{} {} of {}", row.framework, row.candidate_id, row.model);
    Some(bare(json!({
        "version": "0.2.1",
        "run": {
            "uid": uid, "eid": run.map(|run| run.server_id.clone()), "description": about, "keywords": words,
            "time": run.map(|run| json!({"start": run.started_at, "end": run.ended_at})),
        },
        "scenario": {"stack": [engine(row)], "load": load(row)},
        "results": {"request_performance": {"aggregate": {
            "requests": requests(row), "latency": latency(row), "throughput": throughput(row),
        }}},
    })))
}

fn engine(row: &ResultRow) -> Value {
    let version = row.framework_version.clone().unwrap_or_else(|| "unknown".into());
    let args: Map<String, Value> = row.candidate.as_ref().map(|tried| tried.changed.clone()).unwrap_or_default();
    let standardized = match (&row.hardware.gpu_model, row.hardware.gpu_count) {
        (Some(model), Some(count)) => json!({
            "kind": "inference_engine", "tool": row.framework, "tool_version": version, "role": "replica", "replicas": 1,
            "model": {"name": row.model}, "accelerator": {"model": model, "count": count, "parallelism": {}},
        }),
        // An engine in this schema must have an accelerator; without one it is a generic component.
        _ => json!({"kind": "generic", "tool": row.framework, "tool_version": version, "model": row.model}),
    };
    json!({
        "metadata": {"label": row.candidate_id, "cfg_id": row.candidate_id, "description": row.server_command},
        "standardized": standardized, "native": {"args": args},
    })
}

fn load(row: &ResultRow) -> Value {
    let Some(workload) = &row.workload else { return Value::Null };
    let client = row.run.as_ref().map(|run| run.client.clone());
    let client = client.or_else(|| row.native.as_ref().map(|native| native.client.clone())).unwrap_or_default();
    let (tool, version) = client.split_once(' ').filter(|_| row.native.is_none()).unwrap_or((&client, "unknown"));
    let length = |asked: Option<f64>, p50: Option<f64>| {
        let fixed = if workload.kind.as_deref() == Some("random") { "fixed" } else { "other" };
        asked.or(p50).map(|value| json!({"distribution": fixed, "value": value}))
    };
    // This schema requires a prompt length; without one, the load is omitted.
    let Some(input) = length(workload.input_len, workload.input_len_p50) else { return Value::Null };
    json!({
        "metadata": {"description": row.benchmark_command, "cfg_id": row.fingerprint.get("workload")},
        "standardized": {
            "tool": tool, "tool_version": version,
            "source": match workload.kind.as_deref() { Some("random") => "random", Some(_) => "sampled", None => "unknown" },
            "input_seq_len": input, "output_seq_len": length(workload.output_len, workload.output_len_p50),
            "rate_qps": workload.request_rate, "concurrency": workload.max_concurrency,
        },
        // What this schema has no place for.
        "native": {"config": {"scenario": workload.scenario, "num_prompts": workload.num_prompts}},
    })
}

fn metric(row: &ResultRow, name: &str) -> Option<f64> {
    row.metrics.get(name).copied().flatten()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of requests")]
fn requests(row: &ResultRow) -> Option<Value> {
    let completed = metric(row, "completed")?;
    let failed = metric(row, "failed");
    let length = |total: &str| {
        let mean = metric(row, total).filter(|_| completed > 0.0).map(|tokens| tokens / completed)?;
        Some(json!({"units": "count", "mean": mean}))
    };
    Some(json!({
        "total": (completed + failed.unwrap_or(0.0)) as u64, "failures": failed.map(|n| n as u64),
        "input_length": length("total_input_tokens"), "output_length": length("total_output_tokens"),
    }))
}

fn latency(row: &ResultRow) -> Value {
    let of = |latency: Latency, units: &str| {
        let mut all = json!({"units": units, "mean": metric(row, latency.key(Statistic::Mean))?});
        for statistic in Statistic::ALL.iter().copied() {
            // This format's name for p99.9 is `p99p9`.
            let name = if statistic == Statistic::P999 { "p99p9" } else { statistic.as_str() };
            all[name] = json!(metric(row, latency.key(statistic)));
        }
        if let Some(spread) = row.statistics.get(&format!("{latency}_ms")) {
            (all["stddev"], all["min"], all["max"]) = (json!(spread.sd), json!(spread.min), json!(spread.max));
        }
        Some(all)
    };
    json!({
        "time_to_first_token": of(Latency::Ttft, "ms"), "time_per_output_token": of(Latency::Tpot, "ms/token"),
        "inter_token_latency": of(Latency::Itl, "ms/token"), "request_latency": of(Latency::E2e, "ms"),
    })
}

fn throughput(row: &ResultRow) -> Value {
    let of = |name: &str, units: &str| metric(row, name).map(|mean| json!({"units": units, "mean": mean}));
    let output = metric(row, "output_token_throughput");
    let input = metric(row, "total_token_throughput").zip(output).map(|(total, output)| total - output);
    json!({
        "request_rate": of("request_throughput", "queries/s"), "output_token_rate": of("output_token_throughput", "tokens/s"),
        "total_token_rate": of("total_token_throughput", "tokens/s"),
        "input_token_rate": input.map(|mean| json!({"units": "tokens/s", "mean": mean})),
    })
}

/// The value without members that are null.
fn bare(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let present = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(key, value)| (key, bare(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(bare).collect(),
        other => other,
    }
}
