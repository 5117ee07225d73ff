//! The parts of a plan for engines that start jobs: the matrix of a CI job, and a Job of Kubernetes.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::stdio;
use crate::base::error::{Context, Error, Result};
use crate::base::yaml::{self, MAX_BYTES};
use crate::engines::framework::Frameworks;
use crate::plan::expand::{CandidatePart, Estimator};
use crate::rows::kinds::Candidate;

const K8S_JOB: &str = include_str!("../../configs/templates/k8s-job.yaml");

/// What one part has left to run.
#[derive(Debug, Clone, Default)]
pub struct PartWork {
    candidates: usize,
    runs: usize,
    likely_s: f64,
}

/// The work of each of several parts.
#[derive(Debug)]
pub struct PartList(Vec<(CandidatePart, PartWork)>);

impl PartList {
    /// `of` parts without work.
    #[must_use]
    pub fn new(of: u32) -> Self {
        Self(CandidatePart::all(of).map(|part| (part, PartWork::default())).collect())
    }

    /// Adds what is left to run of a plan; `all` are all of its candidates.
    pub fn add(&mut self, all: &[Candidate], left: &[Candidate], estimator: &mut Estimator, frameworks: &Frameworks) {
        let parts = CandidatePart::by_candidate(all, u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        let mut own: BTreeMap<u32, Vec<&Candidate>> = BTreeMap::new();
        for candidate in left.iter().filter(|candidate| candidate.status.is_none()) {
            for index in parts.get(candidate.candidate_id.as_str()).into_iter().flatten() {
                own.entry(*index).or_default().push(candidate);
            }
        }
        for (part, work) in &mut self.0 {
            let Some(own) = own.remove(&part.index) else { continue };
            work.candidates += own.len();
            work.runs += own.iter().map(|candidate| candidate.units.len()).sum::<usize>();
            work.likely_s += estimator.estimate(own.into_iter(), frameworks).likely_s();
        }
    }

    /// The parts with runs, as `include` of a matrix.
    #[must_use]
    pub fn matrix(&self) -> Value {
        let one = |(part, work): &(CandidatePart, PartWork)| json!({"part": part.to_string(), "candidates": work.candidates, "runs": work.runs, "likely_s": work.likely_s.round()});
        json!({"include": self.0.iter().filter(|(_, work)| work.runs > 0).map(one).collect::<Vec<_>>()})
    }

    /// The manifest of the template with these values, and those that are known of the plan at `path`.
    ///
    /// # Errors
    /// A template that cannot be read, a placeholder without a value, or a value that the template does not use.
    pub fn k8s_job(&self, path: &Path, gpus: u32, set: &[(String, String)], template: Option<&Path>) -> Result<String> {
        let (name, text) = match template {
            Some(path) => (stdio::name(path), stdio::read_text(path, MAX_BYTES)?),
            None => ("configs/templates/k8s-job.yaml".to_string(), K8S_JOB.to_string()),
        };
        let manifest: Value = yaml::typed(&text, &name)?;
        let plan = stdio::read_text(path, MAX_BYTES)?;
        let mut values: BTreeMap<String, Value> = BTreeMap::from([
            ("name".into(), job_name(path).into()),
            ("plan".into(), plan.into()),
            ("parts".into(), self.0.len().into()),
            ("parallel".into(), self.0.len().into()),
            ("gpus".into(), gpus.into()),
        ]);
        values.extend(set.iter().map(|(key, value)| {
            (key.clone(), value.parse::<u64>().map_or_else(|_| Value::from(value.as_str()), Value::from))
        }));
        let mut used = Vec::new();
        let filled = fill(&manifest, &values, &mut used).map_err(|e| e.at(name))?;
        if let Some((key, _)) = set.iter().find(|(key, _)| !used.contains(key)) {
            return Err(Error::new(format!("the template has no {{{key}}}")).at("--set"));
        }
        serde_json::to_string_pretty(&filled).context("cannot write the manifest")
    }
}

/// The name of the plan's file as a name of an object: lower-case letters, digits and `-`.
fn job_name(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50).collect();
    format!("bench-{}", name.trim_matches('-')).trim_end_matches('-').to_string()
}

/// A value with `{key}` replaced in its texts; a text that is a placeholder alone becomes the value itself.
fn fill(template: &Value, values: &BTreeMap<String, Value>, used: &mut Vec<String>) -> Result<Value> {
    Ok(match template {
        Value::String(text) => filled_text(text, values, used)?,
        Value::Array(items) => Value::Array(items.iter().map(|item| fill(item, values, used)).collect::<Result<_>>()?),
        Value::Object(members) => Value::Object(
            members.iter().map(|(key, value)| Ok((key.clone(), fill(value, values, used)?))).collect::<Result<_>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    })
}

fn filled_text(text: &str, values: &BTreeMap<String, Value>, used: &mut Vec<String>) -> Result<Value> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('{') {
        let word: String = rest[at + 1..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        let end = at + 1 + word.len();
        if word.is_empty() || !rest[end..].starts_with('}') {
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let missing = || Error::new(format!("{{{word}}} has no value: use --set {word}=VALUE"));
        let value = values.get(&word).ok_or_else(missing)?;
        if text.len() == word.len() + 2 {
            used.push(word);
            return Ok(value.clone());
        }
        out.push_str(&rest[..at]);
        out.push_str(&value.as_str().map_or_else(|| value.to_string(), String::from));
        rest = &rest[end + 1..];
        used.push(word);
    }
    out.push_str(rest);
    Ok(Value::String(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        let values = BTreeMap::from([("parts".to_string(), json!(4)), ("name".to_string(), json!("n"))]);
        let filled = |text: &str| filled_text(text, &values, &mut Vec::new());
        assert_eq!(filled("{parts}").unwrap(), json!(4));
        assert_eq!(filled("x-{name}/{parts} ${HOME} {}").unwrap(), json!("x-n/4 ${HOME} {}"));
        let why = filled("{image}").unwrap_err().to_string();
        assert!(why.contains("--set image=VALUE"), "{why}");
    }

    #[test]
    fn the_name_of_an_object_is_made_of_the_file() {
        for (file, name) in
            [("a/Qwen3_8B.night.yaml", "bench-qwen3-8b-night"), ("_.yaml", "bench"), ("日本.yaml", "bench")]
        {
            assert_eq!(job_name(Path::new(file)), name, "{file}");
        }
    }
}
