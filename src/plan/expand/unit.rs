//! Units of work and of resume: their keys, and which results close them.

use serde_json::json;

use crate::base::digest;
use crate::rows::kinds::{Candidate, Load, Scenario, Status, Unit};
use crate::rows::row::SCHEMA_VERSION;
use crate::rows::words::FailureClass;

/// Scenario × load × repeat, each with a key from everything its result depends on.
pub(super) fn units(candidate: &Candidate, asked: &UnitKeys, repeats: u32) -> Vec<Unit> {
    let common = common(candidate);
    let mut units = Vec::new();
    for repeat in 0..repeats {
        for scenario in &candidate.scenarios {
            for load in 0..candidate.loads.len() {
                let key = asked.key(&common, &scenario.name, load, repeat);
                units.push(Unit { key, scenario: scenario.name.clone(), load, repeat });
            }
        }
    }
    units
}

/// The scenarios and loads of a plan, in the form that goes into the keys of units.
#[derive(Debug)]
pub(super) struct UnitKeys {
    scenarios: Vec<(String, String)>,
    loads: Vec<String>,
}

impl UnitKeys {
    pub(super) fn of(scenarios: &[Scenario], loads: &[Load]) -> Self {
        let scenario = |s: &Scenario| (s.name.clone(), digest::canonical(&s.identity()));
        Self {
            scenarios: scenarios.iter().map(scenario).collect(),
            loads: loads.iter().map(|load| digest::canonical(&json!(load))).collect(),
        }
    }

    /// The key of a unit: 16 hexadecimal digits from everything its result depends on.
    pub(super) fn key(&self, common: &str, scenario: &str, load: usize, repeat: u32) -> String {
        let known = self.scenarios.iter().find(|(name, _)| name == scenario);
        let scenario = known.map_or("", |(_, identity)| identity);
        let content = format!("{common}\n{scenario}\n{}\n{repeat}", self.loads[load]);
        digest::sha256(content.as_bytes())[..16].to_string()
    }
}

/// A digest of everything all units of a candidate depend on.
pub(super) fn common(candidate: &Candidate) -> String {
    let mut hardware = candidate.hardware.clone();
    hardware.gpu_uuids.clear();
    let mut content = json!({
        "schema": SCHEMA_VERSION, "framework": candidate.framework, "server": candidate.server.argv,
        "env": candidate.server.env, "files": candidate.server.files, "definition": candidate.server.definition,
        "model": candidate.model, "precision": candidate.precision, "quantization": candidate.quantization,
        "hardware": hardware, "benchmark": candidate.benchmark, "client": env!("CARGO_PKG_VERSION_MAJOR"),
    });
    if let Some(image) = &candidate.server.image {
        content["image"] = image.as_str().into();
    }
    if let Some(version) = &candidate.version {
        content["version"] = version.as_str().into();
    }
    digest::sha256(digest::canonical(&content).as_bytes())
}

/// True if a result with this status and class completes its units; transient failures are run again.
#[must_use]
pub fn closes(status: Status, class: Option<&FailureClass>) -> bool {
    status != Status::Timeout && !class.is_some_and(FailureClass::is_transient)
}
