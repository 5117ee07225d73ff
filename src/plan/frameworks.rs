//! Checks the frameworks of a plan against their definitions: launchers, knobs and their values, sequence limits.

use serde_json::Value;

use super::finding::Finding;
use super::framework_plan::launchers;
use super::read::Plan;
use super::shape::{nearest, nearest_name, unquoted};
use super::unknown;
use crate::base::visible::{SLUG, is_slug};
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Frameworks, Kind, Knob};
use crate::engines::launcher::{Launcher, NODES, resolve};
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::{PlanCheck, Scenario, Verdicts};
use crate::rows::words::{FindingCode as Code, Strategy};

/// The framework that a section with this name is most likely for: one that its name begins or ends with, otherwise any.
fn likely<'a>(name: &str, frameworks: &'a Frameworks) -> &'a str {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '.', ' '], "");
    let alike = |own: &&str| plain(name).contains(&plain(own));
    let names = || frameworks.iter().map(|framework| framework.name.as_str());
    names().filter(alike).max_by_key(|own| own.len()).or_else(|| nearest_name(name, names())).unwrap_or("vllm")
}

/// Maximum number of pairs of values of two knobs in a pairwise search.
const MAX_PAIRS: usize = 1_000_000;

/// Adds findings about the frameworks of a plan whose values have the right types.
pub fn check(value: &Value, plan: &Plan, checked: &PlanCheck, frameworks: &Frameworks, found: &mut Vec<Finding>) {
    for (name, section) in value["frameworks"].as_object().into_iter().flatten() {
        let at = format!("/frameworks/{}", escape(name));
        if !is_slug(name) {
            let why =
                format!("a framework cannot be called {name:?}: its name becomes a part of file names; use {SLUG}");
            found.push(Finding::key(Code::Framework, &at, why));
        }
        pairs(plan, section, &at, found);
        let definition = section["definition"].as_str().unwrap_or(name);
        let Some(framework) = frameworks.get(definition) else {
            let called = frameworks.iter().find(|framework| framework.is_called(definition));
            let near = called.map_or_else(
                || nearest(definition, frameworks.iter().map(|f| f.name.as_str())),
                |framework| format!("; did you mean {:?}?", framework.name),
            );
            let like = called.map_or_else(|| likely(name, frameworks), |framework| &framework.name);
            let own = match (section["definition"].is_null(), near.is_empty()) {
                (true, true) => format!("; a name of your own needs `definition: {like}`"),
                (true, false) => format!(" A name of your own needs `definition: {like}`"),
                (false, _) => String::new(),
            };
            let why =
                format!("unknown framework definition {definition:?}{near}{own} (--frameworks DIR adds definitions)");
            found.push(Finding::key(Code::Framework, &at, why));
            continue;
        };
        launcher((plan, framework), frameworks, section, &at, found);
        if let Some(version) = section["version"].as_str().filter(|version| FrameworkVersion::parse(version).is_none())
        {
            found.push(Finding::value(
                Code::Version,
                &format!("{at}/version"),
                format!("{version:?} is not a version; write for example 0.32.0"),
            ));
        }
        let captured = checked.validated_cli_flags.get(name).map(|check| &check.server);
        knobs(framework, frameworks, section, &at, captured, found);
        for (knob, rule) in
            framework.fixed.iter().filter(|(knob, _)| section["search_space"].get(knob.as_str()).is_some())
        {
            let why = format!("{knob} cannot be searched: {}", rule.reason);
            found.push(Finding::value(Code::KnobFixed, &format!("{at}/search_space/{}", escape(knob)), why));
        }
        if plan.cache_reset() && framework.reset_path.is_none() && section["enabled"] != false {
            let why = format!(
                "cache: reset is not supported by {}, which cannot empty its cache: use unique_prompts",
                framework.title
            );
            found.push(Finding::value(Code::CacheReset, "/benchmark/cache", why));
        }
        sequence(plan, framework, section, &at, found);
        prompts(plan, framework, section, &at, found);
    }
}

/// A pairwise search stores all pairs of values.
fn pairs(plan: &Plan, section: &Value, at: &str, found: &mut Vec<Finding>) {
    let lengths: Vec<usize> = section["search_space"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, v)| Some(v.as_array()?.len()))
        .collect();
    let all: usize = lengths.iter().sum();
    let same: usize = lengths.iter().map(|n| n.saturating_mul(*n)).fold(0, usize::saturating_add);
    let pairs = all.saturating_mul(all).saturating_sub(same) / 2;
    if plan.strategy == Strategy::Pairwise && pairs > MAX_PAIRS {
        let why = format!(
            "the {all} values have {pairs} pairs, and strategy pairwise takes at most {MAX_PAIRS}: list fewer values, or use strategy random"
        );
        found.push(Finding::value(Code::Range, &format!("{at}/search_space"), why));
    }
}

/// Launchers must be known and nest, and the plan must set what they need.
fn launcher(of: (&Plan, &Framework), frameworks: &Frameworks, section: &Value, at: &str, found: &mut Vec<Finding>) {
    let at = format!("{at}/launcher");
    let steps = launchers(&section["launcher"]);
    let known = match resolve(frameworks.launchers(), &steps) {
        Ok(known) => known,
        Err(e) => return found.push(Finding::value(Code::Launcher, &at, e.to_string())),
    };
    let place = |level: usize, key: &str| match &section["launcher"] {
        Value::Array(_) => format!("{at}/{level}/{key}"),
        _ => format!("{at}/{key}"),
    };
    unused(frameworks, &known, section, &at, found);
    for (level, (launcher, step)) in known.iter().zip(&steps).enumerate() {
        let settings = launcher.settings();
        for key in step.options.keys().filter(|key| *key == "mounts" || !settings.contains(key.as_str())) {
            let near = nearest(key, settings.iter().copied());
            let uses: Vec<&str> = settings.iter().copied().filter(|setting| *setting != "mounts").collect();
            let why = match (key.as_str(), &uses[..]) {
                ("gpus" | "gpu" | "devices" | "gpu_ids", _) => format!(
                    "{key} is not used by launcher {}, which gets the GPUs of the plan: hardware.gpu_count, or hardware.visible_devices",
                    launcher.name
                ),
                ("mounts", _) => format!("mounts belongs beside launcher {}, not in it", launcher.name),
                (_, []) => format!("{key} is not used by launcher {}, nor is any other key", launcher.name),
                _ => format!("{key} is not used by launcher {}; it uses {}{near}", launcher.name, uses.join(", ")),
            };
            found.push(Finding::key(Code::KeyLauncher, &place(level, key), why));
        }
        for need in launcher.missing(|need| step.options.contains_key(need) || section[need].is_string()) {
            let example = if need == "image" {
                "image: NAME".into()
            } else {
                format!("launcher: {{name: {}, {need}: …}}", launcher.name)
            };
            found.push(Finding::value(
                Code::Launcher,
                &at,
                format!("launcher {} requires {need}: write `{example}`", launcher.name),
            ));
        }
        if let Some(why) = launcher.nodes(step).and_then(|asked| nodes(asked, of, launcher, section)) {
            found.push(Finding::value(Code::Launcher, &place(level, NODES), why));
        }
        if let Some(host) = step.options.get("host").filter(|host| host.starts_with('-')) {
            found.push(Finding::value(
                Code::Command,
                &place(level, "host"),
                format!("host {host:?} must not start with -"),
            ));
        }
        if let Some(Err(why)) = step.options.get("options").map(|line| crate::base::shell::split(line)) {
            found.push(Finding::value(
                Code::Command,
                &place(level, "options"),
                format!("options of {}: {why}", launcher.name),
            ));
        }
    }
}

/// Why a launcher cannot start this framework's server over so many nodes.
fn nodes(asked: &str, (plan, framework): (&Plan, &Framework), launcher: &Launcher, section: &Value) -> Option<String> {
    let Some(nodes) = asked.parse::<u32>().ok().filter(|nodes| *nodes > 0) else {
        return Some(format!("{NODES} must be a whole number of at least 1, got {asked:?}"));
    };
    let says_rank = |key: &str| section[key].to_string().contains("{rank}");
    let can = framework.nodes.is_some() || framework.ranks.contains_key(&launcher.name);
    match nodes {
        1 => None,
        _ if !plan.hardware.multi_node => Some(format!(
            "{NODES} {nodes} needs {nodes} nodes: set hardware.multi_node: true, and gpu_count to the GPUs of all of them"
        )),
        _ if can || says_rank("server_command") || says_rank("extra_args") => None,
        _ => Some(format!(
            "the definition of {} does not say how its processes on {nodes} nodes find each other: write {{rank}} and {{leader}} \
             into extra_args, or use one node",
            framework.title
        )),
    }
}

/// What a section says for containers must be used by one of its launchers.
fn unused(all: &Frameworks, known: &[&Launcher], section: &Value, at: &str, found: &mut Vec<Finding>) {
    // What is said about a running server is only a description.
    if known.iter().any(|launcher| launcher.base_url.is_some()) {
        return;
    }
    for key in ["image", "mounts"].into_iter().filter(|key| !section[*key].is_null()) {
        let uses = |launcher: &Launcher| launcher.settings().contains(key);
        if !known.iter().any(|launcher| uses(launcher)) {
            let own: Vec<&str> = known.iter().map(|launcher| launcher.name.as_str()).collect();
            let others =
                all.launchers().iter().filter(|launcher| uses(launcher)).map(|launcher| launcher.name.as_str());
            let (own, others) = (own.join(", "), others.collect::<Vec<_>>().join(" or "));
            let why = format!("{key} is not used by launcher {own}: write `launcher: NAME` with {others}");
            let at = at.strip_suffix("/launcher").unwrap_or(at);
            found.push(Finding::key(Code::KeyLauncher, &format!("{at}/{key}"), why));
        }
    }
}

fn knobs(
    framework: &Framework,
    frameworks: &Frameworks,
    section: &Value,
    at: &str,
    captured: Option<&Verdicts>,
    found: &mut Vec<Finding>,
) {
    let list = section["candidates"].as_array().into_iter().flatten().enumerate();
    let list = list.map(|(i, changes)| (format!("candidates/{i}"), changes));
    let parts = ["base_server_flags", "search_space"].map(|part| (part.to_string(), &section[part]));
    for (part, members) in parts.into_iter().chain(list) {
        for (knob, values) in members.as_object().into_iter().flatten() {
            let pointer = format!("{at}/{part}/{}", escape(knob));
            let described = framework.knob(knob);
            let searched = part == "search_space";
            if described.is_none() {
                found.extend(unknown::knob(knob, &pointer, searched, framework, captured, frameworks));
            }
            let refuses =
                |value: &Value| described.and_then(|known| known.refuses(value)).filter(|_| !knob.contains('.'));
            if !searched {
                refuse(knob, described, refuses(values), values, &pointer, found);
                continue;
            }
            let values = values.as_array().map_or(&[] as &[Value], Vec::as_slice);
            if values.is_empty() {
                found.push(Finding::value(Code::Empty, &pointer, format!("{knob} has an empty list of values to try")));
            }
            for (i, value) in values.iter().enumerate() {
                let pointer = format!("{pointer}/{i}");
                refuse(knob, described, refuses(value), value, &pointer, found);
                if values[..i].contains(value) {
                    found.push(Finding::value(
                        Code::DuplicateValue,
                        &pointer,
                        format!("duplicate value {} of {knob}", super::shape::plain_text(value)),
                    ));
                }
            }
        }
    }
}

/// Reports a value that the knob does not accept.
fn refuse(
    knob: &str,
    described: Option<&Knob>,
    why: Option<String>,
    value: &Value,
    pointer: &str,
    found: &mut Vec<Finding>,
) {
    // A word that only a shell changes is reported as such.
    let unexpanded = value.as_str().is_some_and(|text| super::command::unshelled::problem(text).is_some());
    let Some(what) = why.filter(|_| !unexpanded) else { return };
    let kind = described.and_then(|knob| knob.kind);
    let written = match (kind, value) {
        (Some(Kind::Text | Kind::List | Kind::Map), _) => None,
        (_, Value::Array(items)) if items.len() == 1 => Some(items[0].to_string()),
        // A share in percent.
        (Some(Kind::Fraction), Value::String(text)) if text.ends_with('%') => {
            let percent = text.trim_end_matches('%').trim().parse::<f64>().ok();
            percent.map(|percent| (percent / 100.0).to_string())
        }
        (kind, value) => unquoted(value, kind == Some(Kind::Flag)),
    };
    let write = written.map_or(String::new(), |text| format!(": write {text}"));
    let why = format!("{knob} must be {what}, got {}{write}", super::shape::short(value));
    found.push(Finding::value(Code::KnobValue, pointer, why));
}

/// The sequence limit must cover prompt and output of every scenario, in the base and in every value to try.
fn sequence(plan: &Plan, framework: &Framework, section: &Value, at: &str, found: &mut Vec<Finding>) {
    let Some(limit) = &framework.sequence_limit else { return };
    let Some(needed) = plan.scenarios.iter().filter_map(Scenario::longest).max() else { return };
    let values = |knob: &str| -> Vec<(String, u64)> {
        let base =
            section["base_server_flags"].get(knob).map(|v| (format!("{at}/base_server_flags/{knob}"), v.clone()));
        let search = section["search_space"].get(knob).and_then(Value::as_array).into_iter().flatten().enumerate();
        let search = search.map(|(i, v)| (format!("{at}/search_space/{knob}/{i}"), v.clone()));
        let list = section["candidates"].as_array().into_iter().flatten().enumerate();
        let list = list.filter_map(|(i, one)| Some((format!("{at}/candidates/{i}/{knob}"), one.get(knob)?.clone())));
        base.into_iter().chain(search).chain(list).filter_map(|(pointer, v)| Some((pointer, v.as_u64()?))).collect()
    };
    let divisor =
        limit.divided_by.as_deref().map(values).into_iter().flatten().map(|(_, n)| n).max().unwrap_or(1).max(1);
    for (pointer, value) in values(&limit.knob) {
        // 0 means the model's own limit.
        if value > 0 && value / divisor < needed {
            let shared = limit.divided_by.as_ref().map_or(String::new(), |by| format!(" shared by {by} {divisor}"));
            let why = format!("{} {value}{shared} is too short for the longest scenario ({needed} tokens)", limit.knob);
            found.push(Finding::value(Code::Sequence, &pointer, why));
        }
    }
}

/// The longest prompt must fit into one step of a framework that does not split it.
fn prompts(plan: &Plan, framework: &Framework, section: &Value, at: &str, found: &mut Vec<Finding>) {
    let Some(limit) = &framework.prompt_limit else { return };
    let Some(longest) = plan.scenarios.iter().map(|scenario| u64::from(scenario.input_len)).max() else { return };
    let parts = ["base_server_flags", "search_space"];
    let sets = |knob: &str| parts.iter().any(|part| !section[*part][knob].is_null());
    // An option file may say it too.
    let in_file = framework.option_files.keys().any(|file| {
        let begins = |members: &Value| {
            members.as_object().is_some_and(|all| all.keys().any(|knob| knob.split('.').next() == Some(file)))
        };
        parts.iter().any(|part| begins(&section[*part]))
    });
    if section["enabled"] == false || sets(&limit.unless) || in_file || section["candidates"].is_array() {
        return;
    }
    let way_out = format!("set {}: true", limit.unless);
    let why = |value: u64| {
        format!(
            "prompts of {longest} tokens are longer than {} {value}, and are refused unless they are split: {way_out}",
            limit.knob
        )
    };
    let base = &section["base_server_flags"][&limit.knob];
    let searched = section["search_space"][&limit.knob].as_array().into_iter().flatten().enumerate();
    let mut values: Vec<(String, u64)> =
        searched.filter_map(|(i, n)| Some((format!("{at}/search_space/{}/{i}", limit.knob), n.as_u64()?))).collect();
    values.extend(base.as_u64().map(|n| (format!("{at}/base_server_flags/{}", limit.knob), n)));
    for (pointer, value) in values.iter().filter(|(_, value)| *value < longest) {
        found.push(Finding::value(Code::Sequence, pointer, why(*value)));
    }
    if base.is_null() && limit.default < longest {
        found.push(Finding::key(Code::Sequence, at, why(limit.default)));
    }
}
