//! The commands that a start's launchers and framework define beside the start itself.

use std::time::Duration;

use crate::base::notice::Notice;
use crate::engines::launcher::{FactQuery, ImagePull, Leftovers, OutsideStop};
use crate::system::process::capture::output;
use crate::system::process::proc::is_dead;

/// How long one short command may take.
pub(super) const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// How long a removal may take: a container has ten seconds to end by itself.
const REMOVE_LIMIT: Duration = Duration::from_secs(30);
/// How often leftovers are listed: Podman cannot while another container is being removed.
const TRIES: u32 = 4;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(300);

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
    /// Removes what a bench-serve of this host that no longer runs left with a launcher (a container, for example). If the launcher cannot
    /// list it, the start that follows says why.
    pub async fn remove_leftovers(&self, notice: &Notice) {
        for leftovers in &self.leftovers {
            let mut stale = stale_names(&leftovers.list).await;
            for _ in 1..TRIES {
                match &stale {
                    Some(names) if names.is_empty() => break,
                    Some(names) => remove(names, &leftovers.remove).await,
                    None => tokio::time::sleep(PAUSE).await,
                }
                stale = stale_names(&leftovers.list).await;
            }
            for name in stale.into_iter().flatten() {
                notice.warn(format!("{name}, which an earlier bench-serve left, cannot be removed"));
            }
        }
    }
}

/// The names of what belongs to owners that have ended; `None` if it cannot be listed.
async fn stale_names(list: &[String]) -> Option<Vec<String>> {
    let listed = text_of(list, &[], COMMAND_LIMIT).await?;
    let all = listed.lines().filter_map(|line| line.split_once(' '));
    Some(all.filter(|(_, owner)| is_dead(owner.trim())).map(|(name, _)| name.to_string()).collect())
}

async fn remove(names: &[String], command: &[String]) {
    for name in names {
        let remove: Vec<String> = command.iter().map(|word| word.replace("{stale}", name)).collect();
        text_of(&remove, &[], REMOVE_LIMIT).await;
    }
}

/// What a command prints to standard output, or to standard error if standard output is empty; `None` when it fails.
/// `environment` is added to this process's own.
pub(super) async fn text_of(argv: &[String], environment: &[(String, String)], limit: Duration) -> Option<String> {
    let output = output(argv, environment, limit).await.ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    output.status.success().then(|| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process::proc::owner;

    #[tokio::test]
    async fn what_cannot_be_listed_at_once_is_removed_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, of_the_dead) = (owner(), format!("{}0", owner()));
        let things = folder.path().join("things");
        std::fs::write(&things, format!("mine {mine}\ntheirs {of_the_dead}\nno-owner\n")).unwrap();
        let sh = |script: &str| {
            let folder = folder.path().display().to_string();
            ["sh", "-c", script, "sh", &folder, "{stale}"].map(String::from).to_vec()
        };
        // As Podman does while another container is being removed: the first time it fails; and the first removal does.
        let leftovers = Leftovers {
            list: sh("cd \"$1\"; [ -e listed ] || { touch listed; exit 125; }; cat things"),
            remove: sh("cd \"$1\"; [ -e asked ] || { touch asked; exit 125; }; sed -i \"/^$2 /d\" things"),
        };
        let commands = LaunchCommands { leftovers: vec![leftovers], ..LaunchCommands::default() };
        commands.remove_leftovers(&Notice::new("test", true)).await;
        assert_eq!(std::fs::read_to_string(&things).unwrap(), format!("mine {mine}\nno-owner\n"));
    }
}
