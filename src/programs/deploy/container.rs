//! The container of a candidate: read from the command that started it.

use std::collections::BTreeMap;

use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::flags::rank::DeployForm;
use crate::flags::sweep::word;
use crate::programs::pasted::container::{self, Container, ContainerGpus};
use crate::rank::Entry;

/// What a manifest says of a candidate.
pub struct DeployedContainer {
    /// The name of its objects: lower-case letters, digits and `-`.
    pub name: String,
    /// The image.
    pub image: String,
    /// What replaces the image's entry point, if something does.
    pub entry: Option<Vec<String>>,
    /// The words after the image.
    pub words: Vec<String>,
    /// Environment variables; without a value: a secret of this name.
    pub env: BTreeMap<String, Option<String>>,
    /// `HOST:CONTAINER[:ro]`.
    pub mounts: Vec<String>,
    /// Number of GPUs.
    pub gpus: u64,
    /// The GPUs that it sees.
    pub devices: ContainerGpus,
    /// The port that it listens on.
    pub port: Option<u16>,
    /// Options of `docker run`, each with its value.
    pub options: Vec<(String, String)>,
    /// How long it took to become ready, s.
    pub ready_s: f64,
}

/// Options that manifests have a key for.
const KNOWN: [&str; 4] = ["--shm-size", "--workdir", "--user", "--privileged"];

impl DeployedContainer {
    /// The container of an entry.
    ///
    /// # Errors
    /// It ran without one, or in a way that the form cannot say.
    pub fn of(entry: &Entry, form: DeployForm) -> Result<Self> {
        let cannot =
            |why: String| Error::new(format!("{}: {why}; --as script says the same as a command", entry.candidate_id));
        let command = entry.commands().launch;
        let words = shell::split(command).map_err(|e| cannot(e.into()))?;
        let read = container::read(&words).map_err(cannot)?;
        let Some(Container { image, env, mounts, gpus, options, entry: point, words: own, .. }) = read else {
            let need =
                format!("its server did not run in a container of docker or podman, which --as {} needs", word(&form));
            return Err(cannot(need));
        };
        if let Some(mount) = mounts.iter().find(|mount| mount.contains('$')) {
            return Err(cannot(format!("its option file {mount} is written by the command itself")));
        }
        let replaces = words.iter().any(|word| word.starts_with("--entrypoint"));
        let mut own = own;
        if form == DeployForm::Kubernetes {
            bind_to_all(&mut own);
        }
        let port = own.iter().position(|word| word == "--port").and_then(|at| own.get(at + 1)?.parse().ok());
        Ok(Self {
            name: file_name(entry),
            image,
            entry: replaces.then_some(point),
            words: own,
            env,
            mounts,
            gpus: entry.keys.gpus.map_or(0, |gpus| gpus.max(0.0) as u64),
            devices: gpus,
            port,
            options: pairs(&options),
            ready_s: entry.ready_s().unwrap_or(600.0),
        })
    }

    /// The value of an option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(option, _)| option == name).map(|(_, value)| value.as_str())
    }

    /// What the manifest leaves to its reader.
    pub fn notes(&self, form: DeployForm) -> Vec<String> {
        let left = self.options.iter().filter(|(option, _)| !KNOWN.contains(&option.as_str()));
        let left = left.map(|(option, value)| format!("not said here: {option} {value}"));
        let secrets = self.env.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| match form {
            DeployForm::Kubernetes => format!("needs the secret {} with the key {name}", self.name),
            _ => format!("needs {name} in the environment of docker compose"),
        });
        left.chain(secrets).collect()
    }
}

/// In a pod clients come over the network: 127.0.0.1 would be reached by nobody.
fn bind_to_all(words: &mut [String]) {
    for at in 1..words.len() {
        if words[at] == "127.0.0.1" && words[at - 1].contains("host") {
            words[at] = "0.0.0.0".into();
        }
    }
}

/// Options with their values: a word that begins with `-` begins the next one.
fn pairs(words: &[String]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for word in words {
        match all.last_mut() {
            Some((_, value)) if !word.starts_with('-') => value.clone_from(word),
            _ => all.push((word.clone(), String::new())),
        }
    }
    all
}

/// The name of a candidate's file and objects.
#[must_use]
pub fn file_name(entry: &Entry) -> String {
    let id = entry.candidate_id.to_lowercase();
    let name: String = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    name.trim_matches('-').to_string()
}
