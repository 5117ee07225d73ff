//! Launchers: how a server is started somewhere else than as a plain child, as argv templates. The format is documented in
//! `configs/launchers/README.md`; adding a launcher needs no change here.

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::schema::CandidateServer;
use crate::shell;
use crate::yaml;

/// The launchers that are compiled in, by name.
const SHIPPED: &[(&str, &str)] = &[
    ("local", include_str!("../configs/launchers/local.yaml")),
    ("docker", include_str!("../configs/launchers/docker.yaml")),
    ("podman", include_str!("../configs/launchers/podman.yaml")),
    ("docker_exec", include_str!("../configs/launchers/docker_exec.yaml")),
    ("attach", include_str!("../configs/launchers/attach.yaml")),
    ("ssh", include_str!("../configs/launchers/ssh.yaml")),
    ("srun", include_str!("../configs/launchers/srun.yaml")),
];

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
    /// What a plan must say: `image`, `host`, ….
    #[serde(default)]
    pub needs: Vec<String>,
    /// A script for a shell elsewhere; `{script}` is its text, `{quoted_script}` a word of a command line.
    #[serde(default)]
    pub script: String,
    /// The command that starts the server. `{argv...}` stands for all its words.
    pub start: Vec<String>,
    /// What one item of a list becomes: `{env...}` gives these words for each.
    #[serde(default)]
    pub lists: BTreeMap<String, Vec<String>>,
    /// Commands that stop it within `{grace_s}` seconds.
    pub stop: Vec<Vec<String>>,
    /// Commands that kill it.
    pub kill: Vec<Vec<String>>,
    /// The command that tells whether it still runs; empty where processes tell.
    pub inspect: Vec<String>,
    /// What that prints while it runs.
    pub running: String,
    /// What that prints when it does not.
    pub gone: String,
    /// Commands that clean up behind it.
    #[serde(default)]
    pub clean: Vec<Vec<String>>,
    /// Clients use `{tunnel_port}` of this host, and the launcher's command forwards it.
    #[serde(default)]
    pub tunnel: bool,
    /// Clients use this URL: the server is not started, and not stopped.
    #[serde(default)]
    pub base_url: Option<String>,
    /// `same_host`, `tunnel` or `network`.
    pub reached_by: String,
}

/// What has to be done outside the process tree to stop one server, ready to be executed but for `{grace_s}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// What it is, for messages: `Docker bench-vllm-1`.
    pub what: String,
    /// Commands that stop it.
    pub stop: Vec<Vec<String>>,
    /// Commands that kill it.
    pub kill: Vec<Vec<String>>,
    /// The command that tells whether it runs; empty: there is nothing outside.
    pub inspect: Vec<String>,
    /// What that prints while it runs.
    pub running: String,
    /// What that prints when it does not.
    pub gone: String,
    /// Commands that clean up behind it.
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
        let shipped =
            SHIPPED.iter().map(|(name, text)| (format!("configs/launchers/{name}.yaml"), (*text).to_string()));
        let mut all = BTreeMap::new();
        for (name, text) in shipped.chain(more.iter().cloned()) {
            let launcher: Launcher = yaml::typed(&text, &name)?;
            for pattern in [&launcher.running, &launcher.gone] {
                Regex::new(pattern).context(format!("not a regular expression: {pattern}")).map_err(|e| e.at(&name))?;
            }
            all.insert(launcher.name.clone(), launcher);
        }
        Ok(Self(all))
    }

    /// One launcher.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Launcher> {
        self.0.get(name)
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// One start, as templates need to know it.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// New for every start.
    pub name: &'a str,
    /// The server's port.
    pub port: u16,
    /// The port of this host that is forwarded to it, where one is.
    pub tunnel_port: u16,
    /// The folder of its artifacts.
    pub files: &'a str,
    /// Its GPUs, `0,1`.
    pub gpus: Option<&'a str>,
}

/// What a start fills into the templates.
#[derive(Debug, Clone, Default)]
pub struct Fill {
    words: BTreeMap<String, String>,
    lists: BTreeMap<String, Vec<String>>,
}

impl Fill {
    /// The values of one start: `argv` with its real port, `name` new for every start.
    #[must_use]
    pub fn new(server: &CandidateServer, argv: &[String], start: &Start) -> Self {
        let Start { name, port, tunnel_port, files, gpus } = *start;
        let mut words = server.launcher_options.clone();
        words.extend(server.image.clone().map(|image| ("image".to_string(), image)));
        let options = words.remove("options").and_then(|line| shell::split(&line).ok()).unwrap_or_default();
        // A name alone is inherited: its value is in no command line.
        let env = server.env.iter().map(|(name, value)| value.as_ref().map_or(name.clone(), |v| format!("{name}={v}")));
        words.extend([
            ("name".to_string(), format!("bench-{name}")),
            ("port".to_string(), port.to_string()),
            ("tunnel_port".to_string(), tunnel_port.to_string()),
            ("files".to_string(), files.to_string()),
            ("command".to_string(), shell::join(argv)),
            ("remote_env".to_string(), shell::assignments(&server.env).join(" ")),
        ]);
        let lists = BTreeMap::from([
            ("argv".to_string(), argv.to_vec()),
            ("env".to_string(), env.collect()),
            ("mounts".to_string(), server.mounts.clone()),
            ("gpus".to_string(), gpus.map(String::from).into_iter().collect()),
            ("options".to_string(), options),
        ]);
        Self { words, lists }
    }
}

impl Launcher {
    /// What it needs to know and `says` does not tell.
    pub fn missing(&self, says: impl Fn(&str) -> bool) -> Vec<&str> {
        self.needs.iter().map(String::as_str).filter(|need| !says(need)).collect()
    }

    /// The command that starts the server.
    ///
    /// # Errors
    /// A placeholder that nobody fills.
    pub fn start(&self, fill: &Fill) -> Result<Vec<String>> {
        self.words(&self.start, fill)
    }

    /// The URL of a server that is there already; `None` for one that is started.
    ///
    /// # Errors
    /// A placeholder that nobody fills.
    pub fn attached(&self, fill: &Fill) -> Result<Option<String>> {
        self.base_url.as_ref().map(|template| self.text(template, fill)).transpose()
    }

    /// What has to be done outside the process tree to stop the server; nothing for a plain child.
    ///
    /// # Errors
    /// A placeholder that nobody fills.
    pub fn outside(&self, fill: &Fill) -> Result<Outside> {
        let commands =
            |list: &[Vec<String>]| list.iter().map(|words| self.words(words, fill)).collect::<Result<Vec<_>>>();
        Ok(Outside {
            what: format!("{} {}", self.title, fill.words.get("name").map_or("", String::as_str)),
            stop: commands(&self.stop)?,
            kill: commands(&self.kill)?,
            inspect: self.words(&self.inspect, fill)?,
            running: self.running.clone(),
            gone: self.gone.clone(),
            clean: commands(&self.clean)?,
        })
    }

    fn words(&self, template: &[String], fill: &Fill) -> Result<Vec<String>> {
        let script = self.text(&self.script, fill)?;
        let mut fill = fill.clone();
        fill.words.insert("quoted_script".into(), shell::quote(&script));
        fill.words.insert("script".into(), script);
        let mut words = Vec::new();
        for word in template {
            match word.strip_prefix('{').and_then(|rest| rest.strip_suffix("...}")) {
                Some("argv") => words.extend(fill.lists.get("argv").cloned().unwrap_or_default()),
                Some(list) => {
                    let each =
                        self.lists.get(list).ok_or_else(|| Error::new(format!("{}: no list {list:?}", self.name)))?;
                    for item in fill.lists.get(list).into_iter().flatten() {
                        words.extend(each.iter().map(|word| word.replace("{item}", item)));
                    }
                }
                None => words.push(self.text(word, &fill)?),
            }
        }
        Ok(words)
    }

    /// Fills `{word}`; a doubled brace and one behind a dollar sign stand for themselves.
    fn text(&self, template: &str, fill: &Fill) -> Result<String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            let behind = &rest[at..];
            if behind.starts_with("{{") {
                let end = behind.find("}}").map_or(behind.len(), |end| end + 2);
                out.push_str(&behind[..end]);
                rest = &behind[end..];
                continue;
            }
            let end = behind.find('}').ok_or_else(|| Error::new(format!("{}: a brace is not closed", self.name)))?;
            let name = &behind[1..end];
            if name == "grace_s" {
                // Only the guard knows it, when it stops.
                out.push_str("{grace_s}");
            } else {
                let value = fill.words.get(name);
                out.push_str(value.ok_or_else(|| Error::new(format!("the launcher {} needs {name:?}", self.name)))?);
            }
            rest = &behind[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server(options: serde_json::Value) -> CandidateServer {
        serde_json::from_value(json!({
            "definition": "vllm", "argv": ["vllm", "serve", "my model"], "launcher": "x", "flags": {}, "image": "vllm/vllm:1",
            "env": {"HF_TOKEN": null, "A": "b c"}, "mounts": ["/models:/models:ro"], "launcher_options": options,
        }))
        .unwrap()
    }

    fn fill(options: serde_json::Value) -> Fill {
        let server = server(options);
        let start = Start { name: "v-1", port: 8123, tunnel_port: 8124, files: "/logs/v-1", gpus: Some("0,1") };
        Fill::new(&server, &server.argv, &start)
    }

    #[test]
    fn a_container_of_its_own() {
        let launchers = Launchers::load(&[]).unwrap();
        let docker = launchers.get("docker").unwrap();
        let start = shell::join(&docker.start(&fill(json!({}))).unwrap());
        for part in [
            "--name bench-v-1",
            "--cidfile /logs/v-1/cid",
            "-e 'A=b c' -e HF_TOKEN",
            "-v /models:/models:ro",
            "--gpus '\"device=0,1\"'",
            "vllm/vllm:1 vllm serve 'my model'",
        ] {
            assert!(start.contains(part), "{part}: {start}");
        }
        let outside = docker.outside(&fill(json!({}))).unwrap();
        assert_eq!(outside.stop[0].join(" "), "docker stop -t {grace_s} bench-v-1");
        assert_eq!(outside.inspect[3], "{{.State.Running}}");
        assert_eq!(docker.missing(|need| need == "image"), Vec::<&str>::new());
    }

    #[test]
    fn on_another_host_every_word_survives_its_shells() {
        let launchers = Launchers::load(&[]).unwrap();
        let ssh = launchers.get("ssh").unwrap();
        assert_eq!(ssh.missing(|need| need == "image"), ["host"]);
        let start = ssh.start(&fill(json!({"host": "gpu1", "options": "-p 2222 -i 'my key'"}))).unwrap();
        assert!(start.windows(3).any(|w| w == ["-p", "2222", "-i"]), "{start:?}");
        let remote = shell::split(start.last().unwrap()).unwrap();
        assert_eq!(&remote[..3], ["exec", "env", "A=b c"]);
        assert_eq!(remote.last().unwrap(), "echo $$ > /tmp/bench-v-1.pid; exec vllm serve 'my model'");
        assert!(ssh.start(&fill(json!({}))).unwrap_err().to_string().contains("needs \"host\""));
    }

    #[test]
    fn every_shipped_launcher_renders() {
        let launchers = Launchers::load(&[]).unwrap();
        assert_eq!(launchers.names().count(), SHIPPED.len());
        for name in launchers.names() {
            let launcher = launchers.get(name).unwrap();
            let fill = fill(json!({"host": "h", "container": "c", "url": "http://h:1"}));
            assert!(!launcher.start(&fill).unwrap().is_empty() && launcher.outside(&fill).is_ok(), "{name}");
        }
    }
}
