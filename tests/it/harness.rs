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
    // The fixture servers stand beside the programs.
    let programs = bin_dir();
    command.env("PATH", format!("{0}:{0}/examples:{path}", programs.display()));
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

/// Each line as JSON.
pub fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The rows in a file.
pub fn rows_in(path: &Path) -> Vec<serde_json::Value> {
    json_lines(&std::fs::read_to_string(path).unwrap())
}

/// Writes `plan.yaml` into a folder.
pub fn write_plan(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("plan.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

impl Output {
    /// Standard output as JSON, a row per line.
    pub fn rows(&self) -> Vec<serde_json::Value> {
        json_lines(&self.stdout)
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

/// Whole lines of a child's standard output up to the first that holds `word`. Nothing behind it is taken: [`finish`] gives the
/// rest.
pub fn read_until(child: &mut Child, word: &str) -> String {
    let mut text = String::new();
    let out = child.stdout.as_mut().unwrap();
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "no line holds {word}:\n{text}");
        line.push(byte[0]);
        if byte[0] == b'\n' {
            let whole = String::from_utf8(std::mem::take(&mut line)).unwrap();
            text.push_str(&whole);
            if whole.contains(word) {
                return text;
            }
        }
    }
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

/// A mark that everything started with it carries in its environment, however far it wanders.
pub struct Mark(String);

impl Mark {
    /// One that no other test has.
    pub fn new(test: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("bench-it-{test}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Puts the mark on a command.
    pub fn put<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("BENCH_IT_MARK", &self.0)
    }

    /// Panics unless everything with the mark ends within `limit`.
    #[track_caller]
    pub fn gone_within(&self, limit: Duration) {
        let left = || Some(processes_with(&self.0)).filter(Vec::is_empty);
        if wait_until(limit, left).is_none() {
            panic!("still there after {limit:?}:\n{}", processes_with(&self.0).join("\n"));
        }
    }

    /// The processes with the mark whose command line holds `word`.
    pub fn pids(&self, word: &str) -> Vec<i32> {
        let found = processes_with(&self.0).into_iter().filter(|line| line.contains(word));
        found.filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
    }
}

/// `plan` as candidate rows, with the fixture server as a framework.
pub fn candidates(plan: &str) -> String {
    let folder = scratch();
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, plan).unwrap();
    run(program("bench-expand").args(["--quiet", "--frameworks"]).arg(fixtures()).arg(&path), "").expect(0).stdout
}

/// The folder of the fixture server's definition.
pub fn fixtures() -> PathBuf {
    root().join("tests/fixtures")
}

/// A plan for the fixture server: one scenario, one load, these flags.
pub fn zoo_plan(flags: &str) -> String {
    format!(
        "model: zoo\nhardware: {{gpu_count: 1}}\ndataset: {{num_prompts: 4, scenario_names: [s], input_len: [8], output_len: [3]}}\n\
         benchmark: {{max_concurrency: [2], warmup_requests: 1}}\nframeworks:\n  zoo:\n    base_server_flags: {flags}\n"
    )
}

/// Sends `signal` to one process.
pub fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// Sends `signal` to a process group, as a terminal does.
pub fn kill_group(leader: u32, signal: nix::sys::signal::Signal) {
    let group = nix::unistd::Pid::from_raw(i32::try_from(leader).unwrap());
    nix::sys::signal::killpg(group, signal).unwrap();
}

/// How often a loop that looks for leaks runs: `short`, or `long` under `scripts/test --all`.
pub fn times(short: u32, long: u32) -> u32 {
    if std::env::var_os("BENCH_TEST_ALL").is_some() { long } else { short }
}

/// Says that a test cannot run here, where nobody can miss it.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Prints a figure of a test that runs for minutes.
pub fn say(line: &str) {
    let mut out = std::io::stderr();
    let _ = std::io::Write::write_fmt(&mut out, format_args!("{line}\n"));
}

/// A server that runs beside a test and ends with it.
pub struct Running {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
}

impl Running {
    /// bench-sim with these arguments, on a free port.
    pub fn sim(args: &[&str]) -> Self {
        let mut command = program("bench-sim");
        command.args(args);
        Self::of(command)
    }

    /// This bench-sim on a free port.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.args(["--port", "0", "--load-ms", "0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.take().unwrap()), &mut line).unwrap();
        let url = line.split(' ').find(|word| word.starts_with("http://")).unwrap_or_else(|| panic!("{line}"));
        Self { url: url.trim_end_matches(':').to_string(), child }
    }

    /// The fixture server with these habits.
    pub fn zoo(args: &[&str]) -> Self {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = program("examples/zoo");
        let child = command.args(["--port", &port.to_string()]).args(args).stderr(Stdio::null()).spawn().unwrap();
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        wait_until(Duration::from_secs(10), up).expect("the fixture server listens");
        Self { child, url: format!("http://127.0.0.1:{port}") }
    }

    /// The server whose times are known; it tells in `truth` what it did.
    pub fn truth(args: &[&str], truth: &Path) -> Self {
        let mut command = program("examples/truth");
        let mut child = command.args(args).arg("--truth").arg(truth).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        Self { url: line.trim().to_string(), child }
    }

    /// Asks the server for so many tokens, and returns when the last of them has come.
    pub fn answers(&self, tokens: u32) {
        let address = self.url.trim_start_matches("http://");
        let body = serde_json::json!({"prompt": "a", "max_tokens": tokens, "stream": true}).to_string();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "POST /v1/completions HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
        assert!(lines.map(Result::unwrap).any(|line| line == "data: [DONE]"), "the stream ends");
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
