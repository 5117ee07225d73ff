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
  bench-validate plan.yaml                        on a terminal: a summary of the plan, or its errors
  bench-validate plan.yaml | bench-expand         plan rows for the pipeline
  bench-validate configs/cookbook-llm             every plan in a folder
  bench-validate --new Qwen/Qwen3-32B --gpus 4    a new plan with comments, to start from
  bench-validate --cookbook qwen3-235b-a22b       the plan of the cookbook for a model; --cookbook alone lists its 50 plans
  bench-validate --new --from-command 'docker run --gpus all vllm/vllm-openai:v0.32.0 --model Qwen/Qwen3-32B -tp 4'
                                                  a new plan whose baseline is this command
  bench-validate --capture-help help plan.yaml    run each framework's --help where it would serve, and check against it
  bench-validate --help-dir help plan.yaml        check every flag against help captured earlier
  bench-validate --preflight plan.yaml            also check GPUs, disk, ports and tools
  bench-validate --rows results.jsonl             check rows against the schemas of their kinds
  bench-validate --explain W-P99-N                what the code of a finding means, and how to fix it

Findings are printed on standard error as file:line:column: error|warning|note: CODE: message. bench-plan(5) has every key of a plan.

Exit status:
  0  all plans are valid, perhaps with warnings
  1  a plan has errors (only the other plans give rows), or a row of --rows is invalid
  2  error: bad usage, unreadable input, I/O";

/// Check plans and turn them into plan rows
#[derive(Debug, Parser)]
#[command(
    name = "bench-validate",
    version = VERSION,
    long_about = "Check plans, report all mistakes in one pass, and turn the plans into plan rows.\n\n\
                  Reads YAML files, folders of them, or standard input.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Plan files or folders, or quickstart, a plan without a GPU; standard input if omitted or -
    #[arg(value_name = "PLAN")]
    pub plans: Vec<PathBuf>,
    /// Output format
    #[arg(long, alias = "output-format", value_enum, default_value_t = ValidateFormat::Auto)]
    pub format: ValidateFormat,
    /// Write to FILE instead of standard output: complete, or FILE stays as it was
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["rows", "explain"])]
    pub output: Option<PathBuf>,
    /// Treat warnings as errors
    #[arg(long)]
    pub strict: bool,
    /// Folder with additional framework definitions; with --new also the frameworks to include, such as sglang,vllm
    /// [default with --new: those on PATH]
    #[arg(long, value_name = "DIR")]
    pub frameworks: Vec<String>,
    /// GPU model to assume if neither the plan nor this host provides one
    #[arg(long, alias = "gpu-model", value_name = "NAME")]
    pub gpu: Option<String>,
    /// Write a new plan for MODEL to standard output; with --from-command, MODEL replaces the command's
    #[arg(long, value_name = "MODEL", num_args = 0..=1, default_missing_value = "", conflicts_with = "plans", help_heading = "New plan")]
    pub new: Option<String>,
    /// Write the cookbook's plan for MODEL to standard output; without MODEL list the plans: their names, models, GPUs and
    /// frameworks
    #[arg(long, value_name = "MODEL", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["plans", "new"], help_heading = "New plan")]
    pub cookbook: Option<String>,
    /// With --new: use this command as the baseline: the server's own, or with docker run, docker exec, podman run,
    /// ssh or srun before it; a file that contains it, or - for standard input. A script, a unit of systemd, a
    /// Compose file and a Kubernetes manifest work too
    #[arg(long, value_name = "COMMAND", requires = "new", help_heading = "New plan")]
    pub from_command: Option<String>,
    /// With --new: number of GPUs; 0 for an engine on the CPU [default: 1, or the number that --from-command needs]
    #[arg(long, alias = "num-gpus", alias = "gpu-count", value_name = "N", help_heading = "New plan")]
    pub gpus: Option<u32>,
    /// Check every flag against the captured help in this folder, at any depth (see bench(7))
    #[arg(long, value_name = "DIR", help_heading = "Server flags")]
    pub help_dir: Option<PathBuf>,
    /// Run each framework's --help where it would serve, save the output in DIR, and check every flag against it
    #[arg(long, value_name = "DIR", conflicts_with = "help_dir", help_heading = "Server flags")]
    pub capture_help: Option<PathBuf>,
    /// With --capture-help: use this launcher instead of the plan's: docker:image=NAME, ssh:host=NAME
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]", value_parser = launcher, requires = "capture_help", help_heading = "Server flags")]
    pub launcher: Option<LauncherArg>,
    /// What to do with a flag missing from the captured --help
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = UnknownFlagPolicy::Fail, help_heading = "Server flags")]
    pub unknown_flags: UnknownFlagPolicy,
    /// Skip the check that the installed version supports each flag and the model
    #[arg(long, help_heading = "Server flags")]
    pub any_version: bool,
    /// Check GPUs, driver, disk, open files, ports, tools and tokens where the plans would run
    #[arg(long, help_heading = "Preflight checks")]
    pub preflight: bool,
    /// Skip the preflight checks (noted in the report)
    #[arg(long, conflicts_with = "preflight", help_heading = "Preflight checks")]
    pub no_preflight: bool,
    /// Continue without frameworks that cannot be started (noted in the report)
    #[arg(long, help_heading = "Preflight checks")]
    pub allow_missing: bool,
    /// Command to use instead of nvidia-smi, with the output of `nvidia-smi --query-gpu` (see bench(7))
    #[arg(long, value_name = "CMD", value_parser = super::serve::command, requires = "preflight", help_heading = "Preflight checks")]
    pub gpu_probe_cmd: Option<ArgvCommand>,
    /// Check the rows of FILE against the schemas of their kinds; may be repeated; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plans", "new", "cookbook"], help_heading = "Other modes")]
    pub rows: Vec<PathBuf>,
    /// Explain the code of a finding: what it means, why it matters, how to fix it
    #[arg(long, value_name = "CODE", conflicts_with_all = ["plans", "new", "cookbook", "rows"], help_heading = "Other modes")]
    pub explain: Option<String>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// The folders and the names in `--frameworks`.
    #[must_use]
    pub fn framework_folders_and_names(&self) -> (Vec<PathBuf>, Vec<String>) {
        let is_names = |text: &&String| self.new.is_some() && !std::path::Path::new(text).is_dir();
        let (names, folders): (Vec<_>, Vec<_>) = self.frameworks.iter().partition(is_names);
        let names = names.into_iter().flat_map(|text| text.split(',')).map(|name| name.trim().to_string());
        (folders.into_iter().map(PathBuf::from).collect(), names.filter(|name| !name.is_empty()).collect())
    }
}

/// How plans are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ValidateFormat {
    /// text on a terminal, otherwise jsonl
    Auto,
    /// A summary for people
    Text,
    /// Plan rows for programs
    Jsonl,
}

/// What to do with a flag missing from the captured `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnknownFlagPolicy {
    /// Use another known name of the flag if the help lists it; otherwise report an error
    Translate,
    /// Drop it from search_space; in base_server_flags report an error
    Drop,
    /// Skip candidates that have it
    Reject,
    /// Report an error
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
    /// The container image, for launchers that need one.
    pub image: Option<String>,
}

fn launcher(text: &str) -> Result<LauncherArg, String> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut options = BTreeMap::new();
    for part in rest.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} must be KEY=VALUE"))?;
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
