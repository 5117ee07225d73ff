//! An image with the programs of the tests, made from this host's files without a registry.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, Weak};

use crate::harness::{bin_dir, scratch, skipped};

/// What busybox stands for in it.
const APPLETS: [&str; 12] =
    ["sh", "cat", "cut", "echo", "env", "false", "grep", "mkdir", "printenv", "rm", "sleep", "true"];

/// An image in Podman's storage, removed when the last test is done with it.
pub struct Image(pub String);

/// What Podman says to these arguments; `None` if it is not installed.
pub fn podman(arguments: &[&str]) -> Option<Output> {
    Command::new("podman").args(arguments).output().ok()
}

impl Image {
    /// The image, shared by the tests that run at the same time; `None`, said aloud, where no container can be run.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<(Weak<Image>, Option<String>)> = Mutex::new((Weak::new(), None));
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(image) = shared.0.upgrade() {
            return Some(image);
        }
        let made = match &shared.1 {
            None => Self::make(),
            Some(why) => Err(why.clone()),
        };
        match made {
            Ok(image) => {
                let image = Arc::new(image);
                shared.0 = Arc::downgrade(&image);
                Some(image)
            }
            Err(why) => {
                skipped(&why);
                shared.1 = Some(why);
                None
            }
        }
    }

    fn make() -> Result<Self, String> {
        if podman(&["--version"]).is_none_or(|done| !done.status.success()) {
            return Err("podman is not installed".into());
        }
        let folder = scratch();
        let root = folder.path();
        for part in ["bin", "tmp", "usr/local/bin"] {
            std::fs::create_dir_all(root.join(part)).unwrap();
        }
        for program in [bin_dir().join("bench-sim"), bin_dir().join("examples/zoo")] {
            add(root, &program, "usr/local/bin");
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let busybox = std::env::split_paths(&path).map(|folder| folder.join("busybox")).find(|file| file.is_file());
        add(root, &busybox.ok_or("busybox is not installed")?, "bin");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let tar = root.join("image.tar");
        let parts = ["bin", "usr", "tmp", "lib", "lib64"].into_iter().filter(|part| root.join(part).exists());
        let packed = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(root).args(parts).status().unwrap();
        assert!(packed.success());
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let image = Self(format!("localhost/bench-it/programs:{}-{number}", std::process::id()));
        let from = tar.to_str().unwrap();
        let host = ["--init", "--network", "host", "--ipc", "host"];
        for arguments in [
            vec!["import", "--change", "ENV PATH=/usr/local/bin:/bin", from, &image.0],
            [&["run", "--rm"], &host[..], &[&image.0, "bench-sim", "--version"]].concat(),
        ] {
            let done = podman(&arguments).ok_or("podman is not installed")?;
            if !done.status.success() {
                let said = String::from_utf8_lossy(&done.stderr).trim().replace('\n', " ");
                return Err(format!("podman runs no container here: {said}"));
            }
        }
        Ok(image)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = podman(&["rmi", "-f", &self.0]);
    }
}

/// Puts a program and the libraries that it needs into a folder that becomes an image.
fn add(root: &Path, program: &Path, folder: &str) {
    let to = root.join(folder).join(program.file_name().unwrap());
    std::fs::copy(program, &to).unwrap();
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Every container may copy all of it.
    let _ = Command::new("strip").arg(&to).output();
    let linked = Command::new("ldd").arg(program).output().unwrap();
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from) {
        let to = root.join(library.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&library, to).unwrap();
    }
}
