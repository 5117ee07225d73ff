//! What exactly was started: versions, image, libraries, commands. In the rows as `environment`, in full as an artifact.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};

use super::launch::Launch;
use super::launch_commands::{COMMAND_LIMIT, text_of};
use super::packages::{normalized, packages};
use crate::base::error::Result;
use crate::base::pattern::ascii;
use crate::base::redact::is_secret_name;
use crate::base::{digest, shell};
use crate::engines::framework::Framework;
use crate::engines::gpu::Gpu;
use crate::engines::launcher::OutsideStop;
use crate::rows::kinds::{Candidate, Members};
use crate::system::http::HttpClient;
use crate::system::process::capture::save;

/// How long help may take: some programs import all their libraries before they print it.
const HELP_LIMIT: Duration = Duration::from_secs(120);

/// A version that names the commit it was built from: `0.11.0rc2.dev34+gabc1234`, `b11434-1234abc`.
static COMMIT: LazyLock<Regex> =
    LazyLock::new(|| ascii(r"(?:\+g|-g?|commit[: ]+|\()([0-9a-f]{7,40})\b").expect("a fixed pattern"));
/// A version in what a command prints about itself.
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| ascii(r"\bv?(\d+(?:\.\d+)+[\w.+-]*|b\d{3,}(?:-[0-9a-f]+)?)").expect("a fixed pattern"));
/// Environment variables whose values decide what a server does; of all others only the names are recorded.
static SHOWN: LazyLock<Regex> = LazyLock::new(|| {
    ascii(r"^(CUDA_|NVIDIA_|NCCL_|VLLM_|SGLANG_|SGL_|TRTLLM_|TLLM_|TORCH|OMP_|HF_HUB_OFFLINE$|GGML_|LLAMA_)")
        .expect("a fixed pattern")
});

/// A server's version and environment, as far as known.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    /// From the server's endpoint, else its Python package, else its version command.
    pub version: Option<String>,
    /// The commit, if the version names it.
    pub commit: Option<String>,
    /// `image, image_digest, cuda, nccl, driver, kernel`, as far as known.
    pub environment: Members,
}

impl Manifest {
    /// Collects the facts from the endpoint, package metadata and the launchers.
    pub async fn collect(
        launch: &Launch,
        candidate: &Candidate,
        framework: &Framework,
        client: &HttpClient,
        gpus: &[Gpu],
    ) -> Self {
        let commands = &launch.commands;
        let mut environment = Members::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|_| !environment.contains_key(name)) {
                environment.insert(name.into(), value.into());
            }
        };
        put("image", candidate.server.image.clone());
        put("driver", gpus.first().and_then(|gpu| gpu.driver.clone()));
        for query in &commands.facts {
            let text = text_of(&query.command, &[], COMMAND_LIMIT).await.unwrap_or_default();
            for fact in &query.facts {
                let found = ascii(&fact.pattern).ok().and_then(|regex| Some(regex.captures(&text)?[1].to_string()));
                put(&fact.name, found);
            }
        }
        let packages = if commands.is_here { packages(framework, &candidate.server) } else { BTreeMap::new() };
        for (name, candidates) in &framework.version.libraries {
            put(name, candidates.iter().find_map(|package| packages.get(package.as_str()).cloned()));
        }
        if commands.is_here {
            put("kernel", std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().into()));
        }
        let package = framework.version.package.as_ref();
        let package = package.and_then(|package| packages.get(&normalized(package)).cloned());
        let version = reported_version(client, framework).await.or(package);
        // The text of a version may name the commit, too.
        let text = match &version {
            Some(version) => version.clone(),
            None if commands.version.is_empty() => String::new(),
            None => text_of(&commands.version, &launch.environment, COMMAND_LIMIT).await.unwrap_or_default(),
        };
        let version = version.or_else(|| text.lines().find_map(|line| Some(VERSION.captures(line)?[1].to_string())));
        let commit = COMMIT.captures(&text).map(|found| found[1].to_string());
        // An endpoint may answer with what it was sent, the API key included.
        let clean = |text: String| launch.redactor().redact(&text);
        for value in environment.values_mut() {
            if let Value::String(text) = value {
                *text = clean(std::mem::take(text));
            }
        }
        Self { version: version.map(clean), commit: commit.map(clean), environment }
    }

    /// Writes `manifest.json` into the folder of the start.
    ///
    /// # Errors
    /// What the system reports.
    pub fn write(&self, launch: &Launch, candidate: &Candidate, gpus: &[Gpu]) -> Result<()> {
        let line = |argv: &Vec<String>| shell::join(&launch.redact(argv));
        let commands = |pick: fn(&OutsideStop) -> &Vec<Vec<String>>| -> Vec<String> {
            launch.commands.outside.iter().flat_map(|outside| pick(outside).iter().map(line)).collect()
        };
        let server = &candidate.server;
        let shown = |name: &str| SHOWN.is_match(name) && !is_secret_name(name);
        let inherited: BTreeMap<String, String> = std::env::vars().filter(|(name, _)| shown(name)).collect();
        let from_plan: BTreeMap<&String, &Option<String>> = server.env.iter().filter(|(name, _)| shown(name)).collect();
        let files: BTreeMap<&String, String> =
            server.files.iter().map(|(name, text)| (name, digest::sha256(text.as_bytes()))).collect();
        let whole = json!({
            "candidate_id": candidate.candidate_id, "server_id": launch.server_id, "framework": candidate.framework,
            "framework_version": self.version, "framework_commit": self.commit,
            "environment": self.environment,
            "gpus": gpus.iter().map(|gpu| json!({"index": gpu.index, "name": gpu.name, "uuid": gpu.uuid, "driver": gpu.driver}))
                .collect::<Vec<Value>>(),
            "visible_devices": candidate.hardware.visible_devices,
            "commands": {
                "pull": launch.commands.images.iter().map(|image| line(&image.pull)).collect::<Vec<_>>(),
                "start": shell::join(&launch.shown_argv()),
                "stop": commands(|outside| &outside.stop), "kill": commands(|outside| &outside.kill),
                "clean": commands(|outside| &outside.clean),
            },
            "files_sha256": files,
            "env": {"names": server.env.keys().collect::<BTreeSet<_>>(), "given": from_plan, "inherited": inherited},
        });
        let text = serde_json::to_string_pretty(&whole).unwrap_or_default();
        save(&launch.folder().join("manifest.json"), &format!("{text}\n"))
    }
}

/// Saves what the framework's help commands print, beside the server that is starting; the file's path.
pub async fn capture_help(launch: &Launch) -> Option<PathBuf> {
    let mut text = String::new();
    for command in &launch.commands.help {
        if let Some(help) = text_of(command, &launch.environment, HELP_LIMIT).await {
            text.push_str(&format!("$ {}\n{help}\n", shell::join(&launch.redact(command))));
        }
    }
    let path = launch.folder().join("server_help.txt");
    (!text.is_empty() && save(&path, &launch.redactor().redact(&text)).is_ok()).then_some(path)
}

/// The version from the server's own endpoint.
async fn reported_version(client: &HttpClient, framework: &Framework) -> Option<String> {
    let (path, key) = (framework.version.path.as_ref()?, framework.version.key.as_ref()?);
    let (status, body) = tokio::time::timeout(COMMAND_LIMIT, client.get(path)).await.ok()?.ok()?;
    let answer: Value = serde_json::from_slice(&body).ok()?;
    (status == 200).then(|| answer[key].as_str().map(String::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_name_its_commit() {
        let commit = |version: &str| COMMIT.captures(version).map(|found| found[1].to_string());
        assert_eq!(commit("0.11.0rc2.dev34+gabc1234de.d20261101").as_deref(), Some("abc1234de"));
        assert_eq!(commit("b11434-1234abc").as_deref(), Some("1234abc"));
        assert_eq!(commit("0.32.0"), None);
        assert_eq!(commit("version: 0.1.0-dev (build 1, commit 7e4c0a9)").as_deref(), Some("7e4c0a9"));
        assert_eq!(commit("version: 0.6.0-dev (build 0, commit unknown)"), None);
        let version = |text: &str| VERSION.captures(text).map(|found| found[1].to_string());
        assert_eq!(version("version: 0.6.0-dev (build 0, commit unknown)").as_deref(), Some("0.6.0-dev"));
        assert_eq!(version("bench-sim 0.1.0").as_deref(), Some("0.1.0"));
        assert_eq!(version("no version here"), None);
    }
}
