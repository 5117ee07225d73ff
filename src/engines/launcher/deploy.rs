//! Command lines that start a server by hand: its own, and the one with all that its launchers add.

use std::borrow::Cow;

use super::chain::{LauncherChain, fill, resolve, write_files};
use super::document::items;
use super::nodes::{LEADER_PORT, placed};
use super::options::without;
use super::{Launchers, ResourceLimit, StartValues};
use crate::base::error::Result;
use crate::base::shell;
use crate::rows::kinds::CandidateServer;

/// What a command line to launch is for.
#[derive(Debug, Clone, Copy)]
pub struct LaunchTarget<'a> {
    /// A name for the folder of option files on another host or in a running container.
    pub name: &'a str,
    /// The server's port.
    pub port: &'a str,
    /// Its GPUs, `0,1`.
    pub gpus: Option<&'a str>,
    /// Limits that cannot be raised where it is started.
    pub refused_limits: &'a [ResourceLimit],
}

/// The server's own command for a shell: it writes the option files, sets the environment and starts the server.
#[must_use]
pub fn server_command(server: &CandidateServer, port: &str) -> String {
    let mut command = local_files(server);
    command.extend(shell::assignments(&server.env));
    let mut command = command.join(" ");
    for word in filled(server, port, "") {
        if !command.is_empty() {
            command.push(' ');
        }
        // The shell expands a secret named as ${NAME}.
        command.push_str(&shell::quote_open(&word));
    }
    command
}

/// The command for a shell that starts a server as its launchers do, but for what only bench-serve needs; `None` for a plain
/// process on this host, and for a server that is already running.
///
/// # Errors
/// An unknown launcher, or one with a setting missing from the plan.
pub fn launch_command(all: &Launchers, server: &CandidateServer, target: &LaunchTarget) -> Result<Option<String>> {
    let launchers = resolve(all, &server.launcher)?;
    if launchers.iter().all(|launcher| launcher.is_plain()) || launchers.iter().any(|l| l.base_url.is_some()) {
        return Ok(None);
    }
    let start = StartValues {
        name: target.name,
        port: 0,
        tunnel_port: 0,
        files: "",
        gpus: target.gpus,
        gpu_count: target.gpus.map(|gpus| u32::try_from(gpus.split(',').count()).unwrap_or(u32::MAX)),
        leader_port: LEADER_PORT,
        cpus: None,
        owner: "",
        refused_limits: target.refused_limits,
    };
    let (asked, items) = (server.launcher.clone(), items(server));
    let mut chain = LauncherChain { asked, items, refused_limits: target.refused_limits, ..LauncherChain::default() };
    let mut written = None;
    for (level, (launcher, step)) in launchers.into_iter().zip(&server.launcher).enumerate() {
        let mut fill = fill(launcher, step, server, &start, level);
        fill.words.insert("port".into(), target.port.to_string());
        if let Some(template) = &launcher.folder {
            let folder = fill.text(template)?;
            fill.words.insert("write_files".into(), write_files(&folder, &server.files));
            written = Some((level, folder));
        }
        let files = written.as_ref().map_or("${PWD}", |(_, folder)| folder.as_str());
        fill.words.insert("files".into(), files.to_string());
        chain.steps.push((launcher, fill));
    }
    // Option files are in the reader's folder, or where the last launcher with a folder of its own writes them.
    let mut parts = Vec::new();
    let inside = match &written {
        _ if server.files.is_empty() => String::new(),
        // A document of its launcher writes them where the server runs.
        Some((level, folder)) if !chain.steps[*level].0.documents.is_empty() => format!("{folder}/"),
        Some((level, folder)) => {
            chain.add_mount(&format!("{folder}:{folder}:ro"));
            let script = write_files(folder, &server.files);
            let write = ["sh".to_string(), "-c".to_string(), script.trim_end_matches("; ").to_string()];
            parts.push(format!("{} &&", open(&chain.wrap(level + 1, &write)?)));
            format!("{folder}/")
        }
        None => {
            parts.extend(local_files(server));
            let mounted = server.files.keys().filter(|name| chain.add_mount(&format!("${{PWD}}/{name}:/{name}:ro")));
            if mounted.count() > 0 { "/".to_string() } else { String::new() }
        }
    };
    let mut argv = filled(server, target.port, &inside).map(Cow::into_owned).collect();
    if let Some(innermost) = chain.steps.last().map(|(launcher, _)| *launcher).zip(server.launcher.last()) {
        argv = placed(innermost, server, argv, LEADER_PORT);
    }
    for (launcher, fill) in &chain.steps {
        for (name, template) in launcher.documents.iter().filter(|_| !launcher.deploy.is_empty()) {
            let text = fill.with(&argv).document(template, &chain.items)?;
            parts.push(format!("printf %s {} > {} &&", shell::quote_open(&text), shell::quote(name)));
        }
    }
    let (command, sets_environment) = chain.by_hand(&argv)?;
    if !sets_environment {
        parts.extend(shell::assignments(&server.env));
    }
    parts.push(open(&command));
    Ok(Some(parts.join(" ")))
}

fn open(argv: &[String]) -> String {
    argv.iter().map(|word| shell::quote_open(word)).collect::<Vec<_>>().join(" ")
}

/// The server's argv with its port, and its option files in a folder, empty for the current one.
fn filled<'a>(server: &'a CandidateServer, port: &str, folder: &str) -> impl Iterator<Item = Cow<'a, str>> {
    server.argv.iter().map(move |word| match word.contains('{') {
        true => Cow::Owned(word.replace("{port}", port).replace("{files}/", folder)),
        false => Cow::Borrowed(word.as_str()),
    })
}

/// Commands that write the option files into the current folder, so that the line is self-contained.
fn local_files(server: &CandidateServer) -> Vec<String> {
    let one =
        |(name, text): (&String, &String)| format!("printf %s {} > {} &&", shell::quote(text), shell::quote(name));
    server.files.iter().map(one).collect()
}

impl LauncherChain<'_> {
    /// Mounts something where the innermost launcher takes mounts; true if it does.
    fn add_mount(&mut self, mount: &str) -> bool {
        let Some((launcher, fill)) = self.steps.last_mut() else { return false };
        let takes = launcher.lists.contains_key("mounts");
        if takes {
            fill.lists.entry("mounts".into()).or_default().push(mount.to_string());
        }
        takes
    }

    /// The command that starts `argv` through all launchers without what only bench-serve needs, and whether it sets the
    /// server's environment.
    fn by_hand(&self, argv: &[String]) -> Result<(Vec<String>, bool)> {
        let (mut command, mut sets_environment) = (argv.to_vec(), false);
        for (launcher, fill) in self.steps.iter().rev() {
            // A script leaves marks for bench-serve; a short command runs in the same place without them.
            let template = match (launcher.script.is_empty(), launcher.short.is_empty()) {
                _ if !launcher.deploy.is_empty() => launcher.deploy.clone(),
                (true, _) => launcher.bookkeeping.iter().fold(launcher.start.clone(), |words, own| without(words, own)),
                (false, false) => launcher.short.clone(),
                (false, true) => launcher.there.clone(),
            };
            sets_environment |= template.iter().any(|word| word == "{env...}" || word.contains("{remote_env}"));
            sets_environment |= !launcher.documents.is_empty();
            let template = launcher.applicable(&template, fill.options(), self.refused_limits);
            let mut fill = fill.with(&command);
            let own = launcher.options_by_hand(fill.options());
            fill.lists.entry("options".into()).or_default().splice(0..0, own);
            command = fill.command(&template)?;
        }
        Ok((command, sets_environment))
    }
}
