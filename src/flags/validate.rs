//! The command line of bench-validate.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::serve::ArgvCommand;
use super::{Common, Program};
use crate::base::version::VERSION;
use crate::plan::UnknownFlags;
use crate::rows::kinds::LauncherStep;

const AFTER: &str = "\
Examples:
  bench-validate plan.yaml                        at a terminal: what the plan asks for, or what is wrong with it
  bench-validate plan.yaml | bench-expand         plan rows for the pipeline
  bench-validate configs/cookbook-llm             every plan of a folder
  bench-validate --new Qwen/Qwen3-32B --gpus 4    a new plan with comments, to begin with
  bench-validate --capture-help help plan.yaml    runs each framework's --help where it would serve, and checks by it
  bench-validate --help-dir help plan.yaml        checks every flag against help that was captured before
  bench-validate --preflight plan.yaml            looks at GPUs, disk, ports and tools, too
  bench-validate --rows results.jsonl             checks rows against the types of their kinds

Findings stand on standard error as file:line:column: error|warning|note: message.

Exit status:
  0  every plan is good, warnings included
  1  a plan has errors; it gives no row, the others do; a row is wrong
  2  trouble: usage, unreadable input, I/O";

/// Check plans and turn them into plan rows
#[derive(Debug, Parser)]
#[command(
    name = "bench-validate",
    version = VERSION,
    long_about = "Check plans, all of their mistakes in one pass, and turn them into plan rows.\n\n\
                  Reads YAML files, folders of them, or standard input.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Plan files or folders; - is standard input
    #[arg(value_name = "PLAN")]
    pub plans: Vec<PathBuf>,
    /// text for people, jsonl for programs; auto is text at a terminal
    #[arg(long, value_enum, default_value_t = ValidateFormat::Auto)]
    pub format: ValidateFormat,
    /// Treat warnings as errors
    #[arg(long)]
    pub strict: bool,
    /// Folder with more framework definitions; with --new also names of frameworks: sglang,vllm
    #[arg(long, value_name = "DIR")]
    pub frameworks: Vec<String>,
    /// The GPU's name, where a plan names none and this host has not the GPUs
    #[arg(long, value_name = "NAME")]
    pub gpu: Option<String>,
    /// Check every flag against the captured help in this folder, at any depth (see bench(7))
    #[arg(long, value_name = "DIR", help_heading = "Flags")]
    pub help_dir: Option<PathBuf>,
    /// Run the help commands of the plans' frameworks where they would serve, save what they print, and check by it
    #[arg(long, value_name = "DIR", conflicts_with = "help_dir", help_heading = "Flags")]
    pub capture_help: Option<PathBuf>,
    /// With --capture-help: run them by this launcher instead of the plan's: docker:image=NAME, ssh:host=NAME
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]", value_parser = launcher, requires = "capture_help", help_heading = "Flags")]
    pub launcher: Option<LauncherArg>,
    /// What becomes of a flag that the captured help has not
    #[arg(long, value_enum, default_value_t = UnknownFlagPolicy::Fail, help_heading = "Flags")]
    pub unknown_flags: UnknownFlagPolicy,
    /// Leave aside which versions are known to have a knob
    #[arg(long, help_heading = "Flags")]
    pub any_version: bool,
    /// Look at GPUs, driver, disk, open files, ports, tools and tokens of the place where the plans would run
    #[arg(long, help_heading = "Before a run")]
    pub preflight: bool,
    /// Record that nothing was looked at: a caveat of the report
    #[arg(long, conflicts_with = "preflight", help_heading = "Before a run")]
    pub no_preflight: bool,
    /// Continue without a framework that cannot be asked for its help or started (a caveat of the report)
    #[arg(long, help_heading = "Before a run")]
    pub allow_missing: bool,
    /// A command that lists the GPUs as `nvidia-smi --query-gpu` does (see bench(7)), instead of nvidia-smi
    #[arg(long, value_name = "CMD", value_parser = super::serve::command, requires = "preflight", help_heading = "Before a run")]
    pub gpu_probe_cmd: Option<ArgvCommand>,
    /// Check the rows of this file against the types of their kinds; may be repeated, - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plans", "new"], help_heading = "Instead")]
    pub rows: Vec<PathBuf>,
    /// Write a new plan for this model to standard output
    #[arg(long, value_name = "MODEL", conflicts_with = "plans", help_heading = "Instead")]
    pub new: Option<String>,
    /// With --new: the number of GPUs; 0 for an engine on the CPU
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Instead")]
    pub gpus: u32,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// The folders of `--frameworks`, and the names.
    #[must_use]
    pub fn given(&self) -> (Vec<PathBuf>, Vec<String>) {
        let is_names = |text: &&String| self.new.is_some() && !std::path::Path::new(text).is_dir();
        let (names, folders): (Vec<_>, Vec<_>) = self.frameworks.iter().partition(is_names);
        let names = names.into_iter().flat_map(|text| text.split(',')).map(|name| name.trim().to_string());
        (folders.into_iter().map(PathBuf::from).collect(), names.filter(|name| !name.is_empty()).collect())
    }
}

/// How plans are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ValidateFormat {
    /// text at a terminal, else jsonl
    Auto,
    /// For people
    Text,
    /// Plan rows
    Jsonl,
}

/// What becomes of a flag that the captured help has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnknownFlagPolicy {
    /// Use a known other name of it that the help has; else it is an error
    Translate,
    /// Leave a knob of the search out; in the base it is an error
    Drop,
    /// Skip the candidates that have it
    Reject,
    /// It is an error
    Fail,
}

impl From<UnknownFlagPolicy> for UnknownFlags {
    fn from(unknown: UnknownFlagPolicy) -> Self {
        match unknown {
            UnknownFlagPolicy::Translate => Self::Translate,
            UnknownFlagPolicy::Drop => Self::Drop,
            UnknownFlagPolicy::Reject => Self::Reject,
            UnknownFlagPolicy::Fail => Self::Fail,
        }
    }
}

/// A launcher by its name and options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LauncherArg {
    /// The launcher.
    pub step: LauncherStep,
    /// The image, for those that need one.
    pub image: Option<String>,
}

fn launcher(text: &str) -> Result<LauncherArg, String> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut options = BTreeMap::new();
    for part in rest.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not KEY=VALUE"))?;
        options.insert(key.to_string(), value.to_string());
    }
    let image = options.remove("image");
    Ok(LauncherArg { step: LauncherStep { name: name.into(), options }, image })
}

impl Program for Args {
    const NAME: &'static str = "bench-validate";
    fn common(&self) -> &Common {
        &self.common
    }
}
