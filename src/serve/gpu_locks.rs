//! Locks of GPUs: of one user's sweeps only one at a time measures on a GPU, whatever their folders.
//!
//! The kernel holds a lock for as long as this process lives, so nothing has to be cleaned up.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::getuid;

use crate::base::error::{Error, Result};
use crate::engines::gpu::Gpu;
use crate::system::lease::private_folder;
use crate::system::process::proc::owner;

/// The GPUs that this bench-serve has for itself, until it ends.
#[derive(Debug, Default)]
pub(super) struct GpuLocks(BTreeMap<String, Flock<File>>);

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

fn lock(gpu: &Gpu) -> Result<Flock<File>> {
    let folder = folder();
    // Names of other vendors' tools may hold anything.
    let name: String = gpu.uuid.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = folder.join(format!("{name}.lock"));
    let at = |e: std::io::Error| {
        Error::new(format!("cannot lock GPU {}", gpu.index)).because(e).at(path.display().to_string())
    };
    private_folder(&folder).map_err(at)?;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(at)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            let here = std::env::current_dir().unwrap_or_default();
            file.set_len(0).map_err(at)?;
            file.rewind().map_err(at)?;
            writeln!(file, "{}\n{}", owner(), here.display()).map_err(at)?;
            Ok(file)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let mut lines = text.lines();
            let pid = lines.next().and_then(|owner| owner.split(':').nth(1)).unwrap_or("unknown").to_string();
            let place = lines.next().unwrap_or_default();
            Err(Error::new(format!(
                "GPU {} is in use by bench-serve (pid {pid}) in {place}; wait for it, stop it with kill -INT {pid}, or set \
                 other visible_devices",
                gpu.index
            )))
        }
        Err((_, errno)) => Err(at(errno.into())),
    }
}
