//! Launchers: argv templates that start a server in a container, on another host, or in a batch job. The format is documented in
//! `configs/launchers/README.md`; adding a launcher needs no change here.

mod chain;
mod fill;

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde::{Deserialize, Serialize};

pub use self::chain::{FactQuery, LauncherChain, resolve};

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
    /// The command that pulls the image, for the manifest.
    #[serde(default)]
    pub pull: Vec<String>,
    /// How to remove leftovers of a bench-serve that was killed together with its guard.
    #[serde(default)]
    pub leftovers: Option<Leftovers>,
    /// True if one start covers several nodes.
    #[serde(default)]
    pub multi_node: bool,
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
#[derive(Debug, Clone, Copy)]
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
    /// This bench-serve, as the owner of what it starts.
    pub owner: &'a str,
}

impl Launcher {
    /// True if the server is a plain child process on this host.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.inspect.is_empty() && self.base_url.is_none()
    }

    fn check(&self) -> Result<()> {
        let facts = self.manifest.iter().flat_map(|command| &command.facts).map(|fact| &fact.pattern);
        for pattern in [&self.running, &self.gone].into_iter().chain(facts) {
            Regex::new(pattern).context(format!("not a regular expression: {pattern}"))?;
        }
        Ok(())
    }

    /// A command of it without the words that conflict with these options of the plan.
    fn yielding(&self, template: &[String], options: &[String]) -> Vec<String> {
        let mut words = template.to_vec();
        let has = |option: &str| {
            options
                .iter()
                .any(|word| word.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
        };
        for own in self.yields.iter().filter(|(option, _)| has(option)).map(|(_, own)| own) {
            while let Some(at) = words.windows(own.len().max(1)).position(|part| part == own) {
                words.drain(at..at + own.len());
            }
        }
        words
    }

    /// The settings of a plan that its commands use: `image`, `host`, `options`, ….
    #[must_use]
    pub fn settings(&self) -> BTreeSet<&str> {
        let lists =
            self.lists.values().chain([&self.start, &self.there, &self.inside, &self.short, &self.pull, &self.inspect]);
        let lists = lists.chain(self.stop.iter().chain(&self.kill).chain(&self.clean));
        let facts = self.manifest.iter().map(|query| &query.command);
        let leftovers = self.leftovers.iter().flat_map(|leftovers| [&leftovers.list, &leftovers.remove]);
        let words = lists
            .chain(facts)
            .chain(leftovers)
            .flatten()
            .chain([&self.script])
            .chain(&self.folder)
            .chain(&self.base_url);
        let named = words.flat_map(|word| placeholders(word)).filter(|name| !FILLED_IN.contains(name));
        named.chain(self.needs.iter().map(String::as_str)).collect()
    }

    /// The settings it needs for which `is_set` is false.
    pub fn missing(&self, is_set: impl Fn(&str) -> bool) -> Vec<&str> {
        self.needs.iter().map(String::as_str).filter(|need| !is_set(need)).collect()
    }
}

/// Placeholders that a start fills in, whatever the plan says.
const FILLED_IN: [&str; 17] = [
    "argv",
    "command",
    "env",
    "files",
    "gpu",
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

/// The names in `{name}` and `{name...}`.
fn placeholders(word: &str) -> impl Iterator<Item = &str> {
    word.split('{').skip(1).filter_map(|behind| {
        let name = behind.split_once('}')?.0;
        let name = name.strip_suffix("...").unwrap_or(name);
        (!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::shell;
    use crate::rows::kinds::CandidateServer;
    use serde_json::json;

    fn chain(launchers: &Launchers, steps: serde_json::Value) -> crate::base::error::Result<LauncherChain<'_>> {
        let server: CandidateServer = serde_json::from_value(json!({
            "definition": "vllm", "argv": ["vllm", "serve", "my model"], "launcher": steps, "flags": {}, "image": "vllm/vllm:1",
            "env": {"HF_TOKEN": null, "A": "b c"}, "mounts": ["/models:/models:ro"], "files": {"o.yaml": "a: 'b'"},
        }))
        .unwrap();
        let start = StartValues {
            name: "v-1",
            port: 8123,
            tunnel_port: 8124,
            files: "/logs/v-1",
            gpus: Some("0,1"),
            owner: "here:1:2",
        };
        let argv: Vec<String> = ["vllm", "serve", "my model", "{files}/o.yaml"].map(String::from).into();
        LauncherChain::new(launchers, &server, &argv, &start)
    }

    #[test]
    fn shipped_launchers_are_current() {
        crate::engines::framework::shipped::is_current("configs/launchers", Launcher::check);
    }

    #[test]
    fn a_container_of_its_own() {
        let launchers = Launchers::load(&[]).unwrap();
        let docker = chain(&launchers, json!([{"name": "docker", "options": {"options": "--shm-size 16g"}}])).unwrap();
        let start = shell::join(&docker.start);
        for part in [
            "--name bench-v-1",
            "--cidfile /logs/v-1/cid",
            "--shm-size 16g",
            "-e 'A=b c' -e HF_TOKEN",
            "-v /models:/models:ro -v /logs/v-1:/logs/v-1:ro",
            "--gpus '\"device=0,1\"'",
            "vllm/vllm:1 vllm serve 'my model' /logs/v-1/o.yaml",
        ] {
            assert!(start.contains(part), "{part}: {start}");
        }
        let outside = &docker.outside().unwrap()[0];
        assert_eq!(outside.stop[0].join(" "), "docker stop -t {grace_s} bench-v-1");
        assert_eq!(outside.inspect[3], "{{.State.Running}}");
        assert_eq!(docker.reached_by(), ReachedBy::SameHost);
        assert_eq!(launchers.get("docker").unwrap().missing(|need| need == "image"), Vec::<&str>::new());
    }

    #[test]
    fn settings_are_what_its_commands_name() {
        let launchers = Launchers::load(&[]).unwrap();
        let settings = |name: &str| launchers.get(name).unwrap().settings().into_iter().collect::<Vec<_>>();
        assert_eq!(settings("docker"), ["image", "mounts", "options"]);
        assert_eq!(settings("podman"), ["image", "mounts", "options"]);
        assert_eq!(settings("srun"), ["options"]);
        assert_eq!(settings("ssh"), ["host", "options"]);
        assert_eq!(settings("docker_exec"), ["container"]);
        assert_eq!(settings("attach"), ["url"]);
        assert!(settings("local").is_empty());
    }

    #[test]
    fn words_of_its_own_yield_to_options_of_the_plan() {
        let launchers = Launchers::load(&[]).unwrap();
        let start = |options: &str| {
            let step = json!([{"name": "podman", "options": {"options": options}}]);
            chain(&launchers, step).unwrap().start.join(" ")
        };
        let plain = start("");
        assert!(plain.contains("--ipc host --ulimit host --device nvidia.com/gpu=0"), "{plain}");
        for options in ["--shm-size 16g", "--shm-size=16g", "--ipc private"] {
            let start = start(options);
            assert!(!start.contains("--ipc host") && start.contains(options), "{start}");
        }
        let limited = start("--ulimit memlock=-1 --ulimit stack=67108864");
        assert!(!limited.contains("--ulimit host") && limited.contains("--ipc host"), "{limited}");
        // A short command too.
        let step = json!([{"name": "docker", "options": {"options": "--gpus all"}}]);
        let short = chain(&launchers, step).unwrap().before(&["true".into()]).unwrap().unwrap().join(" ");
        assert!(short.contains("--gpus all") && !short.contains("device="), "{short}");
    }

    #[test]
    fn no_shipped_framework_gives_podman_what_it_refuses() {
        let frameworks = crate::engines::framework::Frameworks::load(&[], &[]).unwrap();
        let launchers = frameworks.launchers();
        for framework in frameworks.iter() {
            for (name, options) in &framework.launcher_options {
                let step = json!([{"name": name, "options": {"options": options}}]);
                let start = chain(launchers, step).unwrap().start;
                let has = |word: &str| start.iter().any(|own| own.starts_with(word));
                let host = start.windows(2).any(|pair| pair == ["--ipc", "host"]);
                assert!(name != "podman" || !(host && has("--shm-size")), "{}: {start:?}", framework.name);
            }
        }
    }

    #[test]
    fn on_another_host_every_word_survives_its_shells() {
        let launchers = Launchers::load(&[]).unwrap();
        assert_eq!(launchers.get("ssh").unwrap().missing(|need| need == "image"), ["host"]);
        let options = json!({"host": "gpu1", "options": "-p 2222 -i 'my key'"});
        let ssh = chain(&launchers, json!([{"name": "ssh", "options": options}])).unwrap();
        assert!(ssh.start.windows(3).any(|w| w == ["-p", "2222", "-i"]), "{:?}", ssh.start);
        let remote = shell::split(ssh.start.last().unwrap()).unwrap();
        assert_eq!(&remote[..3], ["exec", "env", "A=b c"]);
        // The option file's text is one word of the script.
        let script = shell::split(remote.last().unwrap()).unwrap();
        assert!(script.windows(4).any(|w| w == ["%s", "a: 'b'", ">", "/tmp/bench-v-1/o.yaml;"]), "{script:?}");
        assert!(remote.last().unwrap().ends_with("exec vllm serve 'my model' /tmp/bench-v-1/o.yaml"), "{remote:?}");
        let why = chain(&launchers, json!([{"name": "ssh"}])).unwrap_err().to_string();
        assert!(why.contains("requires \"host\""), "{why}");
    }

    #[test]
    fn one_within_another_is_carried_there() {
        let launchers = Launchers::load(&[]).unwrap();
        let inner = json!({"name": "docker_exec", "options": {"container": "c"}});
        let nested = chain(&launchers, json!([{"name": "ssh", "options": {"host": "gpu1"}}, inner])).unwrap();
        let remote = shell::split(nested.start.last().unwrap()).unwrap();
        let script = shell::split(remote.last().unwrap()).unwrap();
        assert!(script.windows(3).any(|w| w == ["exec", "docker", "exec"]), "{script:?}");
        // The innermost is stopped first, through the outer one; then that.
        let outside = nested.outside().unwrap();
        let what: Vec<&str> = outside.iter().map(|o| o.what.as_str()).collect();
        assert_eq!(what, ["docker exec bench-v-1-2", "ssh bench-v-1"]);
        let stop = &outside[0].stop[0];
        assert_eq!((stop[0].as_str(), stop[stop.len() - 2].as_str()), ("ssh", "gpu1"));
        assert_eq!(shell::split(stop.last().unwrap()).unwrap()[..3], ["docker", "exec", "c"]);
        assert_eq!(nested.reached_by(), ReachedBy::Tunnel);
        let within = json!([{"name": "docker"}, {"name": "ssh", "options": {"host": "h"}}]);
        let why = chain(&launchers, within).unwrap_err().to_string();
        assert!(why.contains("Docker cannot contain another launcher"), "{why}");
    }

    #[test]
    fn every_shipped_launcher_renders() {
        let launchers = Launchers::load(&[]).unwrap();
        assert!(launchers.names().count() >= 7);
        for name in launchers.names() {
            let options = json!({"host": "h", "container": "c", "url": "http://h:1"});
            let chain = chain(&launchers, json!([{"name": name, "options": options}])).unwrap();
            assert!(!chain.start.is_empty() && chain.outside().is_ok() && chain.fact_queries().is_ok(), "{name}");
        }
    }
}
