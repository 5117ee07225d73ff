//! Launchers: argv templates that start a server in a container, on another host, or in a batch job. The format is documented in
//! `configs/launchers/README.md`; adding a launcher needs no change here.

mod chain;
mod deploy;
mod document;
mod fill;
mod image;
mod limit;
mod nodes;
mod options;

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::chain::{FactQuery, LauncherChain, LimitQuery, resolve};
pub use self::deploy::{LaunchTarget, launch_command, server_command};
pub use self::image::{ImageFailure, ImagePull};
pub use self::limit::{HardLimits, LimitCheck, ResourceLimit};
pub use self::nodes::{NODES, NodeLaunch};

use crate::base::error::{Context, Result};
use crate::base::yaml;
use crate::rows::words::ReachedBy;

/// The launchers that are compiled in, made from the YAML files as the frameworks are.
const SHIPPED: &str = include_str!("../../../configs/launchers/shipped.json");

/// One launcher.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launcher {
    /// The name in plans: `docker`.
    pub name: String,
    /// The name in messages.
    pub title: String,
    /// Where its command is documented.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Settings that a plan must have: `image`, `host`, ….
    #[serde(default)]
    pub needs: Vec<String>,
    /// A shell script for the remote side; `{script}` is its text, `{quoted_script}` a word of a command line.
    #[serde(default)]
    pub script: String,
    /// The command that starts the server. `{argv...}` stands for all its words.
    pub start: Vec<String>,
    /// What one item of a list becomes: `{env...}` gives these words for each.
    #[serde(default)]
    pub lists: BTreeMap<String, Vec<String>>,
    /// Words to drop from its commands if the plan's `options` contain this option, because they conflict with it.
    #[serde(default)]
    pub yields: BTreeMap<String, Vec<String>>,
    /// Parts of `start` that only bench-serve needs: the command to deploy is without them.
    #[serde(default)]
    pub bookkeeping: Vec<Vec<String>>,
    /// Options that only the command to deploy has, unless the plan's `options` contain one of these.
    #[serde(default)]
    pub by_hand: BTreeMap<String, Vec<String>>,
    /// Options to drop from the plan's `options`, with their value, if these contain the words as well.
    #[serde(default)]
    pub refuses: BTreeMap<String, Vec<String>>,
    /// Parts of `start` that set a resource limit, dropped where the limit cannot be raised.
    #[serde(default)]
    pub limits: BTreeMap<ResourceLimit, Vec<String>>,
    /// How to find out that it raises any limit; absent: up to the hard limits of this process.
    #[serde(default)]
    pub raises_limits: Option<LimitCheck>,
    /// The command to deploy, if it is not `start`: its documents are in the current folder.
    #[serde(default)]
    pub deploy: Vec<String>,
    /// Commands that stop it within `{grace_s}` seconds.
    pub stop: Vec<Vec<String>>,
    /// Commands that kill it.
    pub kill: Vec<Vec<String>>,
    /// The command that shows whether it still runs; empty if the processes of this host show it.
    pub inspect: Vec<String>,
    /// Pattern for the output of `inspect` while it runs.
    pub running: String,
    /// Pattern for the output of `inspect` when it does not run.
    pub gone: String,
    /// Commands that clean up after it.
    #[serde(default)]
    pub clean: Vec<Vec<String>>,
    /// How to run a short command where this launcher starts things. Its own `stop`, `kill`, `inspect`, `clean` and `manifest`
    /// run that way, and so do all commands of launchers inside it. Empty: they run here, and it cannot contain launchers.
    #[serde(default)]
    pub there: Vec<String>,
    /// The remote folder into which the script writes option files (`{write_files}`); absent: the local folder.
    #[serde(default)]
    pub folder: Option<String>,
    /// Commands that describe where the server runs.
    #[serde(default)]
    pub manifest: Vec<FactCommand>,
    /// How to run a command next to the server (`docker exec`); empty: as `there`.
    #[serde(default)]
    pub inside: Vec<String>,
    /// How to run a short command before the server is started (`docker run --rm`); empty: as `there`.
    #[serde(default)]
    pub short: Vec<String>,
    /// The command that succeeds if the image is present.
    #[serde(default)]
    pub has_image: Vec<String>,
    /// The command that pulls the image: run if `has_image` fails.
    #[serde(default)]
    pub pull: Vec<String>,
    /// What to do if the image cannot be pulled, by what the command prints; the first that matches.
    #[serde(default)]
    pub pull_failures: Vec<ImageFailure>,
    /// How to remove leftovers of a bench-serve that was killed together with its guard.
    #[serde(default)]
    pub leftovers: Option<Leftovers>,
    /// True if one start covers several nodes.
    #[serde(default)]
    pub multi_node: bool,
    /// How it starts a server over several nodes, where a plan says over how many.
    #[serde(default)]
    pub over_nodes: Option<NodeLaunch>,
    /// The command that prints the host of the server once that is known, where only the launcher knows it: with `over_nodes`
    /// that of the first node.
    #[serde(default)]
    pub address: Vec<String>,
    /// Files for its commands, in the folder `{documents}` of this host: JSON with placeholders, or the text of a script.
    #[serde(default)]
    pub documents: BTreeMap<String, Value>,
    /// True if clients use `{tunnel_port}` of this host, which the launcher's command forwards.
    #[serde(default)]
    pub tunnel: bool,
    /// Clients use this URL; the server is neither started nor stopped.
    #[serde(default)]
    pub base_url: Option<String>,
    /// `same_host`, `tunnel` or `network`.
    pub reached_by: ReachedBy,
}

/// A command whose output contains facts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactCommand {
    /// The command.
    pub command: Vec<String>,
    /// The facts in its output.
    pub facts: Vec<Fact>,
}

/// A member of `environment`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Its key: `image_digest`.
    pub name: String,
    /// A regular expression whose first group is the value.
    pub pattern: String,
}

/// How to find and remove things of an owner that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leftovers {
    /// Prints a line `NAME OWNER` for each of our things.
    pub list: Vec<String>,
    /// Removes `{stale}`.
    pub remove: Vec<String>,
}

/// Commands that stop one server outside the process tree, complete except for `{grace_s}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideStop {
    /// Its name in messages: `Docker bench-vllm-1`.
    pub what: String,
    /// Commands that stop it.
    pub stop: Vec<Vec<String>>,
    /// Commands that kill it.
    pub kill: Vec<Vec<String>>,
    /// The command that shows whether it runs.
    pub inspect: Vec<String>,
    /// Pattern for the output of `inspect` while it runs.
    pub running: String,
    /// Pattern for the output of `inspect` when it does not run.
    pub gone: String,
    /// Commands that clean up after it.
    pub clean: Vec<Vec<String>>,
}

/// All known launchers, by name.
#[derive(Debug, Clone)]
pub struct Launchers(BTreeMap<String, Launcher>);

impl Launchers {
    /// The shipped launchers, and those given as (source name, YAML text), which replace shipped ones of the same name.
    ///
    /// # Errors
    /// A definition that does not load, with its place.
    pub fn load(more: &[(String, String)]) -> Result<Self> {
        let shipped: Vec<Launcher> =
            serde_json::from_str(SHIPPED).context("cannot read").map_err(|e| e.at("configs/launchers/shipped.json"))?;
        let mut all: BTreeMap<_, _> = shipped.into_iter().map(|launcher| (launcher.name.clone(), launcher)).collect();
        for (name, text) in more {
            let launcher: Launcher = yaml::typed(text, name)?;
            launcher.check().map_err(|e| e.at(name))?;
            all.insert(launcher.name.clone(), launcher);
        }
        Ok(Self(all))
    }

    /// One launcher.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Launcher> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Launcher> {
        self.0.values()
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Values of one start for templates.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartValues<'a> {
    /// A name that is unique to the start.
    pub name: &'a str,
    /// The server's port.
    pub port: u16,
    /// The port of this host that is forwarded to it, if any.
    pub tunnel_port: u16,
    /// The folder of its artifacts.
    pub files: &'a str,
    /// Its GPUs, `0,1`.
    pub gpus: Option<&'a str>,
    /// The number of GPUs that the candidate asks for.
    pub gpu_count: Option<u32>,
    /// The port at which the processes of a server over several nodes meet.
    pub leader_port: u16,
    /// The CPUs that are left to it, `2-7`, where the client has some of its own.
    pub cpus: Option<&'a str>,
    /// This bench-serve, as the owner of what it starts.
    pub owner: &'a str,
    /// Limits that cannot be raised where it is started.
    pub refused_limits: &'a [ResourceLimit],
}

impl Launcher {
    /// True if the server is a plain child process on this host.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.inspect.is_empty() && self.base_url.is_none()
    }

    fn check(&self) -> Result<()> {
        let facts = self.manifest.iter().flat_map(|command| &command.facts).map(|fact| &fact.pattern);
        let failures = self.pull_failures.iter().map(|failure| &failure.pattern);
        let limits = self.raises_limits.iter().map(|check| &check.pattern);
        for pattern in [&self.running, &self.gone].into_iter().chain(facts).chain(failures).chain(limits) {
            Regex::new(pattern).context(format!("not a regular expression: {pattern}"))?;
        }
        self.over_nodes.as_ref().map_or(Ok(()), NodeLaunch::check)
    }

    /// The settings of a plan that its commands use: `image`, `host`, `options`, ….
    #[must_use]
    pub fn settings(&self) -> BTreeSet<&str> {
        let lists = self.lists.values().chain([
            &self.start,
            &self.there,
            &self.inside,
            &self.short,
            &self.has_image,
            &self.pull,
            &self.inspect,
            &self.address,
            &self.deploy,
        ]);
        let lists = lists.chain(self.stop.iter().chain(&self.kill).chain(&self.clean));
        let facts = self.manifest.iter().map(|query| &query.command);
        let leftovers = self.leftovers.iter().flat_map(|leftovers| [&leftovers.list, &leftovers.remove]);
        let texts: Vec<&str> = self.documents.values().flat_map(document::texts).collect();
        let words = lists
            .chain(facts)
            .chain(leftovers)
            .flatten()
            .chain([&self.script])
            .chain(&self.folder)
            .chain(&self.base_url);
        let named = words.flat_map(|word| placeholders(word)).chain(texts.into_iter().flat_map(placeholders));
        let named = named.filter(|name| !FILLED_IN.contains(name) && !name.starts_with("item_"));
        // Documents have an item for each mount.
        let mounts = self.documents.values().any(document::mounts).then_some("mounts");
        named.chain(self.needs.iter().map(String::as_str)).chain(mounts).collect()
    }

    /// The settings it needs for which `is_set` is false.
    pub fn missing(&self, is_set: impl Fn(&str) -> bool) -> Vec<&str> {
        self.needs.iter().map(String::as_str).filter(|need| !is_set(need)).collect()
    }
}

/// Placeholders that a start fills in, whatever the plan says.
const FILLED_IN: [&str; 21] = [
    "argv",
    "command",
    "cpus",
    "dns_name",
    "documents",
    "env",
    "files",
    "gpu",
    "gpu_count",
    "gpus",
    "grace_s",
    "item",
    "name",
    "owner",
    "port",
    "remote_env",
    "script",
    "quoted_script",
    "stale",
    "tunnel_port",
    "write_files",
];

/// The names in `{name}`, `{name...}` and `{name?}`.
fn placeholders(word: &str) -> impl Iterator<Item = &str> {
    word.split('{').skip(1).filter_map(|behind| {
        let name = behind.split_once('}')?.0;
        let name = name.strip_suffix("...").or_else(|| name.strip_suffix('?')).unwrap_or(name);
        (!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).then_some(name)
    })
}

#[cfg(test)]
mod tests;
