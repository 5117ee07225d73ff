//! One run, or one candidate without a run, as a result row.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::metrics::acceptance::acceptance;
use crate::metrics::sample::{Sample, decode, gap_ms, percentile, spread, total};
use crate::metrics::sla::Limits;
use crate::metrics::{sample, sla, stability};
use crate::rows::kinds::{
    Candidate, CandidateBlock, DraftQuality, LoadMode, Members, Quality, ResultRow, Run, RunBlock, RunEnd, Scenario,
    SearchBlock, SearchEnd, Server, ServerEnd, Speculation, Status, WorkloadBlock,
};
use crate::rows::words::{
    AcceptanceVerdict, Arrivals, FailureClass, Latency, ReachedBy, SearchEndReason, SearchedLoad, Statistic,
    TokenSource,
};

/// Share of outputs shorter than requested above which lengths count as mismatched.
const SHORT: f64 = 0.01;
/// More answers than this share with many tokens at once, and the stream is buffered.
const BUFFERED: f64 = 0.01;
/// Share of throttled samples above which a GPU counts as slowed down.
const THROTTLED: f64 = 0.05;
/// Share of prompt tokens from a cache above which the run counts as contaminated.
const CACHED: f64 = 0.01;

/// The measurements of a run.
pub struct RunMeasurement<'a> {
    pub run: &'a Run,
    pub sample: &'a Sample,
    pub end: Option<&'a RunEnd>,
    pub one_token_a_chunk: bool,
    pub short: u32,
    /// The error of the first request that failed.
    pub error: Option<&'a str>,
}

/// The result of a run.
pub fn measured(candidate: &Candidate, server: &Server, limits: &Limits, measured: &RunMeasurement) -> ResultRow {
    let (run, sample) = (measured.run, measured.sample);
    let (mut status, mut class, mut reason) = outcome(measured.end);
    if status == Status::Ok && sample.scheduled >= run.workload.num_prompts.max(1) && sample.ok() == 0 {
        let kinds =
            sample.by_status.iter().map(|(kind, n)| format!("{n} {}", json!(kind).as_str().unwrap_or_default()));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        (status, class) = (Status::Failed, Some(FailureClass::AllRequestsFailed));
        reason = Some(match measured.error {
            Some(error) => format!("every request failed ({kinds}): {error}"),
            None => format!("every request failed ({kinds}); see the request rows"),
        });
    }
    // A run that went its whole way has a row of each request that it announced.
    let (announced, found) = (run.workload.num_prompts, sample.scheduled);
    if status == Status::Ok && found < announced {
        (status, class) = (Status::Failed, Some(FailureClass::Incomplete));
        reason = Some(format!(
            "{} of {announced} requests of run {} are missing: their rows were damaged or removed; rerun to measure it again",
            announced - found,
            run.run_id
        ));
    }
    let itl = itl(measured);
    // A skipped run does not have metrics.
    let skipped = status == Status::Skipped;
    let mut metrics = if skipped { BTreeMap::new() } else { sample.metrics(run.load.mode, !limits.is_empty()) };
    for statistic in Statistic::ALL.iter().copied() {
        if let Some(value) = gap_ms(itl.as_ref(), statistic) {
            metrics.insert(Latency::Itl.key(statistic).into(), Some(value));
        }
    }
    let whole = status == Status::Ok && sample.scheduled > 0;
    let stability = stability::stability(&sample.spans, run.load.mode, run.warmup_s);
    let tests = match whole {
        true => limits.gate(sample, stability.as_ref(), &|statistic| gap_ms(itl.as_ref(), statistic)),
        false => Vec::new(),
    };
    let mut row = base(candidate, Some(server));
    row.status = status;
    row.failure_class = class;
    row.failure_reason = reason;
    row.workload = Some(workload(run, sample));
    row.sla = limits.members();
    row.verdict = sla::write(&mut row.sla, &tests);
    sample::per_gpu(&mut metrics, row.hardware.gpu_count);
    row.metrics = metrics;
    let counted = measured.end.and_then(|end| end.server_metrics.get("spec_decode.accept_length")?.as_f64());
    judge_drafts(&mut row, candidate, &run.workload.scenario, counted);
    let spread = |latency: Latency| Some((format!("{latency}_ms"), spread(sample.values(latency))?));
    row.statistics = Latency::ALL.iter().copied().filter(|_| !skipped).filter_map(spread).collect();
    for (name, value) in measured.end.iter().flat_map(|end| &end.server_metrics) {
        let (block, key) = name.split_once('.').unwrap_or(("phase_metrics", name));
        let block = match block {
            "cache" => &mut row.cache,
            "spec_decode" => &mut row.spec_decode,
            _ => &mut row.phase_metrics,
        };
        block.insert(key.into(), value.clone());
    }
    row.benchmark_command = Some(run.benchmark_command.clone());
    row.quality = Quality {
        unstable: stability.as_ref().is_some_and(|thirds| !thirds.stable),
        saturated: stability.as_ref().is_some_and(|thirds| thirds.saturated),
        too_short_to_tell: whole && run.load.mode == LoadMode::Open && stability.is_none(),
        stability: stability.clone(),
        drafts: row.quality.drafts.take(),
        ..quality(candidate, server, measured)
    };
    row.fingerprint = fingerprint(candidate, run);
    // A probe completes nothing: the end of its search does.
    row.units = run.unit.iter().filter(|_| run.probe.is_none()).cloned().collect();
    row.run = Some(RunBlock {
        run_id: run.run_id.clone(),
        server_id: run.server_id.clone(),
        repeat: run.repeat,
        unit: run.unit.clone(),
        probe: run.probe,
        client: run.client.to_string(),
        started_at: run.started_at.clone(),
        ended_at: measured.end.map(|end| end.ended_at.clone()),
        open: false,
        requests: sample
            .by_status
            .iter()
            .map(|(status, n)| (json!(status).as_str().unwrap_or_default().to_string(), *n))
            .collect(),
    });
    row
}

/// What became of drafted tokens: a run that was not held to a length, or whose prompts are generated, is not ranked.
fn judge_drafts(row: &mut ResultRow, candidate: &Candidate, scenario: &str, counted: Option<f64>) {
    let Some(Speculation { forced_acceptance_length: forced, forced_by }) = &candidate.speculation else { return };
    if row.status == Status::Skipped {
        return;
    }
    let own = candidate.scenarios.iter().find(|one| one.name == scenario);
    let (verdict, why) = acceptance(*forced, counted, own.is_none_or(Scenario::is_made_up));
    let forced_by = forced_by.clone();
    row.quality.drafts =
        Some(DraftQuality { verdict, forced_acceptance_length: *forced, acceptance_length: counted, forced_by });
    if let Some(why) = why.filter(|_| row.status == Status::Ok) {
        let made_up = verdict == AcceptanceVerdict::MadeUp;
        let class = if made_up { FailureClass::MadeUpDrafts } else { FailureClass::AcceptanceMissed };
        (row.status, row.failure_class, row.failure_reason) = (Status::Failed, Some(class), Some(why));
    }
}

/// The workload of a run, as members of a result of a client that does not record it.
pub fn asked(run: &Run) -> Vec<(String, Value)> {
    let w = &run.workload;
    let load = (&run.load.rate, &run.load.concurrency);
    [
        ("workload/kind", json!(w.kind)),
        ("workload/scenario", json!(w.scenario)),
        ("workload/input_len", json!(w.input_len)),
        ("workload/output_len", json!(w.output_len)),
        ("workload/num_prompts", json!(w.num_prompts)),
        ("workload/request_rate", json!(load.0)),
        ("workload/max_concurrency", json!(load.1)),
        ("workload/endpoint", json!(w.endpoint)),
        ("workload/load", json!(run.load)),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .into()
}

/// Another client's result for a server that was leased to it.
pub fn imported(candidate: &Candidate, server: &Server, run: Option<&Run>, measured: ResultRow) -> ResultRow {
    let own = base(candidate, Some(server));
    let simulated = own.quality.simulated;
    let smoke = own.quality.smoke || run.is_some_and(|run| run.smoke);
    let mut row = ResultRow {
        status: measured.status,
        failure_class: measured.failure_class,
        failure_reason: measured.failure_reason,
        workload: measured.workload,
        sla: measured.sla,
        statistics: measured.statistics,
        verdict: measured.verdict,
        metrics: measured.metrics,
        fingerprint: measured.fingerprint,
        native: measured.native,
        benchmark_command: run.map(|run| run.benchmark_command.clone()),
        quality: Quality { simulated, smoke, ..measured.quality },
        units: run.and_then(|run| run.unit.clone()).into_iter().collect(),
        run: run.map(|run| RunBlock {
            run_id: run.run_id.clone(),
            server_id: run.server_id.clone(),
            repeat: run.repeat,
            unit: run.unit.clone(),
            probe: None,
            client: run.client.to_string(),
            started_at: run.started_at.clone(),
            ended_at: None,
            open: false,
            requests: BTreeMap::new(),
        }),
        ..own
    };
    // That client does not read the server's counters.
    judge_drafts(&mut row, candidate, run.map_or("", |run| &run.workload.scenario), None);
    row
}

/// The result of a candidate that never ran: it was skipped, or its server did not start.
pub fn not_tried(candidate: &Candidate, end: Option<&ServerEnd>, status: Status) -> ResultRow {
    let mut row = base(candidate, None);
    row.status = status;
    row.failure_class = end.and_then(|e| e.failure_class.clone()).or_else(|| candidate.failure_class.clone());
    row.failure_reason = end.and_then(|e| e.failure_reason.clone()).or_else(|| candidate.failure_reason.clone());
    row.artifacts = end.map(|e| e.artifacts.clone()).unwrap_or_default();
    row.sla.insert("passed".into(), Value::Null);
    row.units = candidate.units.iter().map(|unit| unit.key.clone()).collect();
    row.hardware.node = end.and_then(|end| end.node.clone());
    row
}

/// Applies the end of a search to its probes: one of them is chosen and completes the unit.
pub fn searched(probes: &mut [&mut ResultRow], end: Option<&SearchEnd>) {
    let block = |chosen: bool| SearchBlock {
        chosen,
        searched: end.map(|end| end.searched).unwrap_or_default(),
        decided_by: end.and_then(|end| end.decided_by),
        max_pass: end.and_then(|end| end.max_pass),
        min_fail: end.and_then(|end| end.min_fail),
        reason: end.map_or(SearchEndReason::Unfinished, |end| end.reason),
        probes: end.map_or(0, |end| end.probes),
        non_monotone: end.is_some_and(|end| end.non_monotone),
    };
    let searched = end.map(|end| end.searched).unwrap_or_default();
    let value = |row: &ResultRow| {
        let workload = row.workload.as_ref()?;
        match searched {
            SearchedLoad::Rate => workload.request_rate,
            SearchedLoad::Concurrency => workload.max_concurrency.map(f64::from),
        }
    };
    let passed = |row: &ResultRow| row.sla.get("passed") == Some(&Value::Bool(true));
    let closes = end.is_some_and(|end| end.reason.is_final());
    // The first of two stages compares candidates of one framework; what it ended with is not a result of the candidate.
    let is_screen =
        probes.iter().any(|row| row.workload.as_ref().is_some_and(|w| w.load.as_ref().is_some_and(|load| load.screen)));
    // A search that was cut off counts up to where it came, and does not close its unit.
    let counts = closes || (!is_screen && end.is_some_and(|end| end.reason.is_cut()));
    let wanted = end.filter(|_| counts).and_then(|end| end.max_pass);
    // The last run at that load is the longest.
    let chosen = match wanted {
        Some(max_pass) => probes.iter().rposition(|row| value(row) == Some(max_pass) && passed(row)),
        None => {
            let lowest = |(_, row): &(usize, &&mut ResultRow)| value(row).unwrap_or(f64::INFINITY);
            let all = probes.iter().enumerate().filter(|_| closes);
            all.min_by(|a, b| lowest(a).total_cmp(&lowest(b))).map(|(i, _)| i)
        }
    };
    for (i, row) in probes.iter_mut().enumerate() {
        row.search = Some(block(chosen == Some(i) && !is_screen));
        if chosen == Some(i) {
            row.units = row.run.iter().filter(|_| closes).filter_map(|run| run.unit.clone()).collect();
            row.metrics.extend(wanted.filter(|_| !is_screen).map(|best| (searched.metric().to_string(), Some(best))));
            sample::per_gpu(&mut row.metrics, row.hardware.gpu_count);
            if let Some(end) = end.filter(|end| end.reason == SearchEndReason::Pruned) {
                row.status = Status::Skipped;
                row.failure_class = Some(FailureClass::Pruned);
                row.failure_reason = end.min_fail.map(|load| {
                    let unit = searched.unit();
match row.candidate.as_ref().and_then(|candidate| candidate.stage) {
                        Some(_) => format!("not better than the best of its framework: at {load} {unit}, 10 % above it, it missed the SLA twice"),
                        None => format!("search stopped: at {load} {unit}, where another candidate meets the SLA, it missed the SLA twice"),
                    }
                });
            }
        }
    }
}

/// Applies the end of a server: why a run lost its server, throttling, and energy.
pub fn ended(result: &mut ResultRow, end: &ServerEnd) {
    if let Some(gpu) = &end.gpu {
        result.quality.throttled = gpu.devices.iter().any(|d| d.throttled_share.is_some_and(|share| share > THROTTLED));
        let ms = |text: &str| text.parse::<Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
        let times = result.run.as_ref().and_then(|run| Some((ms(&run.started_at)?, ms(run.ended_at.as_deref()?)?)));
        if let Some(joules) = times.and_then(|(from, to)| crate::engines::gpu::energy(&gpu.power, from, to)) {
            result.metrics.insert("energy_j".into(), Some(joules));
        }
    }
    // The end knows from the server's log why it answered nothing but errors.
    if end.status != Status::Ok
        && result.failure_class == Some(FailureClass::AllRequestsFailed)
        && let Some(cause) = &end.failure_reason
    {
        let failed = result.failure_reason.take().unwrap_or_default();
        result.failure_reason = Some(format!("{failed}; the server: {cause}"));
        result.failure_class = end.failure_class.clone().or(result.failure_class.take());
        result.status = end.status;
    }
    if end.status != Status::Ok && result.failure_class == Some(FailureClass::ServerLost) {
        result.status = end.status;
        result.failure_class.clone_from(&end.failure_class);
        result.failure_reason.clone_from(&end.failure_reason);
    }
}

/// Applies a missing end of a leased server to a run that lost it: bench-serve was killed, and the run with it. Nothing
/// about the candidate follows from that.
pub fn lost(result: &mut ResultRow, server: &Server) {
    let lost = match &result.failure_class {
        Some(FailureClass::ServerLost) => true,
        // A server without a lease may just not have responded.
        Some(FailureClass::AllRequestsFailed) => server.endpoint.lease.is_some(),
        Some(_) | None => false,
    };
    if lost {
        result.status = Status::Failed;
        result.failure_class = Some(FailureClass::Interrupted);
        result.failure_reason =
            Some("the server has no end in these rows: bench-serve was killed while this ran; rerun to resume".into());
    }
}

fn base(candidate: &Candidate, server: Option<&Server>) -> ResultRow {
    let mut environment = ResultRow::unknown_environment();
    environment.extend(server.map(|s| s.environment.clone()).unwrap_or_default());
    let (mut startup, mut memory) = (Members::new(), Members::new());
    if let Some(server) = server {
        startup.extend(server.ready_ms.map(|ms| ("ready_ms".to_string(), ms.into())));
        startup.extend(server.ready_ms.map(|_| ("cold".to_string(), server.cold.into())));
        startup.extend(server.start.map(|start| ("start".to_string(), start.as_str().into())));
        for (name, value) in &server.facts {
            // The suffix of a key says whether it is a time, an amount, or otherwise a setting.
            let block = match value {
                Value::String(_) => &mut environment,
                _ if name.ends_with("_s") => &mut startup,
                _ => &mut memory,
            };
            block.insert(name.clone(), value.clone());
        }
    }
    let mut hardware = server.map_or(&*candidate.hardware, |s| &s.hardware).clone();
    hardware.gpu_count = candidate.gpus.or(hardware.gpu_count);
    ResultRow {
        framework_version: server.and_then(|s| s.framework_version.clone()),
        framework_commit: server.and_then(|s| s.framework_commit.clone()),
        hardware,
        sla: sla::of_scenario(&candidate.sla, ""),
        server_command: candidate.server_command.clone(),
        launch_command: candidate.launch_command.clone(),
        quality: Quality {
            simulated: candidate.simulated || server.is_some_and(|s| s.simulated),
            smoke: candidate.benchmark.smoke,
            ..Quality::default()
        },
        environment,
        startup,
        memory,
        candidate: Some(CandidateBlock {
            changed: candidate.server.changed.clone(),
            baseline: candidate.search.baseline,
            index: candidate.search.index,
            of: candidate.search.of,
            calibration: candidate.search.calibration,
            slot_check: candidate.search.slot_check,
            slot: candidate.slot.clone(),
            why: candidate.search.why.clone(),
            stage: candidate.search.stage,
            never_tried: candidate.search.never_tried.clone(),
            weights: Members::clone(&candidate.weights),
        }),
        validated_cli_flags: candidate.validated_cli_flags.clone(),
        substitutions: candidate.substitutions.clone(),
        caveats: candidate.caveats.to_vec(),
        artifacts: server.map(|s| s.artifacts.clone()).unwrap_or_default(),
        ..ResultRow::new(&candidate.framework, &candidate.candidate_id, &candidate.model, Status::Failed)
    }
}

fn outcome(end: Option<&RunEnd>) -> (Status, Option<FailureClass>, Option<String>) {
    let Some(end) = end else {
        let why = "the run has no end in these rows: it was interrupted; rerun to resume";
        return (Status::Failed, Some(FailureClass::Interrupted), Some(why.into()));
    };
    // Measurements of a saturated client say nothing about the server.
    let status = if end.client.saturated && end.status == Status::Ok { Status::Failed } else { end.status };
    (status, end.failure_class.clone(), end.failure_reason.clone())
}

fn workload(run: &Run, sample: &Sample) -> WorkloadBlock {
    let w = &run.workload;
    WorkloadBlock {
        kind: Some(w.kind.to_string()),
        scenario: Some(w.scenario.clone()),
        dataset_path: w.dataset_path.clone(),
        input_len: Some(w.input_len.into()),
        output_len: Some(w.output_len.into()),
        input_len_p50: percentile(&sample.input, 50.0),
        input_len_p95: percentile(&sample.input, 95.0),
        output_len_p50: percentile(&sample.output, 50.0),
        output_len_p95: percentile(&sample.output, 95.0),
        num_prompts: Some(w.num_prompts),
        request_rate: run.load.rate,
        max_concurrency: run.load.concurrency.or(run.load.cap),
        endpoint: Some(w.endpoint.to_string()),
        load: Some(run.load.clone()),
    }
}

fn quality(candidate: &Candidate, server: &Server, measured: &RunMeasurement) -> Quality {
    let (run, sample) = (measured.run, measured.sample);
    let input = total(&sample.input);
    Quality {
        simulated: candidate.simulated || server.simulated || run.simulated,
        smoke: run.smoke,
        client_saturated: measured.end.is_some_and(|end| end.client.saturated),
        length_mismatch: candidate.benchmark.ignore_eos && f64::from(measured.short) > SHORT * f64::from(sample.ok()),
        buffered: f64::from(sample.together) > BUFFERED * f64::from(sample.ok()),
        choices: Some(sample.choices).filter(|n| *n > 1),
        cache_contaminated: !run.workload.prefix_reuse && sample.cached > CACHED * input,
        // Throttling is only known at the server's end.
        reached_by: Some(server.endpoint.reached_by).filter(|way| *way != ReachedBy::SameHost),
        token_source: (sample.ok() > 0).then_some(if sample.counted_chunks {
            TokenSource::Chunks
        } else {
            TokenSource::Usage
        }),
        percentile_method: Some("type7".into()),
        ..Quality::default()
    }
}

/// Settings that must be equal in rows that are compared.
fn fingerprint(candidate: &Candidate, run: &Run) -> Members {
    let arrivals = (run.load.mode == LoadMode::Open).then(|| run.load.arrivals.unwrap_or(Arrivals::Poisson));
    let major = run.client.version.split('.').next().unwrap_or_default();
    let value = json!({
        "model": candidate.model, "precision": candidate.precision, "quantization": candidate.quantization,
        "gpu_model": candidate.hardware.gpu_model, "gpu_count": candidate.hardware.gpu_count, "workload": run.workload.sha256,
        "load_mode": run.load.mode, "arrivals": arrivals, "endpoint": run.workload.endpoint, "sampling": candidate.benchmark.extra_request_body,
        "client": format!("{} {major}", run.client.name), "cache": run.cache,
    });
    value.as_object().cloned().unwrap_or_default()
}

/// Gaps between tokens: chunk gaps spread over each chunk's tokens if their numbers are known; otherwise chunk gaps, if
/// every chunk is one token.
fn itl(measured: &RunMeasurement) -> Option<Histogram<u64>> {
    let histograms = &measured.end?.histograms;
    let text = histograms
        .itl_us
        .as_ref()
        .or_else(|| histograms.chunk_gap_us.as_ref().filter(|_| measured.one_token_a_chunk))?;
    decode(text)
}
