//! The command line: one clap definition per program, from which `-h`, `--help`, man pages and completions come.

pub mod expand;
pub mod fit;
pub mod load;
pub mod normalize;
pub mod passed;
pub mod rank;
pub mod serve;
pub mod sim;
pub mod sweep;
pub mod validate;
pub mod workload;

use clap::{ArgAction, Args, Parser, ValueEnum};
use clap_complete::Shell;

use crate::base::error::{Error, Result};

/// Flags of every program: the last group of its help.
#[derive(Debug, Clone, Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Common {
    /// Print only warnings and errors on standard error
    #[arg(short, long, global = true, help_heading = STANDARD)]
    pub quiet: bool,
    /// Print a completion script for this shell and exit
    #[arg(long, value_name = "SHELL", exclusive = true, help_heading = STANDARD)]
    pub completions: Option<Shell>,
    /// Print help (-h for a summary, --help with details and examples)
    #[arg(short, long, action = ArgAction::Help, help_heading = STANDARD)]
    help: Option<bool>,
    /// Print the version and the commit
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = STANDARD)]
    version: Option<bool>,
}

const STANDARD: &str = "Standard options";
/// The options for sweeps over several hosts.
const MANY: &str = "Many hosts";

/// The form of what a program tells while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressFormat {
    /// Lines to read; at a terminal with a moving line below them
    #[default]
    Text,
    /// progress rows, for other programs: configs/schemas/progress.schema.json
    Json,
}

/// The flag of the programs that run for a long time.
#[derive(Debug, Clone, Default, Args)]
pub struct ProgressArgs {
    /// Form of the progress on standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ProgressFormat::Text, help_heading = STANDARD)]
    pub progress: ProgressFormat,
}

/// A program's arguments.
pub trait Program: Parser {
    /// `bench-rank`.
    const NAME: &'static str;
    /// The flags that all programs share.
    fn common(&self) -> &Common;
    /// The form of its progress.
    fn progress(&self) -> ProgressFormat {
        ProgressFormat::Text
    }
}

/// A value of the form KEY=VALUE.
///
/// # Errors
/// No `=`, or nothing before it.
pub fn key_value(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        _ => Err(Error::new(format!("{text:?} must be KEY=VALUE"))),
    }
}
