//! Renders a flag set as a command: argv, and the option files in it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engines::framework::{Booleans, Framework, KnobRole};
use crate::plan::FrameworkPlan;
use crate::rows::kinds::Members;
use crate::rows::words::ReachedBy;

/// Default address to bind.
const HOST: &str = "127.0.0.1";
/// That of a server that clients reach over a network.
const EVERY_HOST: &str = "0.0.0.0";

/// Moves maps of knobs that take a file into files, by name, and puts their paths in place. The files are JSON, which is valid YAML
/// and quotes every string, so that no YAML 1.1 reader takes `no` for false.
pub fn files(framework: &Framework, flags: &mut Members) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (knob, name) in &framework.option_files {
        if let Some(value) = flags.get_mut(knob).filter(|value| value.is_object()) {
            files.insert(name.clone(), value.to_string());
            *value = format!("{{files}}/{name}").into();
        }
    }
    files
}

/// The server command, with `{port}` for the port.
pub fn argv(
    framework: &Framework,
    given: &FrameworkPlan,
    model: &str,
    flags: &Members,
    reached: ReachedBy,
) -> Vec<String> {
    let own = given.command.as_ref();
    let mut argv = own.map_or_else(|| framework.command.clone(), |own| own.head.clone());
    let own_flags: Vec<String> = flags.keys().map(|knob| framework.flag(knob)).collect();
    let has_flag = |flag: &str| own_flags.iter().any(|own| own == flag);
    let model_flag = own.map_or(&framework.model_flag, |own| &own.model_flag);
    match (own.and_then(|own| own.model.as_ref()), model_flag) {
        (Some(words), _) => argv.extend(words.iter().cloned()),
        // The plan may set the model as a knob.
        (None, Some(flag)) if has_flag(flag) => {}
        (None, Some(flag)) => argv.extend([flag.clone(), model.to_string()]),
        (None, None) => argv.push(model.to_string()),
    }
    argv.extend(own.iter().flat_map(|own| own.rest.iter().cloned()));
    if let Some(flag) = framework.served_name_flag.as_ref().filter(|flag| !has_flag(flag)) {
        argv.push(flag.clone());
        match own.map_or(&[] as &[String], |own| &own.served_names) {
            [] => argv.push(model.to_string()),
            names => argv.extend(names.iter().cloned()),
        }
    }
    for (knob, value) in flags {
        add(framework, knob, value, &mut argv);
    }
    let default = if reached == ReachedBy::Network { EVERY_HOST } else { HOST };
    let host = own.and_then(|own| own.host.as_deref()).unwrap_or(default);
    for (flag, value) in [(&framework.host_flag, host), (&framework.port_flag, "{port}")] {
        if !has_flag(flag) {
            argv.extend([flag.clone(), value.to_string()]);
        }
    }
    argv.extend(given.extra_args.iter().cloned());
    argv
}

/// The name by which requests ask for the model, if it is not the plan's.
pub fn served_name(framework: &Framework, given: &FrameworkPlan, flags: &Members) -> Option<String> {
    let own = given.command.as_ref().and_then(|own| own.served_names.first().cloned());
    own.or_else(|| {
        let mut knobs = framework.with_role(KnobRole::ServedName);
        knobs.find_map(|(knob, _)| flags.get(knob)?.as_str().map(String::from))
    })
}

/// Adds the words of one knob; none for null.
fn add(framework: &Framework, knob: &str, value: &Value, argv: &mut Vec<String>) {
    let Some(flag) = framework.spell(knob, value) else { return };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    match (value, framework.flags.booleans) {
        (Value::Bool(value), Booleans::Value) => argv.extend([flag, value.to_string()]),
        (Value::Bool(_), _) => argv.push(flag),
        (Value::Array(items), _) => argv.extend(std::iter::once(flag).chain(items.iter().map(text))),
        // `FLAG=VALUE`, because the value looks like a flag.
        (Value::String(value), _) if value.starts_with('-') => argv.push(format!("{flag}={value}")),
        (value, _) => argv.extend([flag, text(value)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::framework::Frameworks;
    use serde_json::json;

    #[test]
    fn a_dotted_knob_becomes_a_member_of_the_option_file() {
        let flags = json!({"tp_size": 1, "extra_llm_api_options": {"print_iter_log": false, "kv_cache_config": {"dtype": "auto"}},
                           "extra_llm_api_options.kv_cache_config.dtype": "fp8", "extra_llm_api_options.moe_config.backend": "no"});
        let mut flags = crate::plan::nested(flags.as_object().unwrap()).unwrap();
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let files = files(frameworks.get("tensorrt_llm").unwrap(), &mut flags);
        let content: Value = serde_json::from_str(&files["extra_llm_api_options.yaml"]).unwrap();
        assert_eq!(
            content,
            json!({"print_iter_log": false, "kv_cache_config": {"dtype": "fp8"}, "moe_config": {"backend": "no"}})
        );
        assert_eq!(flags["extra_llm_api_options"], "{files}/extra_llm_api_options.yaml");
        assert_eq!(flags.len(), 2);
    }
}
