//! Plan files on their way to plan rows; shared by bench-validate and bench-expand.

use std::path::Path;

use serde_json::Value;

use super::{convert, streams, workload};
use crate::answer::Dialect;
use crate::digest;
use crate::error::{Error, Result};
use crate::framework::Frameworks;
use crate::notice::Notice;
use crate::plan::{self, Level, Plan};
use crate::row::Row;
use crate::schema::{Plan as PlanRow, PlanFile};
use crate::yaml::{self, MAX_BYTES};

/// What became of one plan file.
pub enum Loaded {
    /// The plan and its row.
    Good(Box<(Plan, Row)>),
    /// It has errors, which were reported.
    Bad,
}

/// Reads one plan file, reports everything that is wrong with it, and makes its row.
///
/// # Errors
/// When the file cannot be read.
pub fn load(path: &Path, frameworks: &Frameworks, strict: bool, notice: &Notice) -> Result<Loaded> {
    let name = streams::name(path);
    let text = streams::read_text(path, MAX_BYTES)?;
    let document = match yaml::load(&text, &name) {
        Ok(document) => document,
        Err(e) => {
            notice.plain(error_line(&e.to_string(), &name));
            return Ok(Loaded::Bad);
        }
    };
    let (mut findings, plan) = plan::load(&document.value, frameworks);
    findings.sort_by_key(|f| {
        (if f.key { document.key_place(&f.pointer) } else { document.value_place(&f.pointer) }, f.level)
    });
    let mut bad = plan.is_none();
    for finding in &findings {
        let place =
            if finding.key { document.key_place(&finding.pointer) } else { document.value_place(&finding.pointer) };
        let level = if finding.level == Level::Error || strict { "error" } else { "warning" };
        bad |= level == "error";
        notice.plain(format!("{name}:{place}: {level}: {}", finding.message));
    }
    let Some(plan) = plan.filter(|_| !bad) else { return Ok(Loaded::Bad) };
    let file = PlanFile {
        path: if path == Path::new("-") { "-".into() } else { name },
        sha256: digest::sha256(text.as_bytes()),
    };
    let mut row = Row::new("plan", &PlanRow { plan: file, defaults: plan.defaults.clone() });
    for (key, value) in document.value.as_object().into_iter().flatten() {
        if key == "schema_version" {
            continue;
        }
        row.set(key, value.clone());
    }
    Ok(Loaded::Good(Box::new((plan, row))))
}

/// `file:line:column: message` as `file:line:column: error: message`.
fn error_line(message: &str, name: &str) -> String {
    let end = message.find(": ").filter(|_| message.starts_with(name)).unwrap_or(0);
    if end == 0 {
        format!("{name}: error: {message}")
    } else {
        format!("{}: error{}", &message[..end], &message[end..])
    }
}

/// A plan row's plan.
#[must_use]
pub fn of_row(row: &Row, frameworks: &Frameworks) -> (Vec<plan::Finding>, Option<Plan>) {
    let own = ["record", "plan", "defaults", "environment", "validated_cli_flags"];
    let members = row.map().iter().filter(|(key, _)| !own.contains(&key.as_str()));
    let value = Value::Object(members.map(|(key, value)| (key.clone(), value.clone())).collect());
    plan::load(&value, frameworks)
}

/// Reads the data sets of a plan, and settles what depends on them.
///
/// # Errors
/// A file that cannot be read, or that the plan's load cannot be driven with.
pub fn datasets(plan: &mut Plan, frameworks: &Frameworks, notice: &Notice) -> Result<()> {
    let names: Vec<String> = plan.frameworks.iter().filter(|f| f.enabled).map(|f| f.definition.clone()).collect();
    let takes: Vec<String> = convert::taken(&names, frameworks)?.into_iter().collect();
    for scenario in &mut plan.scenarios {
        let Some(dataset) = &mut scenario.dataset else { continue };
        dataset.takes.clone_from(&takes);
        let given = dataset.path.clone();
        workload::describe(scenario, notice)?;
        let Some(known) = &scenario.dataset else { continue };
        let wrong = |why: String| Error::new(why).at(given.clone());
        if known.chat && Dialect::of(&plan.benchmark.endpoint) != Dialect::Chat {
            let why = "its prompts are lists of messages: set benchmark.endpoint to /v1/chat/completions";
            return Err(wrong(why.into()));
        }
        if plan.benchmark.num_prompts > known.rows && !known.prefix_reuse {
            let why = format!(
                "num_prompts is {}, and it has no more rows than {}: ask for fewer, or set prefix_reuse: true to send rows again",
                plan.benchmark.num_prompts, known.rows
            );
            return Err(wrong(why));
        }
    }
    let own = workload::own_rate(&plan.scenarios);
    for load in plan.loads.iter_mut().filter(|load| load.arrivals.as_deref() == Some("trace")) {
        let Some(own) = own else {
            return Err(Error::new("arrivals: trace needs a data set whose rows all have a timestamp"));
        };
        if load.qps.is_none() {
            load.rate.get_or_insert(own);
        }
    }
    Ok(())
}
