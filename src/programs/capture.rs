//! Captures the help of frameworks where their servers would run, saves it, and reads it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::stdio;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::base::{redact, shell};
use crate::engines::framework::{Framework, Frameworks, HelpSubject};
use crate::engines::help::{Helps, MISSING};
use crate::engines::launcher::{LauncherChain, StartValues};
use crate::flags::validate::LauncherArg;
use crate::plan::expand::expand;
use crate::plan::{Command, Plan};
use crate::rows::kinds::CandidateServer;
use crate::system::process::{capture, proc};

/// Maximum time for a help command: some programs import everything they have before they print it.
const HELP_LIMIT: Duration = Duration::from_secs(180);
/// Maximum size of a captured file, bytes.
const MAX_FILE: usize = 8 << 20;
/// Maximum depth of folders.
const MAX_DEPTH: usize = 6;

/// Where the servers of one framework of a plan run, and how to run commands there.
pub struct HelpSource<'a> {
    /// The framework's name in the plan.
    pub name: String,
    /// Its definition.
    pub framework: &'a Framework,
    /// The command and launchers of its baseline.
    pub server: CandidateServer,
    frameworks: &'a Frameworks,
    command: Option<Command>,
    gpus: Option<String>,
}

impl<'a> HelpSource<'a> {
    /// The places of a plan's frameworks.
    ///
    /// # Errors
    /// A framework without a definition.
    pub fn all(plan: &Plan, frameworks: &'a Frameworks) -> Result<Vec<Self>> {
        let enabled: BTreeSet<&str> = plan.frameworks.iter().filter(|f| f.enabled).map(|f| f.name.as_str()).collect();
        let mut places = Vec::new();
        for expansion in expand(plan, frameworks)?.into_iter().filter(|e| enabled.contains(e.framework.as_str())) {
            let Some(baseline) = expansion.candidates.into_iter().next() else { continue };
            let Some(framework) = frameworks.get(&baseline.server.definition) else { continue };
            let gpus = baseline.hardware.devices();
            let given = plan.frameworks.iter().find(|given| given.name == expansion.framework);
            let command = given.and_then(|given| given.command.clone());
            let name = expansion.framework;
            places.push(Self {
                name,
                framework,
                server: CandidateServer::clone(&baseline.server),
                frameworks,
                command,
                gpus,
            });
        }
        Ok(places)
    }

    /// Replaces its launcher.
    #[must_use]
    pub fn launched_by(mut self, launched: &LauncherArg) -> Self {
        self.server.launcher = vec![launched.step.clone()];
        self.server.image = launched.image.clone().or(self.server.image);
        self
    }

    /// The argv that runs a short command there; `None` if the launcher does not support it.
    ///
    /// # Errors
    /// A launcher with a setting missing from the plan.
    pub fn short(&self, command: &[String]) -> Result<Option<Vec<String>>> {
        self.with(|chain| chain.before(command))
    }

    /// The argv that runs a command on the host whose GPUs it uses.
    ///
    /// # Errors
    /// As above.
    pub fn on_host(&self, command: &[String]) -> Result<Vec<String>> {
        self.with(|chain| chain.on_host(command))
    }

    /// A short command of the definition, with the program of this server's own command. For a program unknown to the
    /// definition it is only the server's help.
    fn own(&self, short: &[String]) -> Option<Vec<String>> {
        let argv = &self.server.argv;
        self.framework.alike(argv, short).or_else(|| {
            let behind =
                short.strip_prefix(&self.framework.command[..]).filter(|_| self.framework.find(argv).is_none())?;
            Some([self.head(), behind].concat())
        })
    }

    /// Its command without model and flags.
    pub(super) fn head(&self) -> &[String] {
        let argv = &self.server.argv;
        let end = self.framework.find(argv).map(|found| found.end);
        let own = self.command.as_ref().map_or(argv.len(), |command| command.head.len());
        &argv[..end.unwrap_or(own).min(argv.len())]
    }

    /// The environment variables of its commands.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        self.server.env.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
    }

    /// True if the help of its server can be captured.
    #[must_use]
    pub fn has_help(&self) -> bool {
        self.framework.help.iter().any(|help| help.of == HelpSubject::Server && self.own(&help.command).is_some())
            && matches!(self.short(&["true".into()]), Ok(Some(_)))
    }

    /// Distinguishes it from other places with the same name.
    #[must_use]
    pub fn key(&self) -> String {
        let server = &self.server;
        format!(
            "{} {:?} {:?} {:?} {:?} {:?}",
            self.name,
            self.head(),
            server.env,
            server.launcher,
            server.image,
            server.mounts
        )
    }

    pub(super) fn with<T>(&self, ask: impl FnOnce(&LauncherChain) -> Result<T>) -> Result<T> {
        let name = format!("capture-{}", std::process::id());
        let (owner, gpus) = (proc::owner(), self.gpus.as_deref());
        let start = StartValues { name: &name, files: "/tmp", gpus, owner: &owner, ..StartValues::default() };
        ask(&LauncherChain::new(self.frameworks.launchers(), &self.server, &["true".to_string()], &start)?)
    }
}

/// The places whose help has been captured, each with its folder.
#[derive(Debug, Default)]
pub struct HelpCaptures(BTreeMap<String, String>);

impl HelpCaptures {
    /// Captures the help of places without any into folders in `folder`, and reads it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn capture(
        &mut self,
        folder: &Path,
        places: &[HelpSource],
        frameworks: &Frameworks,
        notice: &Notice,
    ) -> Result<Helps> {
        let mut own = BTreeMap::new();
        for place in places {
            let key = place.key();
            if !self.0.contains_key(&key) {
                // Plans may have different commands for frameworks with the same name.
                let free = |name: &String| !self.0.values().any(|taken| taken == name);
                let more = (2..).map(|n| format!("{}+{n}", place.name));
                let name = std::iter::once(place.name.clone()).chain(more).find(free).unwrap_or_default();
                capture(&folder.join(&name), place, notice)?;
                self.0.insert(key.clone(), name);
            }
            own.insert(place.name.clone(), self.0[&key].clone());
        }
        let helps = read(folder, frameworks, notice).unwrap_or_default();
        Ok(helps.placed(&own, &self.0.values().cloned().collect()))
    }
}

/// Runs the help and version commands of a framework in its place, with the plan's own command and environment, and saves the
/// output in `folder`. A failure is saved too.
///
/// # Errors
/// When a file cannot be written.
fn capture(folder: &Path, place: &HelpSource, notice: &Notice) -> Result<()> {
    let environment = place.environment();
    let reached = place.reach(true, notice);
    let mut answered = false;
    for help in &place.framework.help {
        // Skip the help of the client if the help of the server failed.
        let Some(own) = place.own(&help.command).filter(|_| answered || help.of == HelpSubject::Server) else {
            continue;
        };
        let named = help.named.first().map(|words| words.join("_"));
        let file = named.unwrap_or_else(|| help.command[..help.command.len().saturating_sub(1)].join("_"));
        let file = folder.join(format!("{}_help.txt", file.replace(['/', ' '], "_")));
        let command = match place.short(&own) {
            Ok(Some(command)) => command,
            Ok(None) => return skipped(place, "cannot capture help from a server that is already running", notice),
            Err(e) => return Err(e.at(format!("--capture-help {}", place.name))),
        };
        let asked = match &reached {
            Ok(()) => capture::succeeding(&command, &environment, HELP_LIMIT).map_err(|e| failure(&command, &e)),
            Err(e) => Err(e.to_string()),
        };
        match asked {
            Ok(text) => {
                answered = true;
                capture::save(&file, &redact::foreign(&text))?;
            }
            Err(why) => {
                let why = redact::foreign(&why);
                if help.of != HelpSubject::Server {
                    notice.warn(format!("{}: help of its benchmark client not captured: {why}", place.name));
                }
                capture::save(&file, &format!("{MISSING}{why}\n"))?;
            }
        }
    }
    if !answered && reached.is_err() {
        return Ok(());
    }
    let known = place.is_local().then(|| crate::serve::package_version(place.framework, &place.server)).flatten();
    let printed = || {
        let command = place.own(&place.framework.version.command)?;
        let command = place.short(&command).ok()?.filter(|command| !command.is_empty())?;
        capture::succeeding(&command, &environment, HELP_LIMIT).ok()
    };
    if let Some(text) = known.or_else(printed) {
        let file = format!("{}_version.txt", place.framework.name);
        capture::save(&folder.join(file), &format!("{}\n", redact::foreign(text.trim())))?;
    }
    Ok(())
}

/// Why a help command failed: the command, and what it printed last.
fn failure(command: &[String], e: &Error) -> String {
    let (e, command) = (e.to_string(), shell::join(command));
    if e.starts_with(&command) { e } else { format!("{command}: {e}") }
}

fn skipped(place: &HelpSource, why: &str, notice: &Notice) -> Result<()> {
    notice.warn(format!("{}: {why}", place.name));
    Ok(())
}

/// Reads a folder of captured help, with its subfolders.
///
/// # Errors
/// When it cannot be read.
pub fn read(folder: &Path, frameworks: &Frameworks, notice: &Notice) -> Result<Helps> {
    let mut paths = Vec::new();
    text_files(folder, 0, &mut paths).map_err(|e| e.at(stdio::name(folder)))?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        match stdio::read_text(&path, MAX_FILE) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(e) => notice.error(&e),
        }
    }
    let helps = Helps::of(&files, frameworks);
    if helps.is_empty() {
        let what = "no captured help found; expected files such as vllm_serve_help.txt, as written by --capture-help";
        return Err(Error::new(what).at(stdio::name(folder)));
    }
    Ok(helps)
}

fn text_files(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).context("cannot read the folder")? {
        let path = entry.context("cannot read the folder")?.path();
        if path.is_dir() && depth < MAX_DEPTH {
            text_files(&path, depth + 1, found)?;
        } else if path.extension().is_some_and(|e| e == "txt") {
            found.push(path);
        }
    }
    Ok(())
}
