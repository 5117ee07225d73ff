//! What servers compile is kept: one folder for each version of a framework and GPU, so that the next start finds it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::engines::framework::{CachePath, Framework};
use crate::engines::launcher::Launchers;
use crate::rows::kinds::{Candidate, CandidateServer};
use crate::rows::words::{ReachedBy, StartKind};

/// The file that says that a server with this folder became ready.
const WARM: &str = ".warm";
/// The part of a path that becomes the id of the candidate.
const CANDIDATE: &str = "{candidate}";

/// The caches of one version of a framework on one kind of GPU.
#[derive(Debug)]
pub(super) struct CacheFolder {
    root: PathBuf,
    /// The variables, and the paths that they name.
    paths: Vec<(String, PathBuf)>,
    /// The folder is mounted into the container.
    mounts: bool,
}

impl CacheFolder {
    /// The folder in `all` for a candidate, which is created; `None` if the framework has no caches, if its version or GPU is not known, or
    /// if the server does not see this host's files. Variables that the plan sets stay as they are.
    ///
    /// # Errors
    /// When a folder cannot be created.
    pub fn of(
        all: &Path,
        candidate: &Candidate,
        framework: &Framework,
        launchers: &Launchers,
        gpu: Option<&str>,
    ) -> Result<Option<Self>> {
        let server = &candidate.server;
        let asked: Vec<(&String, &CachePath)> =
            framework.caches.iter().filter(|(name, _)| !server.env.contains_key(*name)).collect();
        let [step] = &server.launcher[..] else { return Ok(None) };
        let Some(launcher) = launchers.get(&step.name) else { return Ok(None) };
        let mounts = launcher.lists.contains_key("mounts");
        let is_here = launcher.is_plain() || mounts && launcher.reached_by == ReachedBy::SameHost;
        let (Some(version), Some(gpu)) = (&candidate.version, gpu) else { return Ok(None) };
        if asked.is_empty() || !is_here {
            return Ok(None);
        }
        let cannot = |path: &Path, e| Error::new("cannot create the folder").because(e).at(path.display().to_string());
        fs::create_dir_all(all).map_err(|e| cannot(all, e))?;
        let all = fs::canonicalize(all).map_err(|e| cannot(all, e))?;
        let root = all.join(slug(&format!("{}-{version}-{gpu}", server.definition)));
        let mut paths = Vec::new();
        for (name, path) in asked {
            let (CachePath::Folder(own) | CachePath::File(own)) = path;
            let own = root.join(own.replace(CANDIDATE, &slug(&candidate.candidate_id)));
            let folder = match path {
                CachePath::Folder(_) => Some(own.as_path()),
                CachePath::File(_) => own.parent(),
            };
            folder.map_or(Ok(()), |folder| fs::create_dir_all(folder).map_err(|e| cannot(folder, e)))?;
            paths.push((name.clone(), own));
        }
        Ok(Some(Self { root, paths, mounts }))
    }

    /// The server with the variables, and with the folder at the same place in its container.
    pub fn given_to(&self, server: &CandidateServer) -> CandidateServer {
        let mut server = server.clone();
        let variables = self.paths.iter().map(|(name, path)| (name.clone(), Some(path.display().to_string())));
        server.env.extend(variables);
        if self.mounts {
            let root = self.root.display();
            server.mounts.push(format!("{root}:{root}"));
        }
        server
    }

    /// Warm if a server became ready with this folder before.
    pub fn start(&self) -> StartKind {
        if self.root.join(WARM).is_file() { StartKind::Warm } else { StartKind::Cold }
    }

    /// Notes that a server became ready. Without the note the next start counts as cold.
    pub fn has_served(&self) {
        let _ = fs::write(self.root.join(WARM), "");
    }
}

/// The name of a folder: what is no letter, digit, `-`, `_` or `.` becomes `_`.
fn slug(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}
