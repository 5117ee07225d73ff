//! The output of short commands, within a time limit; and saving it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::proc;
use crate::base::error::{Context, Error, Result};
use crate::base::{redact, shell};
use crate::system::whole_file::part_in;

/// Runs `argv` and returns its standard output and error together, whatever its status.
///
/// # Errors
/// When it cannot be executed or takes longer than `limit`.
pub fn capture(argv: &[String], limit: Duration) -> Result<String> {
    outcome(argv, &[], limit).map(|(text, _)| text)
}

/// Runs `argv`, which must succeed, and returns its standard output and error together. `environment` is added to this
/// process's own.
///
/// # Errors
/// When it cannot be executed, takes longer than `limit`, or fails: the reason is the last line of its output.
pub fn succeeding(argv: &[String], environment: &[(String, String)], limit: Duration) -> Result<String> {
    let (text, status) = outcome(argv, environment, limit)?;
    if status.success() {
        return Ok(text);
    }
    Err(Error::new(format!("{} failed ({status}): {}", shell::join(argv), last_line(&text))))
}

/// The last line of what a failed command printed that says why.
#[must_use]
pub fn last_line(text: &str) -> &str {
    // Some commands end with a hint about their --help; the error is the line before it.
    let says = |line: &&str| !line.trim().is_empty() && !line.starts_with("Run '");
    text.lines().rev().find(says).unwrap_or_default().trim()
}

/// Runs `argv` without input and without blocking the runtime; returns its streams separately, whatever its status.
/// `environment` is added to this process's own. The command is killed at the limit, or when the future is dropped.
///
/// # Errors
/// When it cannot be executed or takes longer than `limit`.
pub async fn output(argv: &[String], environment: &[(String, String)], limit: Duration) -> Result<Output> {
    let [program, arguments @ ..] = argv else { return Err(Error::new("no command")) };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).envs(environment.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(limit, command.output()).await {
        Ok(output) => output.map_err(|e| cannot_execute(program, e)),
        Err(_) => Err(too_slow(limit)),
    }
}

pub(super) fn cannot_execute(program: &str, because: std::io::Error) -> Error {
    Error::new(format!("cannot execute {program:?}")).because(because)
}

pub(super) fn too_slow(limit: Duration) -> Error {
    Error::new(format!("it did not finish within {} s", limit.as_secs()))
}

/// Runs `argv` and returns its standard output and error together, and its status. `environment` is added to this process's
/// own.
///
/// # Errors
/// When it cannot be executed or takes longer than `limit`.
pub fn outcome(argv: &[String], environment: &[(String, String)], limit: Duration) -> Result<(String, ExitStatus)> {
    let [program, arguments @ ..] = argv else { return Err(Error::new("no command")) };
    let (mut read, write) = std::io::pipe().context("cannot create a pipe")?;
    let copy = write.try_clone().context("cannot copy a pipe")?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(write)
        .stderr(copy)
        .spawn()
        .map_err(|e| cannot_execute(program, e))?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = read.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for the command")? {
            break status;
        }
        if begun.elapsed() > limit {
            // It may have started a server instead of printing its help: end its descendants too.
            let family = i32::try_from(child.id()).map_or_else(|_| Vec::new(), |pid| proc::descendants(pid, None));
            let _ = child.kill();
            let _ = child.wait();
            for process in family.iter().filter(|process| process.lives()) {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            return Err(too_slow(limit));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = reader.join().map_err(|_| Error::new("cannot read its output"))?;
    Ok((text, status))
}

/// Writes a file with known secrets removed, first under a temporary name in the same folder, then renamed.
///
/// # Errors
/// What the system reports.
pub fn save(path: &Path, text: &str) -> Result<()> {
    // Only its user reads it, unlike what `--output` writes for others.
    let at = |e: std::io::Error| Error::new("cannot write").because(e).at(path.display().to_string());
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(at)?;
    let mut file = part_in(folder, path).map_err(at)?;
    file.write_all(redact::outgoing(text).as_bytes()).map_err(at)?;
    file.as_file().sync_all().map_err(at)?;
    file.persist(path).map_err(|e| at(e.error))?;
    Ok(())
}
