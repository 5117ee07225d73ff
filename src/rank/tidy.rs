//! Rows whose members are of other types than they should be.

use serde_json::Value;

use crate::rows::row::Row;

/// Whether a value is of a type.
type TypeCheck = fn(&Value) -> bool;

fn is_u32(value: &Value) -> bool {
    value.as_u64().is_some_and(|n| u32::try_from(n).is_ok())
}

/// What a member has to be, for rows that have something else there.
const TYPES: &[(&str, TypeCheck)] = &[
    ("/record", Value::is_string),
    ("/framework", Value::is_string),
    ("/candidate_id", Value::is_string),
    ("/model", Value::is_string),
    ("/status", Value::is_string),
    ("/verdict", Value::is_string),
    ("/failure_class", Value::is_string),
    ("/hardware", Value::is_object),
    ("/hardware/gpu_model", Value::is_string),
    ("/hardware/gpu_count", Value::is_number),
    ("/workload", Value::is_object),
    ("/scenario", Value::is_string),
    ("/workload/scenario", Value::is_string),
    ("/workload/scenario_name", Value::is_string),
    ("/workload/dataset_scenario", Value::is_string),
    ("/workload/dataset_name", Value::is_string),
    ("/workload/kind", Value::is_string),
    ("/workload/request_rate", Value::is_number),
    ("/workload/max_concurrency", Value::is_number),
    ("/workload/load", Value::is_object),
    ("/workload/load/mode", Value::is_string),
    ("/workload/load/arrivals", Value::is_string),
    ("/sla", Value::is_object),
    ("/metrics", Value::is_object),
    ("/quality", Value::is_object),
    ("/fingerprint", Value::is_object),
    ("/fingerprint/client", Value::is_string),
    ("/candidate", Value::is_object),
    ("/candidate/of", is_u32),
    ("/candidate/baseline", Value::is_boolean),
    ("/search", Value::is_object),
    ("/search/chosen", Value::is_boolean),
    ("/search/reason", Value::is_string),
    ("/run", Value::is_object),
    ("/run/unit", Value::is_string),
    ("/run/probe", is_u32),
    ("/run/server_id", Value::is_string),
    ("/run/started_at", Value::is_string),
    ("/run/repeat", is_u32),
    ("/native", Value::is_object),
    ("/native/repeat", is_u32),
    ("/units", Value::is_array),
    ("/quality/token_source", Value::is_string),
    ("/quality/reached_by", Value::is_string),
];

/// Words that decide what a row is taken for; `words` checks them.
const WORDS: [&str; 4] = ["/status", "/verdict", "/workload/load/mode", "/workload/load/arrivals"];

/// Members that are true or not; anything else than true is not.
const FLAGS: [&str; 10] = [
    "simulated",
    "smoke",
    "client_saturated",
    "length_mismatch",
    "cache_contaminated",
    "throttled",
    "saturated",
    "too_short_to_tell",
    "unstable",
    "placeholder_zero",
];

/// A row without the members that are of another type than they should be: as if they were not there.
pub fn tidied(row: &Row) -> String {
    let mut value = Value::Object(row.map().clone());
    for (pointer, is_right) in TYPES {
        let Some((parent, key)) = pointer.rsplit_once('/') else { continue };
        let Some(members) = value.pointer_mut(parent).and_then(Value::as_object_mut) else { continue };
        let Some(found) = members.get(key).filter(|found| !is_right(found)) else { continue };
        // A number that stands for a name is one, but none of the words that there are.
        let name =
            found.as_f64().map(|n| n.to_string()).filter(|_| is_right(&Value::from("")) && !WORDS.contains(pointer));
        match name {
            Some(name) => members.insert(key.into(), name.into()),
            None => members.remove(key),
        };
    }
    if let Some(quality) = value.get_mut("quality").and_then(Value::as_object_mut) {
        for flag in FLAGS {
            quality.insert(flag.into(), quality.get(flag).is_some_and(|found| *found == true).into());
        }
        let saturated = quality.get("stability").is_some_and(|thirds| thirds["saturated"] == true);
        quality.insert("stability".into(), serde_json::json!({ "saturated": saturated }));
    }
    if let Some(units) = value["units"].as_array_mut() {
        units.retain(Value::is_string);
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::Intake;
    use serde_json::json;

    #[test]
    fn a_word_that_nobody_knows_is_refused() {
        let row = json!({"record": "result", "framework": "f", "candidate_id": "c", "status": "ok", "verdict": "pass",
            "workload": {"load": {"mode": "open", "arrivals": "gamma:0.1"}}});
        assert!(Intake::default().line(&row.to_string()).is_ok_and(|read| read.is_some()));
        for pointer in WORDS {
            let mut wrong = row.clone();
            *wrong.pointer_mut(pointer).unwrap() = "gama:0.1".into();
            let why = Intake::default().line(&wrong.to_string()).unwrap_err().to_string();
            assert!(why.contains("gama:0.1") && why.contains(pointer.rsplit('/').next().unwrap()), "{why}");
        }
    }

    #[test]
    fn a_result_is_ranked_whatever_its_members_are() {
        let odd = [
            json!(null),
            json!(1),
            json!(-1.5),
            json!(u64::MAX),
            json!("x"),
            json!(true),
            json!([null]),
            json!({"a": []}),
        ];
        let flags = FLAGS.iter().map(|flag| format!("/quality/{flag}"));
        let more = [
            "/quality/stability",
            "/quality/stability/saturated",
            "/quality/blind",
            "/metrics/mean_ttft_ms",
            "/sla/passed",
        ];
        let all = TYPES.iter().map(|(pointer, _)| (*pointer).to_string()).chain(flags).chain(more.map(String::from));
        for (pointer, value) in all.flat_map(|pointer| odd.iter().map(move |value| (pointer.clone(), value))) {
            let mut row = json!({"record": "result", "framework": "f", "candidate_id": "c", "status": "ok"});
            // A `record` of another kind is no result.
            if pointer == "/record" && *value != Value::Null {
                continue;
            }
            // A word that decides and that nobody knows is refused; of another type it is as if it were not there.
            if value.is_string() && WORDS.contains(&pointer.as_str()) {
                continue;
            }
            let (last, mut place) = (pointer.rsplit('/').next().unwrap(), &mut row);
            for key in pointer.split('/').skip(1).take_while(|key| *key != last) {
                place = &mut place[key];
            }
            place[last] = value.clone();
            let read = Intake::default().line(&row.to_string());
            assert!(read.is_ok_and(|read| read.is_some()), "{row}");
        }
    }
}
