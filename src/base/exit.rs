//! Exit statuses, the same for all programs; scripts and Makefiles rely on them.

use std::process::ExitCode;

/// The exit status of a program that no signal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitStatus {
    /// 0: done, perhaps with warnings.
    Done,
    /// 1: done, and the answer is no (a plan with errors; nothing passed the SLA).
    No,
    /// 2: error: bad usage, unreadable or malformed input, I/O.
    Trouble,
    /// 3: nothing was measured at all: every start or run failed.
    NothingMeasured,
    /// 4: everything was measured before, so nothing was done.
    NothingToDo,
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
