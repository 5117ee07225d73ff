//! The command line of bench-validate.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{Common, Program};

const AFTER: &str = "\
Examples:
  bench-validate plan.yaml                      at a terminal: what the plan asks for, or what is wrong with it
  bench-validate plan.yaml | bench-expand       plan rows for the pipeline
  bench-validate configs/                       every plan of a folder
  bench-validate --capture-help help plan.yaml  saves what each framework's --help says

Findings stand on standard error as file:line:column: error|warning: message.

Exit status:
  0  every plan is good, warnings included
  1  a plan has errors; it gives no row, the others do
  2  trouble: usage, unreadable input, I/O";

/// Check plans and turn them into plan rows
#[derive(Debug, Parser)]
#[command(
    name = "bench-validate",
    version,
    long_about = "Check plans, all of their mistakes in one pass, and turn them into plan rows.\n\n\
                  Reads YAML files, folders of them, or standard input.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Plan files or folders; - is standard input
    #[arg(value_name = "PLAN")]
    pub plans: Vec<PathBuf>,
    /// text for people, jsonl for programs; auto is text at a terminal
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// Treat warnings as errors
    #[arg(long)]
    pub strict: bool,
    /// Folder with more framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// Run the help commands of the plans' frameworks here and save what they print
    #[arg(long, value_name = "DIR")]
    pub capture_help: Option<PathBuf>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// How plans are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// text at a terminal, else jsonl
    Auto,
    /// For people
    Text,
    /// Plan rows
    Jsonl,
}

impl Program for Args {
    const NAME: &'static str = "bench-validate";
    fn common(&self) -> &Common {
        &self.common
    }
}
