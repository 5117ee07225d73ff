//! Units of work and of resume, and their keys.

use serde_json::json;

use crate::base::digest;
use crate::rows::kinds::{Benchmark, Candidate, Hardware, Load, Scenario, Shared, Unit};
use crate::rows::row::SCHEMA_VERSION;

/// Scenario × load × repeat, each with a key from everything its result depends on.
pub(super) fn units(candidate: &Candidate, asked: &UnitKeys, repeats: u32) -> Vec<Unit> {
    let common = asked.common(candidate);
    let mut units = Vec::new();
    for repeat in 0..repeats {
        for scenario in candidate.scenarios.iter() {
            for load in 0..candidate.loads.len() {
                let key = asked.key(&common, &scenario.name, load, repeat);
                units.push(Unit { key, scenario: scenario.name.clone(), load, repeat, start: None, bar: None });
            }
        }
    }
    units
}

/// What a plan says about all its candidates, in the form that goes into the keys of units.
#[derive(Debug)]
pub(super) struct UnitKeys {
    scenarios: Vec<(String, String)>,
    loads: Vec<String>,
    hardware: String,
    benchmark: (Shared<Benchmark>, String),
}

impl UnitKeys {
    pub(super) fn of_plan(
        scenarios: &[Scenario],
        loads: &[Load],
        hardware: &Hardware,
        benchmark: &Shared<Benchmark>,
    ) -> Self {
        let scenario = |s: &Scenario| (s.name.clone(), digest::canonical(&s.identity()));
        let hardware = Hardware { gpu_uuids: Vec::new(), ..hardware.clone() };
        Self {
            scenarios: scenarios.iter().map(scenario).collect(),
            loads: loads.iter().map(|load| digest::canonical(&json!(load))).collect(),
            hardware: digest::canonical(&json!(hardware)),
            benchmark: (benchmark.clone(), digest::canonical(&json!(benchmark))),
        }
    }

    pub(super) fn of(candidate: &Candidate) -> Self {
        Self::of_plan(&candidate.scenarios, &candidate.loads, &candidate.hardware, &candidate.benchmark)
    }

    /// One unit of a candidate in each of its scenarios, at its first load. `purpose` tells its key from those of other units, `bar` is
    /// that of a scenario.
    pub(super) fn one_each(
        &self,
        candidate: &Candidate,
        purpose: &str,
        bar: impl Fn(&str) -> Option<f64>,
    ) -> Vec<Unit> {
        let common = self.common(candidate) + purpose;
        let unit = |scenario: &Scenario| Unit {
            key: self.key(&common, &scenario.name, 0, 0),
            scenario: scenario.name.clone(),
            load: 0,
            repeat: 0,
            start: None,
            bar: bar(&scenario.name),
        };
        candidate.scenarios.iter().map(unit).collect()
    }

    /// The key of a unit: 16 hexadecimal digits from everything its result depends on.
    pub(super) fn key(&self, common: &str, scenario: &str, load: usize, repeat: u32) -> String {
        let known = self.scenarios.iter().find(|(name, _)| name == scenario);
        let scenario = known.map_or("", |(_, identity)| identity);
        let repeat = repeat.to_string();
        let parts = [common, "\n", scenario, "\n", &self.loads[load], "\n", &repeat].map(str::as_bytes);
        let mut key = digest::sha256_of(&parts);
        key.truncate(16);
        key
    }

    /// A digest of everything all units of a candidate depend on.
    pub(super) fn common(&self, candidate: &Candidate) -> String {
        let server = &candidate.server;
        let (benchmark, known) = &self.benchmark;
        let own = (*benchmark != candidate.benchmark).then(|| digest::canonical(&json!(candidate.benchmark)));
        // In the order of the keys.
        let mut members = digest::CanonicalMembers::default();
        members.add_canonical("benchmark", own.as_ref().unwrap_or(known));
        members.add("client", env!("CARGO_PKG_VERSION_MAJOR"));
        members.add("definition", &server.definition);
        members.add("env", &server.env);
        members.add("files", &server.files);
        members.add("framework", &candidate.framework);
        members.add_canonical("hardware", &self.hardware);
        if let Some(image) = &server.image {
            members.add("image", image);
        }
        members.add("model", &candidate.model);
        members.add("precision", &candidate.precision);
        members.add("quantization", &candidate.quantization);
        members.add("schema", &SCHEMA_VERSION);
        members.add("server", &server.argv);
        if let Some(version) = &candidate.version {
            members.add("version", version);
        }
        members.sha256()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::framework::Frameworks;
    use crate::plan::{CheckContext, load};

    #[test]
    fn what_units_depend_on_is_hashed_as_sorted_json() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let plan = json!({"model": "m \"é\"", "sla": {"max_p50_ttft_ms": 1}, "frameworks": {"vllm": {"env": {"B": "1", "A": null}}}});
        let (found, plan) = load(&plan, &CheckContext::only(&frameworks));
        let all = crate::plan::expand::expand(&plan.unwrap_or_else(|| panic!("{found:?}")), &frameworks).unwrap();
        let mut candidate = all[0].candidates[0].clone();
        let keys = UnitKeys::of(&candidate);
        for (image, version) in [(None, None), (Some("vllm:1"), None), (Some("vllm:1"), Some("0.12"))] {
            (candidate.server.image, candidate.version) = (image.map(String::from), version.map(String::from));
            let mut content = json!({
                "schema": SCHEMA_VERSION, "framework": candidate.framework, "server": candidate.server.argv,
                "env": candidate.server.env, "files": candidate.server.files, "definition": candidate.server.definition,
                "model": candidate.model, "precision": candidate.precision, "quantization": candidate.quantization,
                "hardware": candidate.hardware, "benchmark": candidate.benchmark, "client": env!("CARGO_PKG_VERSION_MAJOR"),
            });
            for (key, value) in [("image", image), ("version", version)] {
                if let Some(value) = value {
                    content[key] = value.into();
                }
            }
            assert_eq!(keys.common(&candidate), digest::sha256(digest::canonical(&content).as_bytes()));
        }
    }
}
