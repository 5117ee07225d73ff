//! Units of work and of resume: their keys, and which results close them.

use serde_json::json;

use crate::digest;
use crate::row::SCHEMA_VERSION;
use crate::schema::{Candidate, Scenario, Status, Unit};

/// Scenario × load × repeat, each with the key of everything that its result depends on.
pub(super) fn units(candidate: &Candidate, repeats: u32) -> Vec<Unit> {
    let mut units = Vec::new();
    for repeat in 0..repeats {
        for scenario in &candidate.scenarios {
            for load in 0..candidate.loads.len() {
                let key = key(candidate, &scenario.name, load, repeat);
                units.push(Unit { key, scenario: scenario.name.clone(), load, repeat });
            }
        }
    }
    units
}

/// 16 hexadecimal digits of everything that the result of a unit depends on.
pub(super) fn key(candidate: &Candidate, scenario: &str, load: usize, repeat: u32) -> String {
    let mut hardware = candidate.hardware.clone();
    hardware.gpu_uuids.clear();
    let scenario = candidate.scenarios.iter().find(|known| known.name == scenario).map(Scenario::identity);
    let mut content = json!({
        "schema": SCHEMA_VERSION, "framework": candidate.framework, "server": candidate.server.argv,
        "env": candidate.server.env, "files": candidate.server.files, "definition": candidate.server.definition,
        "model": candidate.model, "precision": candidate.precision, "quantization": candidate.quantization,
        "hardware": hardware, "scenario": scenario, "load": candidate.loads[load], "benchmark": candidate.benchmark,
        "repeat": repeat, "client": env!("CARGO_PKG_VERSION_MAJOR"),
    });
    if let Some(image) = &candidate.server.image {
        content["image"] = image.as_str().into();
    }
    if let Some(version) = &candidate.version {
        content["version"] = version.as_str().into();
    }
    digest::sha256(digest::canonical(&content).as_bytes())[..16].to_string()
}

/// True when a result of this status and class closes its units: what failed for a reason that passes is tried again.
#[must_use]
pub fn closes(status: Status, class: Option<&str>) -> bool {
    const PASSING: [&str; 12] = [
        "no_answer",
        "worker_died",
        "gpu_busy",
        "interrupted",
        "server_lost",
        "server_died",
        "client_saturated",
        "budget",
        "not_ready",
        "port_in_use",
        "lease_timeout",
        "client_failed",
    ];
    status != Status::Timeout && !class.is_some_and(|class| PASSING.contains(&class))
}
