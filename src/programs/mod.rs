//! One use case per program: connects the flags of the eight programs with the rooms that do the work.

pub mod capture;
mod claims;
pub mod convert;
mod deploy;
mod doctor;
pub mod earlier;
pub mod emit;
pub mod expand;
pub mod import;
mod import_folder;
mod import_yaml;
mod input;
pub mod load;
mod local;
pub mod normalize;
pub mod one_file;
mod parts;
mod pasted;
mod place;
pub mod plans;
pub mod preflight;
pub mod rank;
pub mod rows;
pub mod serve;
pub mod shipped;
pub mod sim;
pub mod starter;
pub mod stdio;
pub mod sweep;
pub mod target;
mod time_limit;
#[cfg(feature = "tokenizer")]
pub mod tokenizer;
pub mod validate;
pub mod workload;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Arg;
use clap_complete::Shell;
use serde_json::json;

use crate::base::error::Result;
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::base::redact;
use crate::flags::{Program, ProgressFormat};
use crate::rows::row::Row;
use crate::system::secret_file;

/// Parses the arguments, runs `verb`, reports its error and returns the exit status.
pub fn run<P: Program>(verb: impl FnOnce(P, &'static Notice) -> Result<ExitStatus>) -> ExitCode {
    redact::hide_environment();
    secret_file::hide(&redact::files_of_environment());
    let program = match parse::<P>() {
        Ok(program) => program,
        Err(e) => return usage::<P>(&e),
    };
    // Threads that read standard input may outlive the verb, so the notice lives as long as the process.
    let notice = Notice::new(P::NAME, program.common().quiet);
    let notice = match program.progress() {
        ProgressFormat::Text => notice,
        ProgressFormat::Json => notice.in_rows(message_row),
    };
    let notice: &'static Notice = Box::leak(Box::new(notice));
    let outcome = match program.common().completions {
        Some(shell) => completions::<P>(shell),
        None => verb(program, notice),
    };
    let exit = match outcome {
        Ok(exit) => notice.exit(exit),
        Err(e) if e.is_reader_left() => notice.exit(ExitStatus::Done),
        Err(e) => {
            notice.error(&e);
            ExitStatus::Trouble
        }
    };
    notice.clear();
    exit.into()
}

/// A message as a `progress` row.
fn message_row(program: &str, event: &str, text: &str) -> String {
    Row::new("progress", &json!({"program": program, "event": event, "text": text})).line()
}

/// The arguments; a negative number after a flag is its value, so that the flag itself can refuse it.
fn parse<P: Program>() -> std::result::Result<P, clap::Error> {
    let with_numbers = |arg: Arg| match arg.get_action().takes_values() && !arg.is_positional() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    };
    let command = P::command().mut_args(with_numbers);
    P::from_arg_matches(&command.try_get_matches()?)
}

/// clap's own message: help and version to standard output with status 0, the rest to standard error with status 2.
fn usage<P: Program>(message: &clap::Error) -> ExitCode {
    let notice = Notice::new(P::NAME, false);
    if message.use_stderr() {
        // It repeats the argument.
        let text = message.render();
        let text = if std::io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
        notice.relay(&text);
        return ExitStatus::Trouble.into();
    }
    match message.print().and_then(|()| std::io::stdout().flush()).map_err(stdio::write_error) {
        Ok(()) => ExitStatus::Done.into(),
        Err(e) => {
            notice.error(&e);
            notice.exit(ExitStatus::Done).into()
        }
    }
}

fn completions<P: Program>(shell: Shell) -> Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut P::command(), P::NAME, &mut script);
    let mut out = stdio::stdout()?;
    out.write_all(&script).and_then(|()| out.flush()).map_err(stdio::write_error)?;
    Ok(ExitStatus::Done)
}
