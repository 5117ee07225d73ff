//! What is missing on this host, for each framework, and how to get it: what the preflight of a sweep finds, without starting, pulling or
//! capturing anything.

mod examination;
mod host;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use self::examination::Examination;
use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::base::yaml;
use crate::engines::framework::Frameworks;
use crate::flags::rank::ReportFormat;
use crate::plan::{self, CheckContext, Level, Plan};
use crate::programs::capture::HelpSource;
use crate::programs::plans::{self, PlanSource};
use crate::programs::preflight::{self, PreflightOptions};
use crate::programs::stdio;
use crate::rows::kinds::DoctorRow;
use crate::rows::words::{FindingCode, HealthState};

impl Examination {
    /// Looks at what a plan needs. Without plans of the user, nothing is known about GPUs that it needs.
    fn plan(&mut self, plan: &Plan, frameworks: &Frameworks, path: &str, own: bool, notice: &Notice) -> Result<()> {
        let mut places = HelpSource::all(plan, frameworks)?;
        for place in &mut places {
            if place.is_local() {
                place.server.env.entry("PATH".into()).or_insert_with(|| Some(path.into()));
            }
        }
        let options = PreflightOptions { gpu_probe: &[], help_captured: false, allow_missing: true, pull: false };
        let seen = preflight::inspect(plan, &places, options, notice);
        if self.rows.is_empty() {
            let plan = self.plan.take();
            host::examine(self, &seen.environment, path);
            self.plan = plan;
        }
        let simulated = places.iter().all(|place| place.framework.simulated);
        if own {
            host::token(self, plan, &seen.environment, simulated);
        }
        let mut fails = false;
        for finding in &seen.found {
            let framework = finding.pointer.strip_prefix("/frameworks/").and_then(|rest| rest.split('/').next());
            let state = match finding.level() {
                Level::Error if own => HealthState::Problem,
                Level::Error | Level::Warning => HealthState::Warning,
                Level::Note => HealthState::Unknown,
            };
            // Told elsewhere, with what to do.
            let is_space = finding.code == FindingCode::HostWarning && finding.pointer == "/model";
            if finding.code != FindingCode::FrameworkSkipped && !is_space {
                fails |= framework.is_none() && state == HealthState::Problem;
                self.put(framework, state, finding.message.clone(), None);
            }
        }
        for place in &places {
            let name = place.name.as_str();
            match seen.rejections.iter().find(|rejection| rejection.framework == name) {
                Some(rejection) => {
                    self.put(Some(name), HealthState::Problem, rejection.reason.clone(), place.remedy());
                }
                None => {
                    let ended = |row: &DoctorRow| {
                        row.plan == self.plan
                            && row.framework.as_deref() == Some(name)
                            && row.state == HealthState::Problem
                    };
                    if !fails && !self.rows.iter().any(ended) {
                        self.put(
                            Some(name),
                            HealthState::Ok,
                            format!("{} can be started", place.framework.title),
                            None,
                        );
                        // The simulated engine is of use where a plan asks for it.
                        if own || !place.framework.simulated {
                            self.runnable.push(name.into());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The lines for people.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut head = None;
        for row in &self.rows {
            let own = match (&row.plan, &row.framework) {
                (None, None) => "host".to_string(),
                (None, Some(framework)) => framework.clone(),
                (Some(plan), None) => plan.clone(),
                (Some(plan), Some(framework)) => format!("{plan}: {framework}"),
            };
            if head.as_ref() != Some(&own) {
                lines.push(own.clone());
                head = Some(own);
            }
            lines.push(format!("  {:<8} {}", row.state, row.text));
            lines.extend(row.fix.iter().map(|fix| format!("  {:<8} → {fix}", "")));
        }
        lines.push(match self.runnable.is_empty() {
            true => "Nothing can be run here as it is; bench-sweep quickstart needs no engine.".into(),
            false => format!("Can be run here: {}.", self.runnable.join(", ")),
        });
        lines
    }
}

/// Examines this host for the plans, or for every known framework, and prints what was found.
///
/// # Errors
/// A plan that cannot be read, or that has errors.
pub fn examine(
    (paths, frameworks): (&[PathBuf], Option<&Path>),
    path: &OsStr,
    format: ReportFormat,
    notice: &'static Notice,
) -> Result<ExitStatus> {
    let rows = match format {
        ReportFormat::Jsonl => true,
        ReportFormat::Auto | ReportFormat::Table => false,
        ReportFormat::Md | ReportFormat::Html | ReportFormat::Csv => {
            return Err(Error::new("--doctor prints lines (--format table), or rows with --format jsonl"));
        }
    };
    let frameworks = stdio::frameworks(frameworks)?;
    let mut examination = Examination::default();
    let path = path.to_string_lossy();
    if paths.is_empty() {
        let names: Vec<String> = frameworks.iter().map(|framework| format!("{}: {{}}", framework.name)).collect();
        let text = format!(
            "model: MODEL\nhardware: {{gpu_count: 1}}\nsla: {{min_success_rate: 1}}\nframeworks: {{{}}}\n",
            names.join(", ")
        );
        let value = yaml::load(&text, "all frameworks")?.value;
        let (findings, plan) = plan::load(&value, &CheckContext::only(&frameworks));
        let why = || findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ");
        let plan = plan.ok_or_else(|| Error::new(format!("no plan of every framework can be made: {}", why())))?;
        examination.plan(&plan, &frameworks, &path, false, notice)?;
    }
    let files = if paths.is_empty() { Vec::new() } else { plans::files(paths)? };
    for file in files {
        let name = stdio::name(&file);
        let with_errors = || Error::new("the plan has errors: see bench-validate").at(name.clone());
        let source = PlanSource::read(&file, &frameworks, notice)?.ok_or_else(with_errors)?;
        let plan = source.plain(&frameworks).ok_or_else(with_errors)?;
        examination.plan = Some(name.clone());
        examination.plan(&plan, &frameworks, &path, true, notice)?;
    }
    let mut out = stdio::row_writer()?;
    match rows {
        true => examination.rows.iter().try_for_each(|row| out.write_typed("doctor", row))?,
        false => examination.lines().iter().try_for_each(|line| out.write_line(line))?,
    }
    Ok(if examination.runnable.is_empty() { ExitStatus::No } else { ExitStatus::Done })
}
