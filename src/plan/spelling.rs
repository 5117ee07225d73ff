//! Unknown keys: which key was meant. Every later check sees a plan with the meant keys, so that one mistake is said once.

use serde_json::{Map, Value};

use super::finding::Finding;
use super::keys::{self, PLAN, WHOLE};
use super::shape::Shape::{self, Each, Either, Keys, List, Nullable, OneOrList};
use super::shape::{PlanKey, name, nearest_name};
use crate::base::redact::Redactor;
use crate::base::shell;
use crate::base::yaml::escape;
use crate::engines::framework::Frameworks;
use crate::engines::protocol::SAMPLING;
use crate::rows::words::{FindingCode as Code, Limit};

/// Keys that are too common to say which section they belong in.
const COMMON: [&str; 5] = ["name", "path", "kind", "id", "type"];
/// Members of a plan row that do not come from the plan file.
pub const RESERVED: [&str; 8] =
    ["record", "plan", "defaults", "caveats", "substitutions", "rejections", "validated_cli_flags", "environment"];

/// A plan with its misspelt keys corrected.
pub struct CorrectedPlan {
    /// The plan.
    pub value: Value,
    /// Pointers into `value`, each with its pointer in the plan file.
    moved: Vec<(String, String)>,
}

impl CorrectedPlan {
    /// The pointer in the plan file for a pointer into `value`.
    #[must_use]
    pub fn place(&self, pointer: &str) -> Option<String> {
        let within = |(to, from): &(String, String)| {
            let rest = pointer.strip_prefix(to.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{from}{rest}"))
        };
        self.moved.iter().find_map(within)
    }
}

/// What was meant by an unknown key.
struct Meant {
    /// What to write instead, for a message.
    text: String,
    /// What to set: pointers, each with its value.
    set: Vec<(String, Value)>,
}

impl Meant {
    fn moved(text: String, to: String, value: &Value) -> Self {
        Self { text, set: vec![(to, value.clone())] }
    }
}

/// Adds a finding for every unknown key, and returns the plan with the meant keys in their places.
pub fn correct(plan: &Value, frameworks: &Frameworks, found: &mut Vec<Finding>) -> CorrectedPlan {
    let mut search = Spelling { plan, frameworks, found, corrections: Vec::new() };
    search.walk(plan, &WHOLE, "");
    let corrections = search.corrections;
    let mut corrected = CorrectedPlan { value: plan.clone(), moved: Vec::new() };
    for (from, meant) in corrections {
        for (to, value) in meant.set {
            if set(&mut corrected.value, &to, value) {
                corrected.moved.push((to, from.clone()));
            }
        }
    }
    corrected
}

/// Sets a value, unless there is one; the maps around it are made. False where it cannot be set.
fn set(plan: &mut Value, pointer: &str, value: Value) -> bool {
    let mut place = plan;
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Some(members) = place.as_object_mut() else { return false };
        place = members.entry(key).or_insert(Value::Null);
    }
    let free = place.is_null();
    if free {
        *place = value;
    }
    free
}

struct Spelling<'a> {
    plan: &'a Value,
    frameworks: &'a Frameworks,
    found: &'a mut Vec<Finding>,
    /// Unknown keys by their pointers, with what was meant.
    corrections: Vec<(String, Meant)>,
}

impl Spelling<'_> {
    fn walk(&mut self, value: &Value, shape: &'static Shape, at: &str) {
        match (shape, value) {
            (Keys(keys), Value::Object(members)) => {
                for (key, element) in members {
                    let pointer = format!("{at}/{}", escape(key));
                    match keys.iter().find(|known| known.name == key) {
                        Some(known) => self.walk(element, &known.shape, &pointer),
                        None => self.unknown(key, element, keys, at),
                    }
                }
            }
            (Each(inner), Value::Object(members)) => {
                for (key, element) in members {
                    self.walk(element, inner, &format!("{at}/{}", escape(key)));
                }
            }
            (List(inner) | OneOrList(inner), Value::Array(items)) => {
                for (i, element) in items.iter().enumerate() {
                    self.walk(element, inner, &format!("{at}/{i}"));
                }
            }
            (Either(_, inner) | Nullable(inner) | OneOrList(inner), Value::Object(_)) => self.walk(value, inner, at),
            _ => {}
        }
    }

    fn unknown(&mut self, key: &str, value: &Value, keys: &'static [PlanKey], at: &str) {
        let pointer = format!("{at}/{}", escape(key));
        let place = if at.is_empty() { "a plan".to_string() } else { name(at) };
        if at.is_empty() && RESERVED.contains(&key) {
            let why = format!("{key} is a member of plan rows: choose another name for this key");
            return self.found.push(Finding::key(Code::KeyReserved, &pointer, why));
        }
        match self.meant(key, value, keys, at) {
            Some(meant) => {
                let why = format!("unknown key {key:?} in {place}; did you mean {}?", meant.text);
                self.found.push(Finding::key(Code::KeyTypo, &pointer, why));
                self.corrections.push((pointer, meant));
            }
            None => {
                let why =
                    format!("unknown key {key:?} in {place}: no program uses it; it is passed on in the plan row");
                self.found.push(Finding::key(Code::KeyUnused, &pointer, why));
            }
        }
    }

    fn meant(&self, key: &str, value: &Value, keys: &'static [PlanKey], at: &str) -> Option<Meant> {
        let own = |right: &str| Meant::moved(format!("{right:?}"), format!("{at}/{right}"), value);
        if let Some(line) = self.container_command(key, at) {
            return Some(Meant { text: format!("`server_command: {line}`"), set: Vec::new() });
        }
        if let Some(right) = keys.iter().find(|right| right.also.contains(&key)) {
            return Some(own(right.name));
        }
        let in_framework = at.strip_prefix("/frameworks/").filter(|rest| !rest.contains('/'));
        if let Some(framework) = in_framework {
            let meant = self.launcher(key, value, at).or_else(|| self.knob(key, value, framework, at));
            if meant.is_some() {
                return meant;
            }
            if let Some(to) = elsewhere(key).filter(|to| to.starts_with("/hardware/")) {
                return Some(Meant {
                    text: format!("{}, which is that of all frameworks", name(&to)),
                    set: Vec::new(),
                });
            }
        } else if at == "/benchmark" && SAMPLING.contains(&key) {
            let to = format!("/benchmark/extra_request_body/{key}");
            return Some(Meant::moved(format!("`extra_request_body: {{{key}: {value}}}`"), to, value));
        } else if let Some(to) = elsewhere(key) {
            return Some(Meant::moved(name(&to), to, value));
        }
        let near = nearest_name(key, keys.iter().map(|right| right.name)).map(own);
        near.or_else(|| {
            let knob = self.frameworks.iter().any(|framework| framework.knob(key).is_some());
            let text = || format!("frameworks.NAME.base_server_flags.{key}");
            (knob && in_framework.is_none() && key.contains('_')).then(|| Meant { text: text(), set: Vec::new() })
        })
    }

    /// The line of `command: […]` and `args: […]`, which are lists where a container is described.
    fn container_command(&self, key: &str, at: &str) -> Option<String> {
        let section = self.plan.pointer(at).filter(|_| at.starts_with("/frameworks/"))?;
        let (command, args) = (section["command"].as_array()?, section["args"].as_array()?);
        let words: Option<Vec<&str>> = command.iter().chain(args).map(Value::as_str).collect();
        let line = shell::join(&words.filter(|_| ["command", "args"].contains(&key))?);
        Some(Redactor::default().redact(&line))
    }

    /// `docker: IMAGE` in a framework: its launcher, and what that needs.
    fn launcher(&self, key: &str, value: &Value, at: &str) -> Option<Meant> {
        let launcher = self.frameworks.launchers().get(key)?;
        let to = format!("{at}/launcher");
        let (needs, text) = (launcher.needs.first(), value.as_str());
        Some(match (needs, text) {
            (Some(need), Some(text)) if need == "image" => Meant {
                text: format!("`launcher: {key}` and `image: {text}`"),
                set: vec![(to, key.into()), (format!("{at}/image"), text.into())],
            },
            (Some(need), Some(text)) => Meant::moved(
                format!("`launcher: {{name: {key}, {need}: {text}}}`"),
                to,
                &serde_json::json!({"name": key, need.as_str(): text}),
            ),
            _ => Meant::moved(format!("`launcher: {key}`"), to, &key.into()),
        })
    }

    /// A knob beside the maps that knobs belong in.
    fn knob(&self, key: &str, value: &Value, framework: &str, at: &str) -> Option<Meant> {
        let section = self.plan.pointer(at)?;
        let framework = self.frameworks.get(section["definition"].as_str().unwrap_or(framework))?;
        framework.knob(key)?;
        let part = if value.is_array() { "search_space" } else { "base_server_flags" };
        Some(Meant::moved(format!("{part}.{key}"), format!("{at}/{part}/{}", escape(key)), value))
    }
}

/// The pointer to a key that is known in another section.
fn elsewhere(key: &str) -> Option<String> {
    if Limit::known(key).is_some() {
        return Some(format!("/sla/{key}"));
    }
    if COMMON.contains(&key) {
        return None;
    }
    find(PLAN, "", key).filter(|to| keys::at(to).is_some())
}

/// The pointer to a used key of this name in these keys, or in the sections among them.
fn find(keys: &'static [PlanKey], at: &str, key: &str) -> Option<String> {
    let own = keys.iter().find(|own| !own.used_by.is_empty() && (own.name == key || own.also.contains(&key)));
    if let Some(own) = own {
        return Some(format!("{at}/{}", own.name));
    }
    let sections = keys.iter().filter(|key| matches!(key.shape, Keys(_) | Either(_, Keys(_))));
    sections.into_iter().find_map(|section| find(section.members(), &format!("{at}/{}", section.name), key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn corrected(plan: &Value) -> (Value, Vec<String>) {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let mut found = Vec::new();
        let corrected = correct(plan, &frameworks, &mut found);
        (corrected.value, found.into_iter().map(|finding| finding.message).collect())
    }

    #[test]
    fn a_misspelt_key_counts_as_the_one_that_was_meant() {
        let (plan, said) = corrected(&json!({"hardware": {"gpus": 8}, "num_prompts": 10, "max_p99_ttft_ms": 500}));
        assert_eq!(plan["hardware"]["gpu_count"], 8);
        assert_eq!((&plan["dataset"]["num_prompts"], &plan["sla"]["max_p99_ttft_ms"]), (&json!(10), &json!(500)));
        assert_eq!(said.len(), 3, "{said:?}");
        // What is there already stays.
        let (plan, _) = corrected(&json!({"hardware": {"gpus": 8, "gpu_count": 4}, "model": "m", "revision": "x"}));
        assert_eq!((&plan["hardware"]["gpu_count"], &plan["model"]), (&json!(4), &json!("m")));
    }

    #[test]
    fn a_launcher_and_a_knob_go_where_they_belong() {
        let framework = json!({"podman": "img:1", "max_num_seqs": 8, "max_num_batched_tokens": [1024]});
        let (plan, _) = corrected(&json!({"frameworks": {"vllm": framework, "sglang": {"ssh": "gpu1"}}}));
        let vllm = &plan["frameworks"]["vllm"];
        assert_eq!((&vllm["launcher"], &vllm["image"]), (&json!("podman"), &json!("img:1")));
        assert_eq!(vllm["base_server_flags"], json!({"max_num_seqs": 8}));
        assert_eq!(vllm["search_space"], json!({"max_num_batched_tokens": [1024]}));
        assert_eq!(plan["frameworks"]["sglang"]["launcher"], json!({"name": "ssh", "host": "gpu1"}));
    }

    #[test]
    fn members_of_plan_rows_are_reserved() {
        use crate::rows::kinds::{FlagCheck, PlanCheck, PlanFile, PlanRow};
        let mut checked = PlanCheck::default();
        checked.validated_cli_flags.insert("x".into(), FlagCheck::default());
        checked.environment.insert("x".into(), 1.into());
        let plan = PlanFile { path: String::new(), sha256: String::new() };
        let row = crate::rows::row::Row::new("plan", &PlanRow { plan, defaults: Map::new(), checked });
        let own = row.map().keys().filter(|key| *key != "schema_version");
        assert!(own.clone().eq(RESERVED.iter()), "{:?}", own.collect::<Vec<_>>());
    }
}
