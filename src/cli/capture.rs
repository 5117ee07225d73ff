//! Captured help: run in the place where the server would run, saved, read again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::streams;
use super::validate::Launched;
use crate::candidate::expand;
use crate::error::{Context, Error, Result};
use crate::framework::{Framework, Frameworks};
use crate::help::{Helps, MISSING};
use crate::launcher::{Chain, Start};
use crate::notice::Notice;
use crate::plan::Plan;
use crate::process::{capture, proc};
use crate::redact;
use crate::schema::CandidateServer;

/// How long help may take: some programs import everything that they have before they print it.
const HELP_LIMIT: Duration = Duration::from_secs(180);
/// The largest captured file that is read, and how deep folders are looked into.
const MAX_FILE: usize = 8 << 20;
const MAX_DEPTH: usize = 6;

/// Where the servers of one framework of a plan run.
pub struct Place<'a> {
    /// The framework's name in the plan.
    pub name: String,
    /// Its definition.
    pub framework: &'a Framework,
    /// How its baseline is started.
    pub server: CandidateServer,
    frameworks: &'a Frameworks,
    gpus: Option<String>,
}

impl<'a> Place<'a> {
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
            let count = baseline.hardware.gpu_count.unwrap_or(0);
            let listed = || (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
            let gpus = baseline.hardware.visible_devices.clone().or_else(|| (count > 0).then(listed));
            places.push(Self { name: expansion.framework, framework, server: baseline.server, frameworks, gpus });
        }
        Ok(places)
    }

    /// The same with another launcher.
    #[must_use]
    pub fn launched_by(mut self, launched: &Launched) -> Self {
        self.server.launcher = vec![launched.step.clone()];
        self.server.image = launched.image.clone().or(self.server.image);
        self
    }

    /// A short command as it is executed there; `None` where nobody can say how.
    ///
    /// # Errors
    /// A launcher that needs what the plan does not say.
    pub fn short(&self, command: &[String]) -> Result<Option<Vec<String>>> {
        self.with(|chain| chain.before(command))
    }

    /// A command on the host whose GPUs it uses.
    ///
    /// # Errors
    /// As above.
    pub fn on_host(&self, command: &[String]) -> Result<Vec<String>> {
        self.with(|chain| chain.on_host(command))
    }

    fn with<T>(&self, ask: impl FnOnce(&Chain) -> Result<T>) -> Result<T> {
        let name = format!("capture-{}", std::process::id());
        let (owner, gpus) = (proc::owner(), self.gpus.as_deref());
        let start = Start { name: &name, port: 0, tunnel_port: 0, files: "/tmp", gpus, owner: &owner };
        ask(&Chain::new(self.frameworks.launchers(), &self.server, &["true".to_string()], &start)?)
    }
}

/// Runs the help and version commands of a framework in its place, and saves what they print into `folder`/NAME/. One that
/// is not there is saved as that.
///
/// # Errors
/// When a file cannot be written.
pub fn capture(folder: &Path, place: &Place, notice: &Notice) -> Result<()> {
    let own = folder.join(&place.name);
    for help in &place.framework.help {
        let named = help.named.first().map(|words| words.join("_"));
        let file = named.unwrap_or_else(|| help.command[..help.command.len().saturating_sub(1)].join("_"));
        let file = own.join(format!("{}_help.txt", file.replace(['/', ' '], "_")));
        let command = match place.short(&help.command) {
            Ok(Some(command)) => command,
            Ok(None) => return said(place, "its help cannot be captured in what is already running", notice),
            Err(e) => return Err(e.at(format!("--capture-help {}", place.name))),
        };
        match capture::succeeding(&command, HELP_LIMIT) {
            Ok(text) => capture::save(&file, &redact::foreign(&text))?,
            Err(e) => {
                let why = redact::foreign(&e.to_string());
                notice.warn(format!("{}: no help: {why}", place.name));
                capture::save(&file, &format!("{MISSING}{why}\n"))?;
            }
        }
    }
    let version = &place.framework.version;
    let local = place.server.launcher.iter().all(|step| step.name == "local");
    let known = local.then(|| crate::server::package_version(place.framework)).flatten();
    let printed = || {
        let command = place.short(&version.command).ok()?.filter(|command| !command.is_empty())?;
        capture::succeeding(&command, HELP_LIMIT).ok()
    };
    let asked = known.or_else(|| if version.command.is_empty() { None } else { printed() });
    if let Some(text) = asked {
        let file = format!("{}_version.txt", place.framework.name);
        capture::save(&own.join(file), &format!("{}\n", redact::foreign(text.trim())))?;
    }
    Ok(())
}

fn said(place: &Place, why: &str, notice: &Notice) -> Result<()> {
    notice.warn(format!("{}: {why}", place.name));
    Ok(())
}

/// Reads a folder of captured help, with what lies in it.
///
/// # Errors
/// When it cannot be read.
pub fn read(folder: &Path, frameworks: &Frameworks, notice: &Notice) -> Result<Helps> {
    let mut paths = Vec::new();
    text_files(folder, 0, &mut paths).map_err(|e| e.at(streams::name(folder)))?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        match streams::read_text(&path, MAX_FILE) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(e) => notice.error(&e),
        }
    }
    let helps = Helps::of(&files, frameworks);
    if helps.is_empty() {
        let what = "no captured help in it: files such as vllm_serve_help.txt, as --capture-help writes them";
        return Err(Error::new(what).at(streams::name(folder)));
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
