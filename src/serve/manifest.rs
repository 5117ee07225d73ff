//! What exactly was started: versions, image, libraries, commands. In the rows as `environment`, in full as an artifact.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};
use tokio::process::Command;

use super::launch::Launch;
use crate::base::error::Result;
use crate::base::pattern::ascii;
use crate::base::redact::is_secret_name;
use crate::base::{digest, shell};
use crate::engines::framework::Framework;
use crate::engines::gpu::Gpu;
use crate::engines::launcher::{FactQuery, Leftovers, OutsideStop};
use crate::rows::kinds::{Candidate, CandidateServer, Members};
use crate::system::http::HttpClient;
use crate::system::process::capture::save;
use crate::system::process::proc::{is_dead, on_path_of};

/// How long one question about a version may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long help may take: some programs import everything that they have before they print it.
const HELP: Duration = Duration::from_secs(120);

/// A version that names the commit it was built from: `0.11.0rc2.dev34+gabc1234`, `b11434-1234abc`.
static COMMIT: LazyLock<Regex> =
    LazyLock::new(|| ascii(r"(?:\+g|-g?|commit[: ]+|\()([0-9a-f]{7,40})\b").expect("a fixed pattern"));
/// A version in what a command prints about itself.
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| ascii(r"\bv?(\d+(?:\.\d+)+[\w.+-]*|b\d{3,}(?:-[0-9a-f]+)?)").expect("a fixed pattern"));
/// Environment whose values decide what a server does; of all others only the names are kept.
static SHOWN: LazyLock<Regex> = LazyLock::new(|| {
    ascii(r"^(CUDA_|NVIDIA_|NCCL_|VLLM_|SGLANG_|SGL_|TRTLLM_|TLLM_|TORCH|OMP_|HF_HUB_OFFLINE$|GGML_|LLAMA_)")
        .expect("a fixed pattern")
});

/// What a start's launchers can tell, and how they were told to start, stop and clean.
#[derive(Debug, Default)]
pub struct LaunchCommands {
    /// Questions about the place where the server runs.
    pub asking: Vec<FactQuery>,
    /// Commands that fetch what is started.
    pub pull: Vec<Vec<String>>,
    /// What others may have left, and how it is removed.
    pub leftovers: Vec<Leftovers>,
    /// Commands outside the process tree.
    pub outside: Vec<OutsideStop>,
    /// The framework's help commands, run beside the server; empty where that is not possible.
    pub help: Vec<Vec<String>>,
    /// Its command that prints the version, likewise.
    pub version: Vec<String>,
    /// The server sees this host's files.
    pub is_here: bool,
}

/// What is known of a server's version and of what it stands on.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    /// As the server says itself, else its package, else its program.
    pub version: Option<String>,
    /// The commit, where the version names it.
    pub commit: Option<String>,
    /// `image, image_digest, cuda, nccl, driver, kernel`, where known.
    pub environment: Members,
}

/// Asks everybody who may know: the endpoint, package metadata, the launchers.
pub async fn collect(
    launch: &Launch,
    candidate: &Candidate,
    framework: &Framework,
    client: &HttpClient,
    gpus: &[Gpu],
) -> Manifest {
    let ways = &launch.ways;
    let mut environment = Members::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|_| !environment.contains_key(name)) {
            environment.insert(name.into(), value.into());
        }
    };
    put("image", candidate.server.image.clone());
    put("driver", gpus.first().and_then(|gpu| gpu.driver.clone()));
    for asking in &ways.asking {
        let said = ask(&asking.command, ANSWER).await.unwrap_or_default();
        for fact in &asking.facts {
            let found = ascii(&fact.pattern).ok().and_then(|regex| Some(regex.captures(&said)?[1].to_string()));
            put(&fact.name, found);
        }
    }
    let packages = if ways.is_here { packages(framework, &candidate.server) } else { BTreeMap::new() };
    for (name, candidates) in &framework.version.libraries {
        put(name, candidates.iter().find_map(|package| packages.get(package.as_str()).cloned()));
    }
    if ways.is_here {
        put("kernel", std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().into()));
    }
    let package = framework.version.package.as_ref().and_then(|package| packages.get(&plain(package)).cloned());
    let known = told(client, framework).await.or(package);
    // Its own words may name the commit, too.
    let said = match &known {
        Some(version) => version.clone(),
        None if ways.version.is_empty() => String::new(),
        None => ask_in(&ways.version, &launch.environment, ANSWER).await.unwrap_or_default(),
    };
    let version = known.or_else(|| said.lines().find_map(|line| Some(VERSION.captures(line)?[1].to_string())));
    let commit = COMMIT.captures(&said).map(|found| found[1].to_string());
    // Whoever was asked may have answered with what it was sent.
    let clean = |text: String| launch.redactor().redact(&text);
    for value in environment.values_mut() {
        if let Value::String(text) = value {
            *text = clean(std::mem::take(text));
        }
    }
    Manifest { version: version.map(clean), commit: commit.map(clean), environment }
}

impl Launch {
    /// Writes `manifest.json` into the folder of this start.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_manifest(&self, candidate: &Candidate, manifest: &Manifest, gpus: &[Gpu]) -> Result<()> {
        let line = |argv: &Vec<String>| self.redacted(argv);
        let commands = |pick: fn(&OutsideStop) -> &Vec<Vec<String>>| -> Vec<String> {
            self.ways.outside.iter().flat_map(|outside| pick(outside).iter().map(line)).collect()
        };
        let server = &candidate.server;
        let shown = |name: &&String| SHOWN.is_match(name) && !is_secret_name(name);
        let inherited: BTreeMap<String, String> =
            std::env::vars().filter(|(name, _)| SHOWN.is_match(name) && !is_secret_name(name)).collect();
        let given: BTreeMap<&String, &Option<String>> = server.env.iter().filter(|(name, _)| shown(name)).collect();
        let files: BTreeMap<&String, String> =
            server.files.iter().map(|(name, text)| (name, digest::sha256(text.as_bytes()))).collect();
        let whole = json!({
            "candidate_id": candidate.candidate_id, "server_id": self.server_id, "framework": candidate.framework,
            "framework_version": manifest.version, "framework_commit": manifest.commit,
            "environment": manifest.environment,
            "gpus": gpus.iter().map(|gpu| json!({"index": gpu.index, "name": gpu.name, "uuid": gpu.uuid, "driver": gpu.driver}))
                .collect::<Vec<Value>>(),
            "visible_devices": candidate.hardware.visible_devices,
            "commands": {
                "pull": self.ways.pull.iter().map(line).collect::<Vec<_>>(),
                "start": shell::join(&self.shown_argv()),
                "stop": commands(|outside| &outside.stop), "kill": commands(|outside| &outside.kill),
                "clean": commands(|outside| &outside.clean),
            },
            "files_sha256": files,
            "env": {"names": server.env.keys().collect::<BTreeSet<_>>(), "given": given, "inherited": inherited},
        });
        let text = serde_json::to_string_pretty(&whole).unwrap_or_default();
        save(&self.folder().join("manifest.json"), &format!("{text}\n"))
    }

    /// A command line for people, without secrets.
    fn redacted(&self, argv: &[String]) -> String {
        shell::join(&self.redact(argv))
    }

    /// Removes what a bench-serve of this host that lives no more has left in other hands; its guard did not live either.
    pub async fn remove_leftovers(&self) {
        for leftovers in &self.ways.leftovers {
            let listed = ask(&leftovers.list, ANSWER).await.unwrap_or_default();
            for (name, owner) in listed.lines().filter_map(|line| line.split_once(' ')) {
                if is_dead(owner.trim()) {
                    let remove: Vec<String> =
                        leftovers.remove.iter().map(|word| word.replace("{stale}", name)).collect();
                    ask(&remove, ANSWER).await;
                }
            }
        }
    }

    /// Saves what the framework's help commands print, beside the server that is starting; its path.
    pub async fn capture_help(&self) -> Option<PathBuf> {
        let mut text = String::new();
        for command in &self.ways.help {
            if let Some(said) = ask_in(command, &self.environment, HELP).await {
                text.push_str(&format!("$ {}\n{said}\n", self.redacted(command)));
            }
        }
        let path = self.folder().join("server_help.txt");
        (!text.is_empty() && save(&path, &self.redactor().redact(&text)).is_ok()).then_some(path)
    }
}

/// What a command prints to standard output, or to standard error where that is all; `None` when it fails.
pub(super) async fn ask(command: &[String], limit: Duration) -> Option<String> {
    ask_in(command, &[], limit).await
}

/// The same with `environment` beside ours.
async fn ask_in(command: &[String], environment: &[(String, String)], limit: Duration) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output()).await.ok()?.ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    output.status.success().then(|| String::from_utf8_lossy(&said).into_owned())
}

async fn told(client: &HttpClient, framework: &Framework) -> Option<String> {
    let (path, key) = (framework.version.path.as_ref()?, framework.version.key.as_ref()?);
    let (status, body) = tokio::time::timeout(ANSWER, client.get(path)).await.ok()?.ok()?;
    let answer: Value = serde_json::from_slice(&body).ok()?;
    (status == 200).then(|| answer[key].as_str().map(String::from))?
}

fn plain(package: &str) -> String {
    package.replace('-', "_").to_ascii_lowercase()
}

/// The version of a framework's Python package beside a server's program on this host; `None` where it has none.
#[must_use]
pub fn package_version(framework: &Framework, server: &CandidateServer) -> Option<String> {
    packages(framework, server).get(&plain(framework.version.package.as_ref()?)).cloned()
}

/// The Python packages beside the framework's program, by the names of their metadata folders: starting an interpreter
/// costs seconds.
fn packages(framework: &Framework, server: &CandidateServer) -> BTreeMap<String, String> {
    let program = framework.find(&server.argv).and_then(|found| server.argv.get(found.program));
    let path = server.env.get("PATH").and_then(Option::as_deref);
    let program = program.and_then(|program| on_path_of(program, path).into_iter().next());
    program.as_deref().and_then(beside).unwrap_or_default()
}

fn beside(program: &Path) -> Option<BTreeMap<String, String>> {
    // In a virtual environment, and in its like, the packages stand beside the folder of the programs.
    let root = program.parent()?.parent()?;
    let libraries = std::fs::read_dir(root.join("lib")).ok()?.flatten();
    let folders = libraries.flat_map(|library| {
        ["site-packages", "dist-packages"].map(|packages| std::fs::read_dir(library.path().join(packages)))
    });
    let entries = folders.flatten().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (package, version) = name.strip_suffix(".dist-info")?.split_once('-')?;
        Some((plain(package), version.to_string()))
    });
    Some(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_beside_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().join("lib/python3.11/site-packages");
        std::fs::create_dir_all(packages.join("Some_engine-1.2.3.dist-info")).unwrap();
        std::fs::create_dir_all(packages.join("nvidia_nccl_cu13-2.28.9.dist-info")).unwrap();
        let found = beside(&folder.path().join("bin/engine")).unwrap();
        assert_eq!(found.get(&plain("some-engine")).map(String::as_str), Some("1.2.3"));
        assert_eq!(found.get("nvidia_nccl_cu13").map(String::as_str), Some("2.28.9"));
        assert_eq!(found.get("engine"), None);
    }

    #[test]
    fn a_version_may_name_its_commit() {
        let commit = |version: &str| COMMIT.captures(version).map(|found| found[1].to_string());
        assert_eq!(commit("0.11.0rc2.dev34+gabc1234de.d20261101").as_deref(), Some("abc1234de"));
        assert_eq!(commit("b11434-1234abc").as_deref(), Some("1234abc"));
        assert_eq!(commit("0.32.0"), None);
        assert_eq!(commit("version: 0.1.0-dev (build 1, commit 7e4c0a9)").as_deref(), Some("7e4c0a9"));
        assert_eq!(commit("version: 0.6.0-dev (build 0, commit unknown)"), None);
        let version = |said: &str| VERSION.captures(said).map(|found| found[1].to_string());
        assert_eq!(version("version: 0.6.0-dev (build 0, commit unknown)").as_deref(), Some("0.6.0-dev"));
        assert_eq!(version("bench-sim 0.1.0").as_deref(), Some("0.1.0"));
        assert_eq!(version("no version here"), None);
    }
}
