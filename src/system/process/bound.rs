//! A program that ends with its parent: the parent is executed again, binds itself to the one that started it, and becomes
//! the program. What the kernel sends then is SIGTERM, so the program ends in its own order.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use crate::base::error::Error;

/// The first argument of a program that is to become another one, bound to the process whose id follows.
const BOUND_ARGUMENT: &str = "--bound-to";

/// `program` as a command that ends with this process, whose own program is the file `this`.
#[must_use]
pub fn command(this: &Path, program: &OsString) -> Command {
    let mut command = Command::new(this);
    command.arg(BOUND_ARGUMENT).arg(std::process::id().to_string()).arg(program);
    command
}

/// True for the argument that makes bench-sweep become another program.
#[must_use]
pub fn is_for(argument: &OsStr) -> bool {
    argument == BOUND_ARGUMENT
}

/// Becomes another program if the first argument says so, and returns only if that fails; `None` for an ordinary start.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Option<Error> {
    if arguments.nth(1)? != BOUND_ARGUMENT {
        return None;
    }
    Some(become_program(arguments))
}

fn become_program(mut arguments: impl Iterator<Item = OsString>) -> Error {
    let parent = arguments.next().and_then(|id| id.to_str()?.parse().ok()).map(Pid::from_raw);
    let (Some(parent), Some(program)) = (parent, arguments.next()) else { return Error::new("no command") };
    if let Err(e) = prctl::set_pdeathsig(Signal::SIGTERM) {
        return Error::new("cannot bind this program to the one that started it").because(e);
    }
    // The parent may have ended before that.
    if getppid() != parent {
        return Error::new("the program that started this one has ended");
    }
    let failed = Command::new(&program).args(arguments).exec();
    Error::new(format!("cannot execute {}", program.display())).because(failed)
}
