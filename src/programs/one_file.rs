//! All programs in one file, as packages have them: the name by which it is called says which of them it is.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use super::{expand, load, normalize, rank, serve, sim, sweep, validate};
use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::system::process::{bound, guard, proc};

/// The name of the file itself.
const NAME: &str = "serving-bench";

/// A program: its name, and what runs it with the arguments of this process.
pub type NamedProgram = (&'static str, fn() -> ExitCode);

/// The programs.
pub const PROGRAMS: [NamedProgram; 8] = [
    ("bench-validate", validate::main),
    ("bench-expand", expand::main),
    ("bench-serve", serve::main),
    ("bench-load", load::main),
    ("bench-normalize", normalize::main),
    ("bench-rank", rank::main),
    ("bench-sim", sim::main),
    ("bench-sweep", sweep::main),
];

/// Runs the program by whose name this process was called.
#[must_use]
pub fn main() -> ExitCode {
    match program(std::env::args_os()) {
        Ok((name, main)) => {
            // By this name it is found by those that look for programs of a sweep, however it was called.
            proc::set_name(name);
            main()
        }
        Err(e) => {
            Notice::new(NAME, false).error(&e);
            ExitStatus::Trouble.into()
        }
    }
}

/// A program that executes its own file again says by the first argument what for; else the name of the call decides.
fn program(mut words: impl Iterator<Item = OsString>) -> Result<NamedProgram> {
    let called = words.next().unwrap_or_default();
    let called = Path::new(&called).file_name().unwrap_or_default();
    let first = words.next();
    let again = first.as_deref().and_then(again);
    let name = again.map_or(called, OsStr::new);
    PROGRAMS.into_iter().find(|(known, _)| name == OsStr::new(known)).ok_or_else(|| {
        let names = PROGRAMS.map(|(name, _)| name).join(", ");
        Error::new(format!(
            "{} is not the name of a program; call it by a link with one of these: {names}",
            name.display()
        ))
    })
}

/// The program to which a first argument belongs that only the programs themselves give.
fn again(argument: &OsStr) -> Option<&'static str> {
    match (guard::is_for(argument), bound::is_for(argument)) {
        (true, _) => Some("bench-serve"),
        (_, true) => Some("bench-sweep"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::program;

    fn called(words: &[&str]) -> Result<&'static str, String> {
        program(words.iter().map(Into::into)).map(|(name, _)| name).map_err(|e| e.to_string())
    }

    #[test]
    fn the_name_of_the_call_decides() {
        assert_eq!(called(&["/usr/bin/bench-rank", "bench-load"]), Ok("bench-rank"));
        assert_eq!(called(&["bench-sim"]), Ok("bench-sim"));
        for unknown in [&["/usr/bin/serving-bench", "bench-rank"][..], &["bench-"], &[]] {
            assert!(called(unknown).unwrap_err().contains("bench-validate, bench-expand"), "{unknown:?}");
        }
    }

    #[test]
    fn what_a_program_executes_again_is_the_same_program() {
        assert_eq!(called(&["bench-guard", "--guard-of-one-server", "[]"]), Ok("bench-serve"));
        assert_eq!(called(&["/usr/bin/serving-bench", "--become-the-server"]), Ok("bench-serve"));
        assert_eq!(called(&["/usr/bin/serving-bench", "--bound-to", "1", "bench-rank"]), Ok("bench-sweep"));
    }
}
