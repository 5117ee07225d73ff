//! GPUs and cost to serve a peak request rate with a candidate.

use super::trial::Trial;
use crate::rows::words::StartKind;

/// Assumptions of a capacity card.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CapacityDemand {
    /// Price of a GPU per hour, in any currency.
    pub gpu_hour: Option<f64>,
    /// Requests per second at the peak.
    pub peak_qps: Option<f64>,
    /// Headroom: share of a replica's capacity that stays free.
    pub headroom: f64,
}

/// A capacity card; a value is `None` if the rows do not have it.
#[derive(Debug, Clone, PartialEq)]
pub struct CapacityCard {
    /// Request rate that one replica serves, requests per second: the highest that a search found to pass, otherwise the
    /// measured one.
    pub rate: Option<f64>,
    /// The offered rate, requests per second, of an open-loop run without a search: the replica may serve more.
    pub offered: Option<f64>,
    /// GPUs per replica.
    pub gpus: Option<f64>,
    /// Replicas for the peak: ⌈peak / (rate · (1 − headroom))⌉.
    pub replicas: Option<f64>,
    /// Cost of all replicas per hour.
    pub cost_hour: Option<f64>,
    /// Cost of 10⁶ output tokens at full utilization: price · GPUs / 3600 / (tokens/s) · 10⁶.
    pub cost_output: Option<f64>,
    /// The same for a million prompt and output tokens together.
    pub cost_total: Option<f64>,
    /// Requests in flight at that rate (Little): rate · mean E2E.
    pub in_flight: Option<f64>,
    /// Output tokens per second per GPU.
    pub tokens_gpu: Option<f64>,
    /// Energy per output token, J, if power was sampled.
    pub joules: Option<f64>,
    /// Capacity of the KV cache, tokens.
    pub kv_tokens: Option<f64>,
    /// Time from start to ready, s.
    pub ready_s: Option<f64>,
    /// Whether it found what an earlier start had compiled.
    pub start: Option<StartKind>,
}

/// The card of a trial.
#[must_use]
pub fn card(trial: &Trial, demand: CapacityDemand) -> CapacityCard {
    let metric = |name: &str| trial.metric(name).filter(|value| *value > 0.0);
    let measured = metric("request_throughput");
    // The requests of the end drain at a falling rate, so that a run completes fewer per second than it serves.
    let searched = trial.entry().rate.filter(|_| trial.is_search() && trial.passed() != Some(false));
    let offered = trial.entry().rate.filter(|_| !trial.is_search());
    let rate = searched.or(measured);
    let gpus = trial.keys().gpus.filter(|n| *n > 0.0);
    // A fixed rate says what was asked for, not what a replica can serve.
    let usable =
        rate.filter(|_| offered.is_none()).map(|rate| rate * (1.0 - demand.headroom)).filter(|rate| *rate > 0.0);
    let replicas = demand.peak_qps.zip(usable).map(|(peak, rate)| (peak / rate).ceil().max(1.0));
    let hour = demand.gpu_hour.zip(gpus).map(|(price, gpus)| price * gpus);
    let million = |tokens: Option<f64>| hour.zip(tokens).map(|(hour, tokens)| hour / 3600.0 / tokens * 1e6);
    let output = metric("output_token_throughput");
    CapacityCard {
        rate,
        offered,
        gpus,
        replicas,
        cost_hour: hour.zip(replicas).map(|(hour, replicas)| hour * replicas),
        cost_output: million(output),
        cost_total: million(metric("total_token_throughput")),
        in_flight: measured.zip(metric("mean_e2e_ms")).map(|(rate, ms)| rate * ms / 1000.0),
        tokens_gpu: output.zip(gpus).map(|(tokens, gpus)| tokens / gpus),
        joules: metric("energy_j").zip(metric("total_output_tokens")).map(|(joules, tokens)| joules / tokens),
        kv_tokens: trial.entry().kv_cache_tokens(),
        ready_s: trial.entry().ready_s(),
        start: trial.entry().start(),
    }
}
