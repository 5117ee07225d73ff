//! Locks of GPUs: of one user's sweeps only one at a time measures on a GPU, whatever their folders.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::unistd::getuid;

use crate::base::error::{Error, Result};
use crate::engines::gpu::Gpu;
use crate::system::lease::private_folder;
use crate::system::lock_file;
use crate::system::lock_file::{LockFailure, LockedFile};

/// The GPUs that this bench-serve has for itself, until it ends.
#[derive(Debug, Default)]
pub(super) struct GpuLocks(BTreeMap<String, LockedFile>);

impl GpuLocks {
    /// Takes these GPUs too.
    ///
    /// # Errors
    /// Another bench-serve has one of them, by its process id and folder; or the lock's file cannot be written.
    pub(super) fn take(&mut self, gpus: &[Gpu]) -> Result<()> {
        for gpu in gpus.iter().filter(|gpu| !self.0.contains_key(&gpu.uuid)).collect::<Vec<_>>() {
            self.0.insert(gpu.uuid.clone(), lock(gpu)?);
        }
        Ok(())
    }
}

/// The user's own folder for what lives no longer than the system runs.
fn folder() -> PathBuf {
    let user = PathBuf::from(format!("/run/user/{}", getuid()));
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).into_iter().chain([user]);
    let shared = || std::env::temp_dir().join(format!("bench-{}", getuid()));
    runtime.into_iter().find(|path| path.is_dir()).map_or_else(shared, |path| path.join("bench")).join("gpus")
}

fn lock(gpu: &Gpu) -> Result<LockedFile> {
    let folder = folder();
    // Names of other vendors' tools may hold anything.
    let name: String = gpu.uuid.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = folder.join(format!("{name}.lock"));
    let at = |e: std::io::Error| {
        Error::new(format!("cannot lock GPU {}", gpu.index)).because(e).at(path.display().to_string())
    };
    private_folder(&folder).map_err(at)?;
    let here = std::env::current_dir().unwrap_or_default();
    lock_file::lock(&path, 0o600, &here.display().to_string()).map_err(|failure| match failure {
        LockFailure::Held(by) => {
            let (pid, place) = (by.pid.as_deref().unwrap_or("unknown"), by.note);
            Error::new(format!(
                "GPU {} is in use by bench-serve (pid {pid}) in {place}; wait for it, stop it with kill -INT {pid}, or set \
                 other visible_devices",
                gpu.index
            ))
        }
        LockFailure::System(e) => at(e),
    })
}
