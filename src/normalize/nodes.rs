//! The calibrations among results as node rows.

use std::collections::BTreeMap;

use super::slots;
use crate::rows::kinds::{GpuDevice, NodeFigure, NodeGpu, NodeRow, ResultRow, Status};

/// The node rows of these calibrations, in the order of their starts; `gpus` are those of their servers.
pub fn nodes(calibrations: &[ResultRow], gpus: &BTreeMap<String, Vec<GpuDevice>>) -> Vec<NodeRow> {
    let mut nodes: BTreeMap<&str, NodeRow> = BTreeMap::new();
    let mut checked: BTreeMap<&str, Vec<&ResultRow>> = BTreeMap::new();
    for result in calibrations {
        let Some(name) = &result.hardware.node else { continue };
        let row = nodes.entry(name).or_insert_with(|| NodeRow { node: name.clone(), ..NodeRow::default() });
        if result.candidate.as_ref().is_some_and(|candidate| candidate.slot_check.is_some()) {
            row.driver = result.hardware.driver.clone().or(row.driver.take());
            checked.entry(name).or_default().push(result);
            continue;
        }
        let run = result.run.as_ref();
        for gpu in run.and_then(|run| gpus.get(&run.server_id)).into_iter().flatten() {
            row.gpus.retain(|other| other.uuid != gpu.uuid);
            row.gpus.push(NodeGpu {
                uuid: gpu.uuid.clone(),
                clock_before_mhz: gpu.clock_first_mhz,
                clock_after_mhz: gpu.clock_last_mhz,
                throttled_share: gpu.throttled_share,
            });
        }
        row.driver = result.hardware.driver.clone().or(row.driver.take());
        let is_ok = result.status == Status::Ok;
        let metric = |name: &str| result.metrics.get(name).copied().flatten().filter(|_| is_ok);
        let workload = result.workload.as_ref();
        let figure = NodeFigure {
            candidate_id: result.candidate_id.clone(),
            scenario: workload.and_then(|workload| workload.scenario.clone()).unwrap_or_default(),
            concurrency: workload.and_then(|workload| workload.max_concurrency),
            request_throughput: metric("request_throughput"),
            mean_e2e_ms: metric("mean_e2e_ms"),
            image_digest: result.environment.get("image_digest").and_then(|digest| Some(digest.as_str()?.into())),
            failure: result.failure_reason.clone().filter(|_| !is_ok),
            started_at: run.map(|run| run.started_at.clone()).unwrap_or_default(),
        };
        row.figures.insert(result.framework.clone(), figure);
        row.units.extend(result.units.iter().filter(|_| is_ok).cloned());
    }
    for (name, results) in checked {
        let (checks, units) = slots::checks(&results);
        if let Some(row) = nodes.get_mut(name) {
            row.slots = checks;
            row.units.extend(units);
        }
    }
    nodes.into_values().collect()
}
