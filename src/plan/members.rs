//! Dotted knobs (`compilation_config.cudagraph_mode`) and the maps they belong to.

use serde_json::{Map, Value};

use super::finding::Finding;
use super::framework_plan::{FrameworkPlan, KnobSetting};
use super::shape::plain_text;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Kind};
use crate::rows::kinds::Members;
use crate::rows::words::FindingCode as Code;

/// Moves dotted knobs into the maps they belong to; a map may be written as JSON text.
///
/// # Errors
/// A dotted knob whose parent is not a map.
pub fn nested(flags: &Members) -> Result<Members, String> {
    if !flags.keys().any(|knob| knob.contains('.')) {
        return Ok(flags.clone());
    }
    let mut whole: Members =
        flags.iter().filter(|(knob, _)| !knob.contains('.')).map(|(k, v)| (k.clone(), v.clone())).collect();
    // A map comes before its members, whatever their order in the plan.
    let mut dotted: Vec<(&String, &Value)> = flags.iter().filter(|(knob, _)| knob.contains('.')).collect();
    dotted.sort_by_key(|(knob, _)| knob.matches('.').count());
    for (knob, value) in dotted {
        let (path, key) = knob.rsplit_once('.').unwrap_or(("", knob));
        let mut parts = path.split('.');
        let root = parts.next().unwrap_or_default();
        let mut name = root.to_string();
        let mut place = map(whole.entry(root).or_insert(Value::Null), &name, knob)?;
        for part in parts {
            name = format!("{name}.{part}");
            place = map(place.entry(part).or_insert(Value::Null), &name, knob)?;
        }
        place.insert(key.into(), value.clone());
    }
    Ok(whole)
}

/// The map at `name`, into which `knob` puts a member.
fn map<'a>(place: &'a mut Value, name: &str, knob: &str) -> Result<&'a mut Map<String, Value>, String> {
    let read = match place {
        Value::Null => Some(Value::Object(Map::new())),
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_object),
        _ => None,
    };
    if let Some(read) = read {
        *place = read;
    }
    let shown = plain_text(place);
    place
        .as_object_mut()
        .ok_or_else(|| format!("{knob} sets a member of {name}, but {name} is {shown}, not a map: write it as a map"))
}

/// Adds findings for invalid JSON text, and for members of something that is not a map.
pub fn check(section: &FrameworkPlan, framework: &Framework, found: &mut Vec<Finding>) {
    let at = format!("/frameworks/{}", escape(&section.name));
    let all = section.settings();
    for setting in &all {
        let KnobSetting { knob, value, .. } = setting;
        let wrong = value.as_str().filter(|text| is_json(framework, knob, text)).map(serde_json::from_str::<Value>);
        if let Some(Err(e)) = wrong {
            found.push(Finding::value(Code::KnobValue, &setting.pointer(), format!("{knob} is not JSON: {e}")));
            continue;
        }
        let inside = |other: &str| knob.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'));
        let wrong = all.iter().filter(|other| inside(other.knob)).find_map(
            |KnobSetting { knob: other, value: map, .. }| {
                // Invalid JSON is reported once, at its own place.
                let invalid = map.as_str().is_some_and(|text| {
                    text.trim_start().starts_with('{') && serde_json::from_str::<Value>(text).is_err()
                });
                let pair = [((*other).to_string(), (*map).clone()), ((*knob).to_string(), (*value).clone())];
                nested(&pair.into_iter().collect()).err().filter(|_| !invalid)
            },
        );
        found.extend(wrong.map(|why| Finding::value(Code::KnobValue, &setting.pointer(), why)));
    }
    let rest = section.command.iter().flat_map(|command| &command.rest);
    let words = rest.map(|word| (word, format!("{at}/server_command")));
    let words =
        words.chain(section.extra_args.iter().enumerate().map(|(i, word)| (word, format!("{at}/extra_args/{i}"))));
    for (word, pointer) in words {
        let text = if word.starts_with('-') { word.split_once('=').map_or("", |(_, value)| value) } else { word };
        if let Some(Err(e)) = begins_as_json(text).then(|| serde_json::from_str::<Value>(text)) {
            found.push(Finding::value(Code::KnobValue, &pointer, format!("{word} is not JSON: {e}")));
        }
    }
}

/// True for text that must be JSON: of a map, or of a knob that the definition does not know.
fn is_json(framework: &Framework, knob: &str, text: &str) -> bool {
    match framework.knob(knob).map(|knob| knob.kind) {
        Some(Some(Kind::Map | Kind::Any)) => text.trim_start().starts_with('{'),
        Some(None) | None => begins_as_json(text),
        Some(Some(_)) => false,
    }
}

/// True for text that begins as a JSON object does, and as no template of a chat does.
fn begins_as_json(text: &str) -> bool {
    text.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(flags: Value) -> Result<Value, String> {
        nested(flags.as_object().unwrap()).map(Value::Object)
    }

    #[test]
    fn a_member_is_added_to_a_map_and_to_its_text() {
        let whole = json!({"c": {"pass": {"a": true, "b": 1}, "mode": "FULL"}});
        for map in [json!({"pass": {"a": true}}), json!("{\"pass\": {\"a\": true}}"), json!({"pass": "{\"a\": true}"})]
        {
            assert_eq!(of(json!({"c": map, "c.pass.b": 1, "c.mode": "FULL"})), Ok(whole.clone()));
        }
        assert_eq!(
            of(json!({"c.pass.b": 1, "c.mode": "FULL", "c.pass": {"a": true}})).unwrap()["c"]["pass"],
            json!({"a": true, "b": 1})
        );
        assert_eq!(of(json!({"c.x.y": 1})), Ok(json!({"c": {"x": {"y": 1}}})));
    }

    #[test]
    fn what_is_not_a_map_has_no_members() {
        for map in [json!(3), json!("/etc/o.yaml"), json!("{\"a\": "), json!([1])] {
            let why = of(json!({"c": map, "c.mode": "FULL"})).unwrap_err();
            assert!(why.contains("not a map"), "{why}");
        }
    }
}
