//! The commands that a start's launchers and framework define beside the start itself.

use std::time::Duration;

use crate::engines::launcher::{FactQuery, ImagePull, Leftovers, OutsideStop};
use crate::system::process::capture::output;
use crate::system::process::proc::is_dead;

/// How long one short command may take.
pub(super) const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// Commands that run beside the server.
#[derive(Debug, Default)]
pub struct LaunchCommands {
    /// Commands that report facts about the place where the server runs.
    pub facts: Vec<FactQuery>,
    /// The images of its containers.
    pub images: Vec<ImagePull>,
    /// What an earlier bench-serve may have left, and the command that removes it.
    pub leftovers: Vec<Leftovers>,
    /// How to stop what runs outside the process tree.
    pub outside: Vec<OutsideStop>,
    /// The framework's help commands, run beside the server; empty where that is not possible.
    pub help: Vec<Vec<String>>,
    /// The framework's version command, likewise.
    pub version: Vec<String>,
    /// The command that prints the host of the server; empty where that is known.
    pub address: Vec<String>,
    /// The server sees this host's files.
    pub is_here: bool,
}

impl LaunchCommands {
    /// Removes what a bench-serve of this host that no longer runs left with a launcher (a container, for example).
    pub async fn remove_leftovers(&self) {
        for leftovers in &self.leftovers {
            let listed = text_of(&leftovers.list, &[], COMMAND_LIMIT).await.unwrap_or_default();
            for (name, owner) in listed.lines().filter_map(|line| line.split_once(' ')) {
                if is_dead(owner.trim()) {
                    let remove: Vec<String> =
                        leftovers.remove.iter().map(|word| word.replace("{stale}", name)).collect();
                    text_of(&remove, &[], COMMAND_LIMIT).await;
                }
            }
        }
    }
}

/// What a command prints to standard output, or to standard error if standard output is empty; `None` when it fails.
/// `environment` is added to this process's own.
pub(super) async fn text_of(argv: &[String], environment: &[(String, String)], limit: Duration) -> Option<String> {
    let output = output(argv, environment, limit).await.ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    output.status.success().then(|| String::from_utf8_lossy(&text).into_owned())
}
