//! bench-validate: check plans and turn them into plan rows.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serving_bench::cli::plans::{self, Loaded};
use serving_bench::cli::validate::{Args, Format};
use serving_bench::cli::{self, streams};
use serving_bench::error::{Error, Result};
use serving_bench::exit::Exit;
use serving_bench::framework::Frameworks;
use serving_bench::jsonl::Writer;
use serving_bench::notice::Notice;
use serving_bench::plan::Plan;
use serving_bench::process::capture;

const HELP_LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    cli::run(|args: Args, notice| {
        let frameworks = streams::frameworks(args.frameworks.as_deref())?;
        let text = match args.format {
            Format::Auto => std::io::stdout().is_terminal(),
            format => format == Format::Text,
        };
        let mut out = streams::row_writer()?;
        let mut exit = Exit::Done;
        let mut captured = BTreeMap::new();
        for path in files(&args.plans)? {
            match plans::load(&path, &frameworks, args.strict, notice) {
                Ok(Loaded::Good(good)) => {
                    let (plan, row) = *good;
                    if text {
                        print(&path, &plan, &mut out)?
                    } else {
                        out.write(&row)?
                    }
                    captured.extend(plan.frameworks.iter().filter(|f| f.enabled).map(|f| (f.name.clone(), f.clone())));
                }
                Ok(Loaded::Bad) => exit = Exit::No,
                Err(e) => notice.error(&e),
            }
        }
        if let Some(folder) = &args.capture_help {
            for given in captured.values() {
                help(folder, given, &frameworks, notice)?;
            }
        }
        Ok(exit)
    })
}

/// The plan files named, with those of folders.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(streams::yaml_files(path)?);
        } else {
            files.push(path.clone());
        }
    }
    if paths.is_empty() {
        if std::io::stdin().is_terminal() {
            return Err(Error::new("no plan given: bench-validate plan.yaml, or - for standard input"));
        }
        files.push(PathBuf::from("-"));
    }
    Ok(files)
}

fn print(path: &Path, plan: &Plan, out: &mut Writer<std::fs::File>) -> Result<()> {
    let scenarios: Vec<String> =
        plan.scenarios.iter().map(|s| format!("{} {}/{}", s.name, s.input_len, s.output_len)).collect();
    out.write_line(&format!("{}: good", streams::name(path)))?;
    out.write_line(&format!("  model       {}", plan.model))?;
    out.write_line(&format!("  scenarios   {} ({} prompts each)", scenarios.join(", "), plan.benchmark.num_prompts))?;
    out.write_line(&format!("  loads       {}", plan.loads.len()))?;
    for framework in &plan.frameworks {
        let size = framework.space.iter().fold(1usize, |n, (_, values)| n.saturating_mul(values.len()));
        let enabled = if framework.enabled { "" } else { ", excluded" };
        out.write_line(&format!(
            "  framework   {}: {} knobs, {size} combinations{enabled}",
            framework.name,
            framework.space.len()
        ))?;
    }
    for (key, value) in &plan.defaults {
        out.write_line(&format!("  default     {key}: {value}"))?;
    }
    Ok(())
}

/// Saves what the framework's help commands print; one that is not installed is only said.
fn help(
    folder: &Path,
    given: &serving_bench::plan::FrameworkPlan,
    frameworks: &Frameworks,
    notice: &Notice,
) -> Result<()> {
    let Some(framework) = frameworks.get(&given.definition) else { return Ok(()) };
    for (i, argv) in framework.help.iter().enumerate() {
        match capture::capture(argv, HELP_LIMIT) {
            Ok(text) => capture::save(&folder.join(format!("{}_{i}_help.txt", given.name)), &text)?,
            Err(why) => notice.warn(format!("{}: {} gives no help: {why}", given.name, argv.join(" "))),
        }
    }
    Ok(())
}
