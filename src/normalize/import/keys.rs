//! The members that `--set` and `--name` set: their short names, and their places in the row.

use serde_json::{Value, json};

use super::repeats::REPEAT;
use crate::base::error::{Error, Result};
use crate::rows::words::Limit;

/// What a member takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    /// A number of at least 0.
    Number,
    /// A whole number of at least 0.
    Count,
}

/// Short names, each with its place in the row. The place with dots is accepted too.
const KEYS: &[(&str, &str, Takes)] = &[
    ("framework", "framework", Takes::Text),
    ("framework_version", "framework_version", Takes::Text),
    ("model", "model", Takes::Text),
    ("candidate", "candidate_id", Takes::Text),
    ("candidate_id", "candidate_id", Takes::Text),
    ("server_command", "server_command", Takes::Text),
    ("launch_command", "launch_command", Takes::Text),
    ("benchmark_command", "benchmark_command", Takes::Text),
    ("scenario", "workload/scenario", Takes::Text),
    ("kind", "workload/kind", Takes::Text),
    ("endpoint", "workload/endpoint", Takes::Text),
    ("input_len", "workload/input_len", Takes::Number),
    ("output_len", "workload/output_len", Takes::Number),
    ("num_prompts", "workload/num_prompts", Takes::Count),
    ("rate", "workload/request_rate", Takes::Number),
    ("request_rate", "workload/request_rate", Takes::Number),
    ("concurrency", "workload/max_concurrency", Takes::Count),
    ("max_concurrency", "workload/max_concurrency", Takes::Count),
    ("gpu_model", "hardware/gpu_model", Takes::Text),
    ("gpu_count", "hardware/gpu_count", Takes::Count),
    ("driver", "hardware/driver", Takes::Text),
    ("image", "environment/image", Takes::Text),
    ("repeat", REPEAT, Takes::Count),
];
/// Before the name of a changed flag.
pub const CHANGED: &str = "candidate/changed/";

/// A member of `--set KEY=VALUE`: its place in the row, and its value.
///
/// # Errors
/// An unknown key, with the nearest known one and all others; a value of the wrong type.
pub fn member(key: &str, text: &str) -> Result<(String, Value)> {
    let place = key.replace('.', "/");
    if let Some(limit) = place.strip_prefix("sla/").or_else(|| Limit::known(&place).map(|_| place.as_str())) {
        return threshold(limit, text);
    }
    if let Some(flag) = place.strip_prefix(CHANGED).filter(|flag| !flag.is_empty()) {
        return Ok((format!("{CHANGED}{flag}"), serde_json::from_str(text).unwrap_or_else(|_| text.into())));
    }
    match KEYS.iter().find(|(short, long, _)| *short == key || *long == place) {
        Some((_, place, takes)) => Ok(((*place).into(), takes.value(key, text)?)),
        None => Err(unknown(key)),
    }
}

/// A member of `--name '{FIELD}'`; a field that is not a known key is a flag of the server.
///
/// # Errors
/// A value of the wrong type.
pub fn field(name: &str, text: &str) -> Result<(String, Value)> {
    match KEYS.iter().find(|(short, ..)| *short == name) {
        Some((_, place, takes)) => Ok(((*place).into(), takes.value(name, text)?)),
        None => member(&format!("{CHANGED}{name}"), text),
    }
}

fn threshold(limit: &str, text: &str) -> Result<(String, Value)> {
    let known = Limit::parse(limit).map_err(Error::new)?;
    let value = text.parse::<f64>().map_err(|_| Error::new(format!("{limit} must be a number, got {text:?}")))?;
    known.takes(value).map_err(|what| Error::new(format!("{limit} must be {what}")))?;
    Ok((format!("sla/{limit}"), json!(value)))
}

impl Takes {
    fn value(self, key: &str, text: &str) -> Result<Value> {
        let number = || text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let wrong = |what: &str| Error::new(format!("{key} must be {what}, got {text:?}"));
        match self {
            Self::Text => Ok(text.into()),
            Self::Number => number().map(|n| json!(n)).ok_or_else(|| wrong("a number of at least 0")),
            Self::Count => text.parse::<u32>().map(|n| json!(n)).map_err(|_| wrong("a whole number of at least 0")),
        }
    }
}

fn unknown(key: &str) -> Error {
    let last = key.rsplit(['.', '/']).next().unwrap_or(key);
    let distance = |known: &&str| strsim::damerau_levenshtein(known, last);
    let near = KEYS.iter().map(|(short, ..)| *short).min_by_key(distance).filter(|near| distance(near) <= 2);
    let near = near.map_or(String::new(), |near| format!("did you mean {near}? "));
    let known: Vec<&str> = KEYS.iter().map(|(short, ..)| *short).collect();
    Error::new(format!("unknown key {key:?}; {near}known: {}, sla.LIMIT, candidate.changed.FLAG", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_and_its_place_are_the_same_member() {
        for key in ["scenario", "workload.scenario", "workload/scenario"] {
            assert_eq!(member(key, "500").unwrap(), ("workload/scenario".into(), json!("500")));
        }
        assert_eq!(member("hardware.gpu_count", "4").unwrap(), member("gpu_count", "4").unwrap());
        assert_eq!(member("max_p99_ttft_ms", "500").unwrap(), member("sla.max_p99_ttft_ms", "500").unwrap());
        assert_eq!(member("candidate.changed.tp", "2").unwrap(), ("candidate/changed/tp".into(), json!(2)));
    }

    #[test]
    fn what_is_not_a_key_or_not_of_its_type_is_an_error() {
        let error = |key: &str, text: &str| member(key, text).unwrap_err().to_string();
        assert!(
            error("scenarioo", "x").starts_with("unknown key \"scenarioo\"; did you mean scenario? known: framework,")
        );
        assert!(error("hardware.gpu_cuont", "4").contains("did you mean gpu_count?"));
        assert!(error("run.run_id", "r").contains("unknown key \"run.run_id\"; known:"));
        assert_eq!(error("gpu_count", "many"), "gpu_count must be a whole number of at least 0, got \"many\"");
        assert!(error("sla.max_p99_tfft_ms", "5").contains("did you mean max_p99_ttft_ms?"));
        assert_eq!(error("sla.min_success_rate", "5"), "min_success_rate must be a share between 0 and 1");
    }
}
