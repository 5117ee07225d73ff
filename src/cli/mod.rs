//! The command line: one clap definition per program, from which `-h`, `--help`, man pages and completions come.

pub mod capture;
pub mod convert;
pub mod earlier;
pub mod emit;
pub mod expand;
pub mod load;
pub mod native;
pub mod normalize;
pub mod plans;
pub mod preflight;
pub mod rank;
pub mod rows;
pub mod serve;
pub mod sim;
pub mod starter;
pub mod streams;
#[cfg(feature = "tokenizer")]
pub mod tokenizer;
pub mod validate;
pub mod workload;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser};
use clap_complete::Shell;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::notice::Notice;
use crate::redact;

/// What every program takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Print nothing but warnings and errors on standard error
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print a completion script for this shell and exit
    #[arg(long, value_name = "SHELL", exclusive = true)]
    pub completions: Option<Shell>,
}

/// A program's arguments.
pub trait Program: Parser {
    /// `bench-rank`.
    const NAME: &'static str;
    /// The flags that all programs share.
    fn common(&self) -> &Common;
}

/// Parses the arguments, runs `verb`, reports its error and gives the exit status.
pub fn run<P: Program>(verb: impl FnOnce(P, &'static Notice) -> Result<Exit>) -> ExitCode {
    let program = match P::try_parse() {
        Ok(program) => program,
        Err(e) => return usage(&e),
    };
    redact::hide_environment();
    // Threads that read standard input outlive the verb: what they report to lives as long as the process.
    let notice: &'static Notice = Box::leak(Box::new(Notice::new(P::NAME, program.common().quiet)));
    let outcome = match program.common().completions {
        Some(shell) => completions::<P>(shell),
        None => verb(program, notice),
    };
    let exit = match outcome {
        Ok(exit) => notice.exit(exit),
        Err(e) if e.is_reader_left() => notice.exit(Exit::Done),
        Err(e) => {
            notice.error(&e);
            Exit::Trouble
        }
    };
    notice.clear();
    exit.into()
}

/// clap's own message: help and version to standard output with status 0, the rest to standard error with status 2.
fn usage(message: &clap::Error) -> ExitCode {
    // A vanished terminal is no reason to panic.
    let _ = message.print();
    if message.use_stderr() { Exit::Trouble.into() } else { Exit::Done.into() }
}

fn completions<P: Program>(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut P::command(), P::NAME, &mut script);
    let mut out = streams::stdout()?;
    out.write_all(&script).and_then(|()| out.flush()).map_err(streams::write_error)?;
    Ok(Exit::Done)
}

/// The exit statuses, for the end of each program's `--help` and man page.
#[must_use]
pub fn exit_statuses(no: &str) -> String {
    let no = if no.is_empty() { String::new() } else { format!("  1  {no}\n") };
    format!("Exit status:\n  0  done, warnings included\n{no}  2  trouble: usage, unreadable or malformed input, I/O")
}

/// A value of the form KEY=VALUE.
///
/// # Errors
/// Without `=`, or with nothing before it.
pub fn key_value(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        _ => Err(Error::new(format!("{text:?} is not KEY=VALUE"))),
    }
}
