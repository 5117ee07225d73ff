//! A flag set as a command: argv first, text for people from it.

use serde_json::Value;

use crate::framework::{Booleans, Framework};
use crate::plan::FrameworkPlan;
use crate::schema::{CandidateServer, Members};
use crate::shell;

/// The address that a server binds unless the plan says otherwise.
const HOST: &str = "127.0.0.1";

/// The deploy command, with `{port}` for the port.
pub fn argv(framework: &Framework, given: &FrameworkPlan, model: &str, flags: &Members) -> Vec<String> {
    let own =
        given.server_command.as_deref().and_then(|line| shell::split(line).ok()).filter(|words| !words.is_empty());
    let mut argv = own.unwrap_or_else(|| framework.command.clone());
    match &framework.model_flag {
        // A plan may spell the model as a knob of its own.
        Some(flag) if !flags.keys().any(|knob| framework.flag(knob) == *flag) => {
            argv.extend([flag.clone(), model.to_string()])
        }
        Some(_) => {}
        None => argv.push(model.to_string()),
    }
    let given_flag = |flag: &str| flags.keys().any(|knob| framework.flag(knob) == flag);
    if let Some(flag) = framework.served_name_flag.as_ref().filter(|flag| !given_flag(flag)) {
        argv.extend([flag.clone(), model.to_string()]);
    }
    for (knob, value) in flags {
        argv.extend(words(framework, knob, value));
    }
    for (flag, value) in [(&framework.host_flag, HOST), (&framework.port_flag, "{port}")] {
        if !given_flag(flag) {
            argv.extend([flag.clone(), value.to_string()]);
        }
    }
    argv.extend(given.extra_args.iter().cloned());
    argv
}

/// The words that one knob becomes; none when it is null.
fn words(framework: &Framework, knob: &str, value: &Value) -> Vec<String> {
    let flag = framework.flag(knob);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    match (value, framework.flags.booleans) {
        (Value::Null, _) => Vec::new(),
        (Value::Bool(value), Booleans::Value) => vec![flag, value.to_string()],
        (Value::Bool(true), _) => vec![flag],
        (Value::Bool(false), Booleans::Switch) => Vec::new(),
        (Value::Bool(false), Booleans::NoPrefix) => vec![flag.replacen("--", "--no-", 1)],
        (Value::Array(items), _) => std::iter::once(flag).chain(items.iter().map(text)).collect(),
        // A value that looks like a flag must not be taken for one.
        (value, _) if text(value).starts_with('-') && !value.is_number() => vec![format!("{flag}={}", text(value))],
        (value, _) => vec![flag, text(value)],
    }
}

/// The deploy command as text, with the framework's default port and the environment that it needs.
pub fn command(framework: &Framework, server: &CandidateServer) -> String {
    let port = framework.default_port.to_string();
    let argv: Vec<String> = server.argv.iter().map(|word| word.replace("{port}", &port)).collect();
    let given = server.env.iter().filter_map(|(name, value)| Some(format!("{name}={}", shell::quote(value.as_ref()?))));
    given.chain([shell::join(&argv)]).collect::<Vec<_>>().join(" ")
}
