//! Where a test's servers run: containers, and another host that is reached by ssh.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::image::{Image, podman};
use crate::harness::{Mark, bin_dir, candidates, fixtures, processes_with, program, scratch, skipped, wait_until};

/// How long what was stopped may take to be gone.
const GONE: Duration = Duration::from_secs(20);

/// A folder, a `docker` that is Podman, and a mark on everything that a test starts.
pub struct Place {
    pub image: Arc<Image>,
    pub folder: tempfile::TempDir,
    pub mark: Mark,
    /// The container into which `docker exec` goes.
    running: Option<String>,
    ssh: Option<Sshd>,
}

impl Place {
    /// `None`, said aloud, where no container can be run.
    pub fn new(test: &str) -> Option<Self> {
        let image = Image::shared()?;
        let folder = scratch();
        let docker = folder.path().join("docker");
        std::fs::write(&docker, "#!/bin/sh\nexec podman \"$@\"\n").unwrap();
        std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { image, folder, mark: Mark::new(test), running: None, ssh: None })
    }

    /// The PATH on which `docker` is Podman.
    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let (own, programs) = (self.folder.path().display(), bin_dir());
        format!("{own}:{0}:{0}/examples:{path}", programs.display())
    }

    /// A program with the mark.
    pub fn program(&self, name: &str) -> Command {
        let mut command = program(name);
        self.mark.put(&mut command).env("PATH", self.path()).current_dir(self.folder.path());
        command
    }

    /// bench-serve for these candidates.
    pub fn serve(&self, rows: &str) -> Command {
        let path = self.folder.path().join("rows.jsonl");
        std::fs::write(&path, rows).unwrap();
        let mut serve = self.program("bench-serve");
        serve.arg("--frameworks").arg(fixtures()).args(["--artifacts", "logs", "--grace", "2"]).arg(path);
        serve.stdin(Stdio::null());
        serve
    }

    /// The launcher of a plan by a short name: `podman`, `docker`, `docker_exec`, `ssh`, `ssh docker_exec`. Starts what it needs;
    /// `None`, said aloud, where that cannot be had.
    pub fn launcher(&mut self, names: &str) -> Option<String> {
        let mut all = Vec::new();
        for name in names.split(' ') {
            all.push(match name {
                "docker_exec" => format!("{{name: docker_exec, container: {}}}", self.container()),
                "ssh" => {
                    let path = self.path();
                    if self.ssh.is_none() {
                        self.ssh = Some(Sshd::start(self.folder.path(), &path)?);
                    }
                    let options = self.ssh.as_ref().map(|sshd| sshd.options.clone()).unwrap_or_default();
                    format!("{{name: ssh, host: 127.0.0.1, options: \"{options}\"}}")
                }
                name => name.to_string(),
            });
        }
        Some(format!("[{}]", all.join(", ")))
    }

    /// A container that runs, for `docker exec`.
    fn container(&mut self) -> String {
        let name = format!("bench-it-{}-{}", std::process::id(), self.folder.path().file_name().unwrap().display());
        if self.running.is_none() {
            let arguments =
                ["run", "-d", "--init", "--network", "host", "--name", &name, &self.image.0, "sleep", "1000"];
            let done = podman(&arguments).unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            self.running = Some(name.clone());
        }
        name
    }

    /// A plan for the fixture server with an option file and the mark: by name, so that its value is on no command line, unless
    /// the server is on another host.
    pub fn plan(&mut self, names: &str, flags: &str) -> Option<String> {
        let launcher = self.launcher(names)?;
        let mark = if names.contains("ssh") { self.mark.text().to_string() } else { "null".to_string() };
        // What runs already has its image.
        let own = names.ends_with("podman") || names.ends_with("docker");
        let image = if own { format!("    image: {}\n", self.image.0) } else { String::new() };
        Some(format!(
            "model: zoo\nhardware: {{gpu_count: 0}}\n\
             dataset: {{num_prompts: 4, scenario_names: [s], input_len: [8], output_len: [3]}}\n\
             benchmark: {{max_concurrency: [2], warmup_requests: 1}}\nframeworks:\n  zoo:\n\
             \x20   base_server_flags: {{options: {{a: 1}}{flags}}}\n    launcher: {launcher}\n{image}    \
             env: {{BENCH_IT_MARK: {mark}}}\n"
        ))
    }

    /// Candidate rows of [`Self::plan`].
    pub fn rows(&mut self, names: &str, flags: &str) -> Option<String> {
        self.plan(names, flags).map(|plan| candidates(&plan))
    }

    /// The servers that run now, with the mark in their environment.
    pub fn servers(&self) -> Vec<i32> {
        let found = processes_with(self.mark.text());
        let own = found.iter().filter(|line| line.split(' ').nth(1) == Some("zoo"));
        own.filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
    }

    /// Panics unless every server of the test is gone: its process, its container, and what watches that.
    #[track_caller]
    pub fn gone(&self, name: &str) {
        let containers = || {
            let filter = format!("name={name}");
            let listed = podman(&["ps", "-a", "--format", "{{.Names}}", "--filter", &filter]).unwrap();
            String::from_utf8_lossy(&listed.stdout).lines().map(String::from).collect::<Vec<_>>()
        };
        let left = || {
            let mut all = processes_with(self.mark.text());
            all.extend(processes_with(name));
            all.retain(|line| !line.contains("sshd -D"));
            all.extend(containers());
            all
        };
        if wait_until(GONE, || left().is_empty().then_some(())).is_none() {
            panic!("still there: {:#?}", left());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(name) = &self.running {
            let _ = podman(&["rm", "-f", "-t", "0", name]);
        }
        for line in processes_with(self.mark.text()) {
            if let Some(pid) = line.split(' ').next().and_then(|pid| pid.parse().ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// An ssh server of this user on a free port of the loopback address, with keys of its own.
struct Sshd {
    process: Child,
    /// ssh's options to reach it.
    options: String,
}

impl Sshd {
    fn start(folder: &Path, path: &str) -> Option<Self> {
        let program = Path::new("/usr/sbin/sshd");
        // Where it gives up its privileges; Debian's boot makes it.
        let _ = std::fs::create_dir("/run/sshd");
        if !program.is_file() || (nix::unistd::geteuid().is_root() && !Path::new("/run/sshd").is_dir()) {
            skipped("sshd is not installed");
            return None;
        }
        let file = |name: &str| folder.join(name).display().to_string();
        for key in ["host_key", "user_key"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]).status();
            assert!(made.unwrap().success());
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nSetEnv PATH={path}{}\n",
            file("host_key"),
            file("user_key.pub"),
            own_podman()
        );
        std::fs::write(file("sshd_config"), config).unwrap();
        let mut command = Command::new(program);
        let process = command.args(["-D", "-e", "-f", &file("sshd_config")]).stderr(Stdio::null()).spawn().unwrap();
        let options = format!(
            "-F none -p {port} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile={} -o LogLevel=ERROR",
            file("user_key"),
            file("known_hosts")
        );
        let sshd = Self { process, options };
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        wait_until(Duration::from_secs(5), up).expect("sshd listens");
        Some(sshd)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The variables by which Podman finds settings of its own, for a session of sshd.
fn own_podman() -> String {
    let set = |name: &str| Some(format!(" {name}={}", std::env::var(name).ok()?));
    ["CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"].into_iter().filter_map(set).collect()
}
