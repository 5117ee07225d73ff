//! Plan files on their way to plan rows; shared by bench-validate and bench-expand.

use std::path::Path;

use serde_json::Value;

use super::streams;
use crate::digest;
use crate::error::Result;
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
