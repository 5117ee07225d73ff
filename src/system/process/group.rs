//! Process groups that end with their owner.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// The process group of a program that was started with `process_group(0)`; dropping it kills every process of the group.
#[derive(Debug)]
pub struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// The group that `leader` leads; none if it has been waited for already.
    #[must_use]
    pub fn of(leader: &Child) -> Self {
        Self::led_by(leader.id())
    }

    fn led_by(id: Option<u32>) -> Self {
        Self(id.and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Usually the group has ended already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// The command's process is to lead a group of its own.
pub fn lead(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

/// Kills the group that `leader` leads, who has not been waited for.
pub fn kill_all(leader: u32) {
    drop(ProcessGroup::led_by(Some(leader)));
}
