//! Reads and checks plan files, for bench-validate and bench-expand.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{convert, local, shipped, stdio, workload};
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::base::yaml::{Document, MAX_BYTES};
use crate::base::{digest, redact, shell, yaml};
use crate::engines::framework::Frameworks;
use crate::plan;
use crate::plan::expand::Expansion;
use crate::plan::{CheckContext, Finding, FrameworkPlan, Level, Plan, PlanDraft, expand};
use crate::rows::jsonl;
use crate::rows::kinds::{Candidate, PlanCheck, PlanFile, PlanRow, Speculation};
use crate::rows::row::Row;
use crate::rows::words::{Arrivals, Endpoint, FailureClass, FindingCode as Code};

/// The plan files of these paths, and of the folders among them.
///
/// # Errors
/// A folder that cannot be read or has no plan; no path, at a terminal.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { files.extend(stdio::yaml_files(path)?) } else { files.push(path.clone()) }
    }
    if let Some(folder) = paths.first().filter(|_| files.is_empty()) {
        return Err(Error::new("no plan (*.yaml, *.yml) in this folder").at(stdio::name(folder)));
    }
    if paths.is_empty() {
        if std::io::stdin().is_terminal() {
            return Err(Error::new("missing PLAN: bench-validate plan.yaml, or - for standard input"));
        }
        files.push(PathBuf::from("-"));
    }
    Ok(files)
}

/// True for the name of a plan: of a YAML file, or of a plan that is part of the programs.
#[must_use]
pub fn is_plan(path: &Path) -> bool {
    stdio::is_yaml(path) || shipped::named(path).is_some()
}

/// One plan file, read.
pub struct PlanSource {
    /// The name in messages.
    name: String,
    /// Path and digest, for the row.
    file: PlanFile,
    document: Document,
    /// What it says.
    draft: PlanDraft,
    /// Pointers to strings that YAML 1.1 readers take for another type.
    hazards: Vec<String>,
}

/// A plan and its row.
pub struct CheckedPlan {
    /// The plan.
    pub plan: Plan,
    /// Its row.
    pub row: Row,
}

impl PlanSource {
    /// Reads one plan file; `None` if it is not valid YAML, which has been reported.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path, frameworks: &Frameworks, notice: &Notice) -> Result<Option<Self>> {
        let name = stdio::name(path);
        let text = shipped::named(path).map_or_else(|| stdio::read_text(path, MAX_BYTES), |text| Ok(text.into()))?;
        redact::hide_named(&text);
        let read =
            not_a_plan(&text).map_or_else(|| yaml::load(&text, &name), |why| Err(Error::new(why).at(name.clone())));
        let document = match read {
            Ok(document) => document,
            Err(e) => {
                notice.plain(redact::foreign(&error_line(e, &name)));
                return Ok(None);
            }
        };
        let path = if path == Path::new("-") { "-".into() } else { name.clone() };
        let hazards = yaml::ambiguous(&document, &text);
        let file = PlanFile { path, sha256: digest::sha256(text.as_bytes()) };
        let home = CheckContext::only(frameworks).home;
        let draft = PlanDraft::read(&document.value, frameworks, home.as_deref());
        Ok(Some(Self { name, file, document, draft, hazards }))
    }

    /// The plan, checked without anything but its own text.
    #[must_use]
    pub fn plain(&self, frameworks: &Frameworks) -> Option<Plan> {
        self.draft.check(&CheckContext::only(frameworks)).1
    }

    /// The name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is searched, as it says it.
    #[must_use]
    pub fn search(&self) -> Option<&Value> {
        self.document.value.get("search")
    }

    /// The place of the value at a pointer: `plan.yaml:4:9`.
    #[must_use]
    pub fn place(&self, pointer: &str) -> String {
        format!("{}:{}", self.name, self.document.value_place(pointer))
    }

    /// Checks it, and reports its findings together with `more`; returns the plan and its row unless there are errors.
    pub fn check(
        &self,
        context: &mut CheckContext,
        more: Vec<Finding>,
        strict: bool,
        notice: &Notice,
    ) -> Option<CheckedPlan> {
        local::add(&self.document.value, context);
        let (mut findings, plan) = self.draft.check(context);
        findings.extend(more);
        for pointer in &self.hazards {
            // Do not add to an error at the same place.
            if !findings.iter().any(|f| f.pointer == *pointer && f.level() == Level::Error) {
                let text = self.document.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let why = format!("{text} is a string here, but another type for YAML 1.1 readers: put it in quotes");
                findings.push(Finding::value(Code::Yaml11, pointer, why));
            }
        }
        notice.together(|| self.report(&mut findings, strict, notice));
        let bad = |f: &Finding| f.level() == Level::Error || (strict && f.level() == Level::Warning);
        let plan = plan.filter(|_| !findings.iter().any(bad))?;
        let row = self.row(&plan);
        Some(CheckedPlan { plan, row })
    }

    fn report(&self, findings: &mut [Finding], strict: bool, notice: &Notice) {
        let document = &self.document;
        let place = |f: &Finding| if f.key { document.key_place(&f.pointer) } else { document.value_place(&f.pointer) };
        findings.sort_by_key(|f| (place(f), std::cmp::Reverse(f.level())));
        for finding in findings.iter() {
            let level = match finding.level() {
                Level::Warning if strict => Level::Error,
                level => level,
            };
            let message = redact::foreign(&finding.message);
            let line = format!("{}:{}: {level}: {}: {message}", self.name, place(finding), finding.code);
            if finding.level() == Level::Note { notice.plain_note(line) } else { notice.plain(line) }
        }
    }

    fn row(&self, plan: &Plan) -> Row {
        let (file, defaults, checked) = (self.file.clone(), plan.defaults.clone(), plan.checked.clone());
        let mut row = Row::new("plan", &PlanRow { plan: file, defaults, checked });
        for (key, value) in self.document.value.as_object().into_iter().flatten() {
            if key != "schema_version" {
                row.set(key, value.clone());
            }
        }
        row
    }
}

/// What a file is, if it cannot be a plan: rows, or CSV.
fn not_a_plan(text: &str) -> Option<String> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    if let Some(record) = Row::parse(first).ok().as_ref().and_then(Row::record) {
        return Some(format!("this is a {record} row, not a plan: check rows with bench-validate --rows FILE"));
    }
    jsonl::is_csv(text)
        .then(|| "this is CSV, not a plan: bench-validate --new MODEL writes a plan to start from".into())
}

/// `file:line:column: error: E-YAML: message`; the file alone where the error has no place.
fn error_line(e: Error, name: &str) -> String {
    let (place, e) = e.split_place();
    format!("{}: error: {}: {e}", place.as_deref().unwrap_or(name), Code::Yaml)
}

/// The plan of a plan row, with the results of its earlier check.
#[must_use]
pub fn of_row(row: &Row, frameworks: &Frameworks) -> (Vec<Finding>, Option<Plan>) {
    let members = row.map().iter().filter(|(key, _)| plan::keys::names().any(|known| known == *key));
    let value = Value::Object(members.map(|(key, value)| (key.clone(), value.clone())).collect());
    let detected = row.get("defaults").and_then(|defaults| defaults["hardware.gpu_model"].as_str());
    let checked = match row.get("substitutions").map(|_| row.view::<PlanCheck>()).transpose() {
        Ok(checked) => checked,
        Err(e) => return (vec![Finding::value(Code::Type, "", e.to_string())], None),
    };
    plan::load(&value, &CheckContext { gpu: detected.map(String::from), checked, ..CheckContext::only(frameworks) })
}

/// A summary of a plan for people, line by line.
#[must_use]
pub fn lines(plan: &Plan) -> Vec<String> {
    let scenarios = plan.scenarios.iter().map(|s| format!("{} {}/{}", s.name, s.input_len, s.output_len));
    let scenarios = scenarios.collect::<Vec<_>>().join(", ");
    let mut all = vec![
        format!("  model       {}", plan.model),
        format!("  scenarios   {scenarios} ({} prompts each)", plan.benchmark.num_prompts),
        format!("  loads       {}", plan.loads.len()),
    ];
    for framework in &plan.frameworks {
        let size = expand::size(&framework.space);
        let enabled = if framework.enabled { "" } else { ", excluded" };
        let some = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (knobs, size) = (some(framework.space.len(), "knob"), some(size, "combination"));
        all.push(format!("  framework   {}: {knobs}, {size}{enabled}", framework.name));
    }
    all.extend(plan.defaults.iter().map(|(key, value)| format!("  default     {key}: {value}")));
    all
}

/// A summary of the expansion of a framework's search space, for people.
#[must_use]
pub fn summary(e: &Expansion, done: &BTreeSet<String>) -> Vec<String> {
    let run: Vec<&Candidate> = e.candidates.iter().filter(|c| c.status.is_none()).collect();
    let refused = e.candidates.len() - run.len();
    let finished = run.iter().filter(|c| c.units.iter().all(|unit| done.contains(&unit.key))).count();
    let others = run.iter().filter(|c| !c.search.baseline).count();
    if e.candidates.iter().all(|c| c.failure_class == Some(FailureClass::Excluded)) && !e.candidates.is_empty() {
        return vec![format!("{}: excluded (enabled: false)", e.framework)];
    }
    let mut line = match run.len() {
        0 => format!("{}: no candidate to run", e.framework),
        1 => format!("{}: 1 candidate", e.framework),
        n => format!("{}: {n} candidates: the baseline and {others} of {} combinations", e.framework, e.space),
    };
    if refused > 0 {
        line.push_str(&format!(", {refused} skipped"));
    }
    if finished > 0 {
        line.push_str(&format!(", {finished} done"));
    }
    let value = |knob: &String, value: &Value| format!("{knob}={}", plan::shape::plain_text(value));
    let values = |values: &Value| values.as_array().cloned().unwrap_or_default();
    let never = e.never_tried.iter().flat_map(|(knob, all)| values(all).into_iter().map(move |one| value(knob, &one)));
    let never: Vec<String> = never.collect();
    let mut lines = vec![line];
    if !never.is_empty() {
        lines.push(format!("{}: not tested: {}", e.framework, never.join(", ")));
    }
    lines
}

/// A candidate as a shell comment and a command.
#[must_use]
pub fn as_shell(candidate: &Candidate) -> Vec<String> {
    let what =
        if candidate.search.baseline { "baseline".to_string() } else { shell::settings(&candidate.server.changed) };
    let why = if candidate.search.baseline { String::new() } else { format!(" ({})", candidate.search.why) };
    let mut lines = vec![format!("# {}: {what}{why}", candidate.candidate_id)];
    for s in &candidate.substitutions {
        let what = s.to.as_ref().map_or("dropped".into(), |to| format!("replaced by {to}"));
        lines.push(format!("# {} is {what}: {}", s.knob, s.reason.replace('\n', " ")));
    }
    if let Some(Speculation { forced_by, .. }) = candidate.speculation.as_ref().filter(|own| !own.forced_by.is_empty())
    {
        lines.push(shell::comment(&format!(
            "measured with {}, which forces how many drafts are accepted",
            forced_by.join(", ")
        )));
    }
    match (&candidate.failure_reason, &candidate.launch_command) {
        (Some(why), _) => lines.push(format!("# skipped: {}", why.replace('\n', " "))),
        (None, None) => lines.push(candidate.server_command.clone()),
        (None, Some(launch)) => {
            lines.push(shell::comment(&format!("the server in it: {}", candidate.server_command)));
            lines.push(launch.clone());
        }
    }
    lines
}

/// Why the baselines of some frameworks are too short for the rows of the datasets, once these have been read.
#[must_use]
pub fn too_short(plan: &Plan, frameworks: &Frameworks) -> Vec<String> {
    let read = plan.scenarios.iter().any(|scenario| scenario.dataset.is_some());
    let given = plan.frameworks.iter().filter(|given| given.enabled && read);
    let why = |given: &FrameworkPlan| {
        let framework = frameworks.get(&given.definition)?;
        let why = plan::too_short(plan, framework, &plan.base(given, framework))?;
        Some(format!("{}: {why}", given.name))
    };
    given.filter_map(why).collect()
}

/// Reads the datasets of a plan, and sets what depends on them.
///
/// # Errors
/// A file that cannot be read, or that does not fit the load of the plan.
pub fn datasets(plan: &mut Plan, frameworks: &Frameworks, notice: &Notice) -> Result<()> {
    let names: Vec<String> = plan.frameworks.iter().filter(|f| f.enabled).map(|f| f.definition.clone()).collect();
    let takes: Vec<String> = convert::accepted(&names, frameworks)?.into_iter().collect();
    for scenario in &mut plan.scenarios {
        let Some(dataset) = &mut scenario.dataset else { continue };
        dataset.takes.clone_from(&takes);
        let given = dataset.path.clone();
        workload::describe(scenario, notice)?;
        let Some(read) = &scenario.dataset else { continue };
        let wrong = |why: String| Error::new(why).at(given.clone());
        if read.chat && plan.benchmark.endpoint != Endpoint::Chat {
            let why = "its prompts are lists of messages, which need benchmark.endpoint: /v1/chat/completions";
            return Err(wrong(why.into()));
        }
        if plan.benchmark.num_prompts > read.rows && !read.prefix_reuse {
            let why = format!(
                "num_prompts is {}, but it has only {} rows: lower num_prompts, or set prefix_reuse: true to repeat rows",
                plan.benchmark.num_prompts, read.rows
            );
            return Err(wrong(why));
        }
    }
    let own = workload::own_rate(&plan.scenarios);
    for load in plan.loads.iter_mut().filter(|load| load.arrivals == Some(Arrivals::Trace)) {
        let Some(own) = own else {
            return Err(Error::new("arrivals: trace requires a dataset in which every row has a timestamp"));
        };
        if load.qps.is_none() {
            load.rate.get_or_insert(own);
        }
    }
    Ok(())
}
