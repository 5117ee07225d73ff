//! bench-validate: check plans and turn them into plan rows.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::engines::framework::Frameworks;
use crate::engines::help::Helps;
use crate::flags::validate::{Args, ValidateFormat};
use crate::load::check::read_questions;
use crate::plan::explain::Explanation;
use crate::plan::{CheckContext, Finding, Plan};
use crate::programs::plans::PlanSource;
use crate::programs::stdio::Output;
use crate::programs::{capture, local, pasted, plans, preflight, rows, shipped, starter, stdio};
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::PlanCheck;
use crate::rows::words::FindingCode;
use crate::system::process::capture::save;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    super::run(|args: Args, notice| {
        if !args.rows.is_empty() {
            return rows::check(&args.rows, notice);
        }
        if let Some(code) = &args.explain {
            return explain(code);
        }
        if let Some(model) = &args.cookbook {
            return cookbook(model, args.output.as_deref());
        }
        let (folders, names) = args.framework_folders_and_names();
        let frameworks = stdio::frameworks_of(&folders)?;
        let output = Output::open(args.output.as_deref())?;
        let mut out = output.rows()?;
        if let Some(model) = &args.new {
            if let Some(command) = &args.from_command {
                let own = Some(model.as_str()).filter(|model| !model.is_empty());
                let text = pasted::plan(command, own, args.gpus, args.gpu.as_deref(), &frameworks, notice)?;
                out.write_line(text.trim_end())?;
                output.finish()?;
                return Ok(ExitStatus::Done);
            }
            let gpus = args.gpus.unwrap_or(1);
            let gpu = args.gpu.clone().or_else(|| preflight::detect().filter(|_| gpus > 0));
            let facts = local::local_facts(model);
            let new = starter::NewPlan { model, facts, gpus, gpu, names: &names };
            let text = starter::plan(&new, &frameworks, notice)?;
            out.write_line(text.trim_end())?;
            output.finish()?;
            return Ok(ExitStatus::Done);
        }
        let text = match args.format {
            ValidateFormat::Auto => output.is_terminal(),
            format => format == ValidateFormat::Text,
        };
        let mut exit = ExitStatus::Done;
        let mut validator = Validator::new(&args, &frameworks, notice)?;
        for path in plans::files(&args.plans)? {
            match validator.file(&path) {
                Ok(Some(valid)) if text => print(&path, &valid.plan, &mut out)?,
                Ok(Some(valid)) => out.write(&valid.row)?,
                Ok(None) => exit = ExitStatus::No,
                Err(e) => notice.error(&e),
            }
        }
        // With errors the rows are not all of the plans.
        if notice.exit(exit) == ExitStatus::Done {
            output.finish()?;
        }
        Ok(exit)
    })
}

/// Lists the plans of the cookbook, or writes the one of a model.
fn cookbook(model: &str, path: Option<&Path>) -> Result<ExitStatus> {
    let output = Output::open(path)?;
    let mut out = output.rows()?;
    match model {
        "" => shipped::cookbook_lines()?.iter().try_for_each(|line| out.write_line(line))?,
        model => out.write_line(shipped::CookbookPlan::of(model)?.as_new().trim_end())?,
    }
    output.finish()?;
    Ok(ExitStatus::Done)
}

/// Prints what a code means.
fn explain(text: &str) -> Result<ExitStatus> {
    let code: FindingCode = text
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| Error::new(format!("unknown code {text:?}; did you mean {}?", FindingCode::nearest(text))))?;
    let mut out = stdio::row_writer()?;
    if let Some(explanation) = Explanation::all()?.get(&code) {
        out.write_line(&format!("{code}: {explanation}"))?;
    }
    Ok(ExitStatus::Done)
}

struct Validator<'a> {
    args: &'a Args,
    frameworks: &'a Frameworks,
    notice: &'static Notice,
    helps: Helps,
    captures: capture::HelpCaptures,
    gpu: Option<String>,
}

impl<'a> Validator<'a> {
    fn new(args: &'a Args, frameworks: &'a Frameworks, notice: &'static Notice) -> Result<Self> {
        let helps = match &args.help_dir {
            Some(folder) => capture::read(folder, frameworks, notice)?,
            None => Helps::default(),
        };
        let gpu = args.gpu.clone().or_else(preflight::detect);
        Ok(Self { args, frameworks, notice, helps, captures: capture::HelpCaptures::default(), gpu })
    }

    fn file(&mut self, path: &Path) -> Result<Option<plans::CheckedPlan>> {
        let Some(source) = PlanSource::read(path, self.frameworks, self.notice)? else { return Ok(None) };
        let (mut more, mut seen): (Vec<Finding>, _) = (Vec::new(), None);
        let inspect = self.args.capture_help.is_some() || self.args.preflight;
        if let Some(plan) = inspect.then(|| source.plain(self.frameworks)).flatten() {
            let mut places = capture::HelpSource::all(&plan, self.frameworks)?;
            if let Some(launched) = &self.args.launcher {
                places = places.into_iter().map(|place| place.launched_by(launched)).collect();
            }
            if let Some(folder) = &self.args.capture_help {
                self.helps = self.captures.capture(folder, &places, self.frameworks, self.notice)?;
            }
            if self.args.preflight {
                let options = preflight::PreflightOptions {
                    gpu_probe: self.args.gpu_probe_cmd.as_ref().map_or(&[] as &[String], |command| &command.0),
                    help_captured: self.args.capture_help.is_some(),
                    allow_missing: self.args.allow_missing,
                    pull: true,
                };
                let inspected = preflight::inspect(&plan, &places, options, self.notice);
                if let Some(folder) = &self.args.capture_help {
                    let text = serde_json::to_string_pretty(&inspected.environment).unwrap_or_default();
                    save(&folder.join("preflight.json"), &format!("{text}\n"))?;
                }
                more.extend(inspected.found);
                self.gpu = self.gpu.take().or_else(|| preflight::same_name(&inspected.environment));
                seen = Some((inspected.environment, inspected.rejections));
            }
        }
        let mut context = CheckContext {
            helps: self.helps.clone(),
            unknown: self.args.unknown_flags.into(),
            any_version: self.args.any_version,
            allow_missing: self.args.allow_missing,
            gpu: self.gpu.clone(),
            ..CheckContext::only(self.frameworks)
        };
        let Some(mut valid) = source.check(&mut context, more, self.args.strict, self.notice) else { return Ok(None) };
        let mut described = valid.plan.clone();
        let quiet = Notice::new("bench-validate", true);
        if let Err(e) = plans::datasets(&mut described, self.frameworks, &quiet) {
            self.notice.plain(format!("{}: error: {}: {e}", source.place("/dataset/path"), FindingCode::Dataset));
            return Ok(None);
        }
        let check = valid.plan.check.as_ref();
        if let Some((file, questions)) = check.and_then(|check| Some((check.file.as_deref()?, check.questions)))
            && let Err(e) = read_questions(file, questions)
        {
            self.notice.plain(format!("{}: error: {}: {e}", source.place("/check/file"), FindingCode::Dataset));
            return Ok(None);
        }
        for why in plans::too_short(&described, self.frameworks) {
            let (place, code) = (source.place("/dataset/path"), FindingCode::Unsupported);
            self.notice.plain(format!("{place}: warning: {code}: {why}; its candidates are skipped"));
        }
        let mut checked = PlanCheck::clone(&valid.plan.checked);
        if let Some((environment, rejections)) = seen {
            checked.environment = environment;
            checked.rejections.extend(rejections);
        }
        if self.args.no_preflight {
            checked.caveats.push("preflight checks skipped (--no-preflight)".into());
        }
        valid.row.merge(&checked);
        Ok(Some(valid))
    }
}

fn print(path: &Path, plan: &Plan, out: &mut RowWriter<File>) -> Result<()> {
    out.write_line(&format!("{}: valid", stdio::name(path)))?;
    plans::lines(plan).iter().try_for_each(|line| out.write_line(line))
}
