//! Runs the real programs: arguments and standard input in; status, standard output and standard error out.

#![allow(dead_code, reason = "not every helper has a test yet")]

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where cargo put the programs of this package.
pub fn bin_dir() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_bench-sim")).parent().unwrap().to_path_buf()
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder that is removed when the test ends.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bench-it-").tempdir().unwrap()
}

/// A program of this package, ready to be given arguments: this package's programs come first on its PATH, its standard
/// error is no terminal, and no environment of the user's changes its output.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(bin_dir().join(name));
    set_env(&mut command);
    command
}

/// `bash -o pipefail -c SCRIPT` with this package's programs first on the PATH.
pub fn bash(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script]);
    set_env(&mut command);
    command
}

fn set_env(command: &mut Command) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", bin_dir().display()));
    command.env_remove("NO_COLOR").env_remove("COLUMNS").env("LC_ALL", "C.UTF-8");
}

/// What a program did.
#[derive(Debug)]
pub struct Output {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output as JSON, a row per line.
    pub fn rows(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// The rows of one kind.
    pub fn records(&self, kind: &str) -> Vec<serde_json::Value> {
        self.rows().into_iter().filter(|row| row["record"] == kind).collect()
    }

    /// Panics with everything that was printed unless the program ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "signal {:?}\nstdout:\n{}\nstderr:\n{}",
            self.signal,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Runs `command` with `stdin` and collects what it prints. A program that takes longer than two minutes is killed.
pub fn run(command: &mut Command, stdin: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_string();
    // A program may end before it has read everything.
    let feeder = thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = finish(child, Duration::from_secs(120));
    feeder.join().unwrap();
    output
}

/// Waits for a child whose outputs are pipes (those that are not give empty text), and kills it after `limit`.
pub fn finish(mut child: Child, limit: Duration) -> Output {
    fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut bytes).unwrap();
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = match wait_until(limit, || child.try_wait().unwrap()) {
        Some(status) => status,
        None => {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("not done after {limit:?}\nstderr:\n{}", stderr.join().unwrap());
        }
    };
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    Output { code: status.code(), signal: status.signal(), stdout, stderr }
}

/// Asks `done` again and again until it gives something; `None` after `limit`.
pub fn wait_until<T>(limit: Duration, mut done: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        match done() {
            None if Instant::now() >= end => return None,
            None => thread::sleep(Duration::from_millis(5)),
            found => return found,
        }
    }
}

/// Processes whose command line or environment holds `marker`: what a test left behind.
pub fn processes_with(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|b| b.is_ascii_digit()) || pid == std::process::id().to_string() {
            continue;
        }
        let holds = |name: &str| {
            let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(marker)
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let zombie = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
        if !zombie && (holds("cmdline") || holds("environ")) {
            let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!("{pid} {}", String::from_utf8_lossy(&cmdline).replace('\0', " ")));
        }
    }
    found
}
