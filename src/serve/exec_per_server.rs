//! The chain form: one program per server, with the server's row on its standard input.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdout, Command};

use super::launch::Launch;
use super::leased::LeaseOutcome;
use super::{CandidateFailure, NextStep};
use crate::base::error::Error;
use crate::base::notice::Notice;
use crate::rows::jsonl;
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::Native;
use crate::rows::row::Row;
use crate::rows::words::FailureClass;

/// How long standard error is waited for when the program has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The longest piece of standard error without an end of line that is waited for, in bytes.
const MAX_PIECE: usize = 64 << 10;

/// Runs `argv` and copies what it prints: a row as it is, a JSON object without `record` as a `native` row, anything else
/// to standard error. None of it with a secret.
pub async fn run(
    argv: &[String],
    row: &Row,
    launch: &Launch,
    out: &mut RowWriter<File>,
    notice: &Notice,
) -> LeaseOutcome {
    match copy(argv, row, launch, out, notice).await {
        Ok(None) => LeaseOutcome::Done,
        Ok(Some(failed)) => LeaseOutcome::Failed(failed),
        Err(e) if e.is_reader_left() => LeaseOutcome::Ended(NextStep::ReaderLeft),
        Err(e) => LeaseOutcome::Ended(NextStep::Broken(e)),
    }
}

async fn copy(
    argv: &[String],
    row: &Row,
    launch: &Launch,
    out: &mut RowWriter<File>,
    notice: &Notice,
) -> Result<Option<CandidateFailure>, Error> {
    let endpoint = |key: &str| row.get("endpoint").and_then(|e| e[key].as_str()).unwrap_or_default().to_string();
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .env("BENCH_BASE_URL", endpoint("base_url"))
        .env("BENCH_MODEL", endpoint("model_id"))
        .env("BENCH_CANDIDATE_ID", row.str("candidate_id").unwrap_or_default())
        .env("BENCH_ARTIFACTS", launch.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| Error::new(format!("cannot execute {:?}", argv[0])).because(e))?;
    // Whatever ends the wait for the program ends the program, and what it started.
    let _group = ServerProcessGroup(child.id().and_then(|pid| i32::try_from(pid).ok()));
    let input = child.stdin.take();
    let output = child.stdout.take().ok_or_else(|| Error::new("the program has no standard output"))?;
    let errors = child.stderr.take().ok_or_else(|| Error::new("the program has no standard error"))?;
    let relaying = relay(errors, notice);
    let running = async {
        if let Some(mut input) = input {
            // A program that does not read its input closes it: no error.
            let _ = input.write_all(format!("{}\n", row.line()).as_bytes()).await;
        }
        rows(output, launch, out, notice).await?;
        child.wait().await.map_err(|e| Error::new("cannot wait for the program").because(e))
    };
    tokio::pin!(relaying, running);
    let status = tokio::select! {
        status = &mut running => {
            // What it started may keep standard error open.
            let _ = tokio::time::timeout(LAST_WORDS, relaying).await;
            status?
        }
        () = &mut relaying => running.await?,
    };
    Ok((!status.success()).then(|| {
        let why = format!("{:?} ended with {status}; its messages are on standard error", argv[0]);
        CandidateFailure::of(FailureClass::ClientFailed, why)
    }))
}

/// Copies what the program prints until it has closed its standard output.
async fn rows(output: ChildStdout, launch: &Launch, out: &mut RowWriter<File>, notice: &Notice) -> Result<(), Error> {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = output.read_until(b'\n', &mut bytes).await;
        if read.map_err(|e| Error::new("cannot read what the program prints").because(e))? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
        match Row::parse(&line) {
            Ok(printed) if printed.get("record").is_some() => out.write(&printed)?,
            Ok(payload) => {
                let (server_id, mut payload) = (launch.server_id.clone(), payload.map().clone());
                jsonl::foreign(&mut payload, launch.redactor());
                let native = Row::new("native", &Native { format: None, server_id, run: None, payload });
                out.write(&native)?;
            }
            Err(_) => notice.relay(&launch.redactor().redact(&format!("{line}\n"))),
        }
    }
}

/// Copies standard error, line by line and step by step of a progress bar.
async fn relay(mut errors: ChildStderr, notice: &Notice) {
    let (mut buffer, mut waiting) = (vec![0; 1 << 13], Vec::new());
    while let Ok(read @ 1..) = errors.read(&mut buffer).await {
        waiting.extend_from_slice(&buffer[..read]);
        let ends = waiting.iter().rposition(|byte| b"\r\n".contains(byte));
        let whole = ends.map(|at| at + 1).or((waiting.len() >= MAX_PIECE).then_some(waiting.len()));
        if let Some(whole) = whole {
            let rest = waiting.split_off(whole);
            notice.relay(&String::from_utf8_lossy(&waiting));
            waiting = rest;
        }
    }
    if !waiting.is_empty() {
        notice.relay(&String::from_utf8_lossy(&waiting));
    }
}

/// A process group that ends with this.
struct ServerProcessGroup(Option<i32>);

impl Drop for ServerProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}
