//! Nested launchers: each starts the command of the next one, and forwards its other commands.

use std::collections::BTreeMap;

use super::document::{DocumentItems, items};
use super::fill::TemplateValues;
use super::nodes::{NODES, NodeLaunch, placed};
use super::{Fact, ImagePull, Launcher, Launchers, Leftovers, LimitCheck, OutsideStop, ResourceLimit, StartValues};
use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::rows::kinds::{CandidateServer, LauncherStep};
use crate::rows::words::ReachedBy;

/// The launchers of one start, outermost first, filled in.
#[derive(Debug, Default)]
pub struct LauncherChain<'a> {
    pub(super) steps: Vec<(&'a Launcher, TemplateValues)>,
    /// The same launchers as the plan asks for them.
    pub(super) asked: Vec<LauncherStep>,
    /// What the items of lists in documents are.
    pub(super) items: DocumentItems,
    /// Limits that cannot be raised where it is started.
    pub(super) refused_limits: &'a [ResourceLimit],
    /// The command that starts the server.
    pub start: Vec<String>,
}

/// A complete command whose output contains facts about where a server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactQuery {
    /// The command.
    pub command: Vec<String>,
    /// The facts in its output.
    pub facts: Vec<Fact>,
}

/// The limits that one launcher sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitQuery {
    /// The words that set each.
    pub limits: BTreeMap<ResourceLimit, Vec<String>>,
    /// The complete command that shows whether it raises any limit.
    pub check: Option<LimitCheck>,
}

/// The launchers of these steps, outermost first.
///
/// # Errors
/// An unknown launcher, or one inside a launcher that cannot contain it.
pub fn resolve<'a>(all: &'a Launchers, steps: &[LauncherStep]) -> Result<Vec<&'a Launcher>> {
    let find = |step: &LauncherStep| {
        let known = || all.names().collect::<Vec<_>>().join(", ");
        let none = || Error::new(format!("unknown launcher {:?}; known: {}", step.name, known()));
        all.get(&step.name).ok_or_else(none)
    };
    let found = steps.iter().map(find).collect::<Result<Vec<_>>>()?;
    let (_, outer) = found.split_last().ok_or_else(|| Error::new("the list of launchers is empty"))?;
    match outer.iter().find(|launcher| launcher.there.is_empty()) {
        Some(closed) => Err(Error::new(format!("{} cannot contain another launcher", closed.title))),
        None => Ok(found),
    }
}

impl<'a> LauncherChain<'a> {
    /// Fills in the launchers of a server; `argv` is complete except for `{files}`.
    ///
    /// # Errors
    /// An unknown launcher, or a placeholder without a value.
    pub fn new(all: &'a Launchers, server: &CandidateServer, argv: &[String], start: &StartValues<'a>) -> Result<Self> {
        let mut steps = Vec::new();
        let mut folder = start.files.to_string();
        for (level, (launcher, step)) in resolve(all, &server.launcher)?.into_iter().zip(&server.launcher).enumerate() {
            let mut fill = fill(launcher, step, server, start, level);
            if let Some(template) = &launcher.folder {
                folder = fill.text(template)?;
                fill.words.insert("write_files".into(), write_files(&folder, &server.files));
            }
            fill.words.insert("files".into(), folder.clone());
            if !server.files.is_empty() && launcher.folder.is_none() {
                fill.lists.entry("mounts".into()).or_default().push(format!("{folder}:{folder}:ro"));
            }
            steps.push((launcher, fill));
        }
        let mut command: Vec<String> = argv.iter().map(|word| word.replace("{files}", &folder)).collect();
        if let Some(innermost) = steps.last().map(|(launcher, _)| *launcher).zip(server.launcher.last()) {
            command = placed(innermost, server, command, start.leader_port);
        }
        for (launcher, fill) in steps.iter_mut().rev() {
            *fill = fill.with(&command);
            command = fill.command(&launcher.applicable(&launcher.start, fill.options(), start.refused_limits))?;
        }
        let (asked, items) = (server.launcher.clone(), items(server));
        Ok(Self { steps, asked, items, refused_limits: start.refused_limits, start: command })
    }

    /// Wraps a command of the launcher at `level` into the launchers around it.
    pub(super) fn wrap(&self, level: usize, command: &[String]) -> Result<Vec<String>> {
        let mut around = self.steps[..level].iter().rev();
        around.try_fold(command.to_vec(), |command, (launcher, fill)| fill.with(&command).command(&launcher.there))
    }

    /// The complete argv of a command of the launcher at `level`.
    fn command(&self, level: usize, template: &[String]) -> Result<Vec<String>> {
        let (launcher, fill) = &self.steps[level];
        let command = fill.command(template)?;
        let inside = if launcher.there.is_empty() { level } else { level + 1 };
        if command.is_empty() { Ok(command) } else { self.wrap(inside, &command) }
    }

    /// The commands that stop the server outside the process tree, innermost first; none for a plain child.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn outside(&self) -> Result<Vec<OutsideStop>> {
        let mut all = Vec::new();
        for (level, (launcher, fill)) in self.steps.iter().enumerate().rev() {
            if launcher.inspect.is_empty() {
                continue;
            }
            let each =
                |list: &[Vec<String>]| list.iter().map(|words| self.command(level, words)).collect::<Result<Vec<_>>>();
            all.push(OutsideStop {
                what: format!("{} {}", launcher.title, fill.words.get("name").map_or("", String::as_str)),
                stop: each(&launcher.stop)?,
                kill: each(&launcher.kill)?,
                inspect: self.command(level, &launcher.inspect)?,
                running: launcher.running.clone(),
                gone: launcher.gone.clone(),
                clean: each(&launcher.clean)?,
            });
        }
        Ok(all)
    }

    /// The argv that runs a command next to the server; `None` if a launcher does not support it.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn beside(&self, command: &[String]) -> Result<Option<Vec<String>>> {
        self.run(command, |launcher| &launcher.inside)
    }

    /// The argv that runs a short command where the server would run, before it is started; `None` if a launcher does not
    /// support it.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn before(&self, command: &[String]) -> Result<Option<Vec<String>>> {
        self.run(command, |launcher| &launcher.short)
    }

    /// The argv that runs a command on the host whose devices the server uses.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn on_host(&self, command: &[String]) -> Result<Vec<String>> {
        let away = |(launcher, _): &(&Launcher, TemplateValues)| {
            launcher.reached_by != ReachedBy::SameHost && !launcher.there.is_empty()
        };
        self.wrap(self.steps.iter().rposition(away).map_or(0, |last| last + 1), command)
    }

    fn run<'l>(&'l self, command: &[String], own: fn(&'l Launcher) -> &'l Vec<String>) -> Result<Option<Vec<String>>> {
        let mut wrapped = command.to_vec();
        for (launcher, fill) in self.steps.iter().rev() {
            let template = if own(launcher).is_empty() { &launcher.there } else { own(launcher) };
            if !template.is_empty() {
                wrapped = fill.with(&wrapped).command(&launcher.yielding(template, fill.options()))?;
            } else if !launcher.is_plain() {
                return Ok(None);
            }
        }
        Ok(Some(wrapped))
    }

    /// True if commands on this host see the same system as the server.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.steps.iter().all(|(launcher, _)| launcher.is_plain())
    }

    /// The queries for facts about where it runs.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn fact_queries(&self) -> Result<Vec<FactQuery>> {
        let mut all = Vec::new();
        for (level, (launcher, _)) in self.steps.iter().enumerate() {
            for query in &launcher.manifest {
                all.push(FactQuery { command: self.command(level, &query.command)?, facts: query.facts.clone() });
            }
        }
        Ok(all)
    }

    /// How to get the images, for each launcher that starts a container.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn images(&self) -> Result<Vec<ImagePull>> {
        let levels = self.steps.iter().enumerate().filter(|(_, (launcher, _))| !launcher.pull.is_empty());
        let one = |(level, (launcher, fill)): (usize, &(&Launcher, TemplateValues))| {
            Ok(ImagePull {
                image: fill.words.get("image").cloned().unwrap_or_default(),
                has: self.command(level, &launcher.has_image)?,
                pull: self.command(level, &launcher.pull)?,
                failures: launcher.pull_failures.clone(),
            })
        };
        levels.map(one).collect()
    }

    /// The limits that the launchers' commands set, with the words that do so, and how to find out that they are raised.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn limits(&self) -> Result<Vec<LimitQuery>> {
        let levels = self.steps.iter().enumerate().filter(|(_, (launcher, _))| !launcher.limits.is_empty());
        let one = |(level, (launcher, _)): (usize, &(&Launcher, TemplateValues))| {
            let check = launcher.raises_limits.clone();
            let command = check.as_ref().map(|check| self.command(level, &check.command)).transpose()?;
            Ok(LimitQuery {
                limits: launcher.limits.clone(),
                check: check.zip(command).map(|(check, command)| LimitCheck { command, ..check }),
            })
        };
        levels.map(one).collect()
    }

    /// How to list and remove (`{stale}`) leftovers, for each launcher that may have some.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn leftovers(&self) -> Result<Vec<Leftovers>> {
        let mut all = Vec::new();
        for (level, (launcher, _)) in self.steps.iter().enumerate() {
            if let Some(leftovers) = &launcher.leftovers {
                all.push(Leftovers {
                    list: self.command(level, &leftovers.list)?,
                    remove: self.command(level, &leftovers.remove)?,
                });
            }
        }
        Ok(all)
    }

    /// The URL of a server that is already running; `None` for one to start.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn attached(&self) -> Result<Option<String>> {
        let mut urls = self.steps.iter().filter_map(|(launcher, fill)| Some(fill.text(launcher.base_url.as_ref()?)));
        urls.next_back().transpose()
    }

    /// How clients reach it: the farthest of all launchers.
    #[must_use]
    pub fn reached_by(&self) -> ReachedBy {
        let steps = self.steps.iter().zip(&self.asked);
        steps.map(|((launcher, _), step)| launcher.reached(step)).max().unwrap_or_default()
    }

    /// The command that prints the host of the server, where only its launcher knows it; empty elsewhere.
    ///
    /// # Errors
    /// A placeholder without a value, or a launcher around it through which that host is not reached.
    pub fn address(&self) -> Result<Vec<String>> {
        let steps = self.steps.iter().zip(&self.asked).enumerate();
        let mut knows = steps.filter(|(_, ((launcher, _), step))| {
            !launcher.address.is_empty() && (launcher.over_nodes.is_none() || launcher.nodes(step).is_some())
        });
        let Some((level, ((launcher, _), _))) = knows.next_back() else { return Ok(Vec::new()) };
        if let Some((around, _)) = self.steps[..level].iter().find(|(outer, _)| outer.reached_by != ReachedBy::SameHost)
        {
            let why = format!(
                "clients cannot reach a server that {} starts on another host through {}: run the sweep where {} runs",
                launcher.title, around.title, launcher.name
            );
            return Err(Error::new(why));
        }
        self.command(level, &launcher.address)
    }

    /// How the log of a server over several nodes tells its ranks apart; `None` for one on a single node.
    #[must_use]
    pub fn over_nodes(&self) -> Option<&'a NodeLaunch> {
        let (launcher, _) = self.steps.last()?;
        launcher.nodes(self.asked.last()?).and(launcher.over_nodes.as_ref())
    }

    /// The files that the launchers' commands read, by name, with their texts.
    ///
    /// # Errors
    /// A placeholder without a value, or a launcher that another one starts elsewhere, where these files are not.
    pub fn documents(&self) -> Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        for (level, (launcher, fill)) in self.steps.iter().enumerate() {
            for (name, template) in &launcher.documents {
                if level > 0 {
                    return Err(Error::new(format!("{} cannot be inside another launcher", launcher.title)));
                }
                all.push((name.clone(), fill.document(template, &self.items)?));
            }
        }
        Ok(all)
    }
}

/// The values of one launcher of a start.
pub(super) fn fill(
    launcher: &Launcher,
    step: &LauncherStep,
    server: &CandidateServer,
    start: &StartValues,
    level: usize,
) -> TemplateValues {
    let mut words = step.options.clone();
    words.extend(server.image.clone().map(|image| ("image".to_string(), image)));
    let options = words.remove("options").and_then(|line| shell::split(&line).ok());
    // A name alone is inherited, so that its value is not on a command line.
    let env = server.env.iter().map(|(name, value)| value.as_ref().map_or(name.clone(), |v| format!("{name}={v}")));
    // Two launchers of one start must not share files.
    let name = if level == 0 { start.name.to_string() } else { format!("{}-{}", start.name, level + 1) };
    words.extend([
        ("name".to_string(), format!("bench-{name}")),
        ("port".to_string(), start.port.to_string()),
        ("tunnel_port".to_string(), start.tunnel_port.to_string()),
        ("owner".to_string(), start.owner.to_string()),
        ("documents".to_string(), start.files.to_string()),
        ("stale".to_string(), "{stale}".to_string()),
        ("remote_env".to_string(), shell::assignments(&server.env).join(" ")),
    ]);
    words.extend(start.gpu_count.filter(|count| *count > 0).map(|count| ("gpu_count".to_string(), count.to_string())));
    words.insert("dns_name".to_string(), dns_name(&format!("bench-{name}")));
    let nodes = words.get(NODES).cloned();
    words.entry("ranks".into()).or_insert_with(|| nodes.unwrap_or_else(|| "1".into()));
    // Any other list consists of the words of the setting with its name.
    let settings = launcher.lists.keys().map(|list| (list.clone(), words.remove(list).unwrap_or_default()));
    let mut lists: BTreeMap<String, Vec<String>> =
        settings.map(|(list, line)| (list, shell::split(&line).unwrap_or_default())).collect();
    lists.extend([
        ("env".to_string(), env.collect()),
        ("mounts".to_string(), server.mounts.clone()),
        ("gpu".to_string(), start.gpus.into_iter().flat_map(|gpus| gpus.split(',')).map(String::from).collect()),
        ("cpus".to_string(), start.cpus.map(String::from).into_iter().collect()),
        ("gpus".to_string(), start.gpus.map(String::from).into_iter().collect()),
        ("options".to_string(), launcher.accepted(options.unwrap_or_default())),
    ]);
    TemplateValues {
        launcher: launcher.name.clone(),
        words,
        lists,
        items: launcher.lists.clone(),
        script: launcher.script.clone(),
    }
}

/// A name as a label of DNS: lower-case letters, digits and `-`, at most 63. The end is what tells two of them apart.
fn dns_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let all: String = name.chars().map(plain).collect();
    all[all.len().saturating_sub(63)..].trim_matches('-').to_string()
}

/// Shell commands that create the folder and write the option files into it.
pub(super) fn write_files(folder: &str, files: &BTreeMap<String, String>) -> String {
    let folder = folder.trim_end_matches('/');
    let mut script = format!("umask 077; mkdir -p {}; ", shell::quote(folder));
    for (name, text) in files {
        script.push_str(&format!("printf %s {} > {}; ", shell::quote(text), shell::quote(&format!("{folder}/{name}"))));
    }
    script
}
