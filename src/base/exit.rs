//! Exit statuses: a contract with shell scripts and Makefiles, the same for all programs.

use std::process::ExitCode;

/// How a program ends when no signal ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitStatus {
    /// 0: done, warnings included.
    Done,
    /// 1: done, and the answer is no (a plan with errors; nothing passed the SLA).
    No,
    /// 2: trouble: usage, unreadable or malformed input, I/O.
    Trouble,
}

impl ExitStatus {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        ExitCode::from(exit.code())
    }
}
