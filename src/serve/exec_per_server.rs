//! The chain form: one program per server, with the server's row on its standard input.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdout, Command};

use super::failure::{CandidateFailure, LeaseOutcome, NextStep};
use super::launch::Launch;
use crate::base::error::Error;
use crate::base::notice::Notice;
use crate::rows::jsonl;
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::Native;
use crate::rows::row::Row;
use crate::rows::words::FailureClass;
use crate::system::process::group::ProcessGroup;
use crate::system::run_folder::SERVER_MARK;

/// How long to read standard error after the program has ended.
const STDERR_LIMIT: Duration = Duration::from_secs(1);
/// Standard error is passed on after this number of bytes even without an end of line.
const MAX_PIECE: usize = 64 << 10;

/// Runs `argv` and copies its output, with secrets removed: rows unchanged, JSON objects without `record` as `native` rows,
/// anything else to standard error.
pub async fn run(
    argv: &[String],
    row: &Row,
    (launch, mark): (&Launch, String),
    out: &mut RowWriter<File>,
    notice: &Notice,
) -> LeaseOutcome {
    match copy(argv, row, (launch, mark), out, notice).await {
        Ok(None) => LeaseOutcome::Done,
        Ok(Some(failed)) => LeaseOutcome::Failed(failed),
        Err(e) if e.is_reader_left() => LeaseOutcome::Ended(NextStep::ReaderLeft),
        Err(e) => LeaseOutcome::Ended(NextStep::Broken(e)),
    }
}

async fn copy(
    argv: &[String],
    row: &Row,
    (launch, mark): (&Launch, String),
    out: &mut RowWriter<File>,
    notice: &Notice,
) -> Result<Option<CandidateFailure>, Error> {
    let endpoint = |key: &str| row.get("endpoint").and_then(|e| e[key].as_str()).unwrap_or_default().to_string();
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .env(SERVER_MARK, mark)
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
    // The program and what it started end with this function, however it ends.
    let _group = ProcessGroup::of(&child);
    let input = child.stdin.take();
    let output = child.stdout.take().ok_or_else(|| Error::new("the program has no standard output"))?;
    let errors = child.stderr.take().ok_or_else(|| Error::new("the program has no standard error"))?;
    let relaying = relay(errors, notice);
    let running = async {
        if let Some(mut input) = input {
            // A program may close its input unread: not an error.
            let _ = input.write_all(format!("{}\n", row.line()).as_bytes()).await;
        }
        rows(output, row, launch, out, notice).await?;
        child.wait().await.map_err(|e| Error::new("cannot wait for the program").because(e))
    };
    tokio::pin!(relaying, running);
    let status = tokio::select! {
        status = &mut running => {
            // A child of the program may hold standard error open.
            let _ = tokio::time::timeout(STDERR_LIMIT, relaying).await;
            status?
        }
        () = &mut relaying => running.await?,
    };
    Ok((!status.success()).then(|| {
        let why = format!("{:?} failed ({status}); its messages are on standard error", argv[0]);
        CandidateFailure::new(FailureClass::ClientFailed, why)
    }))
}

/// Copies the program's standard output until it is closed.
async fn rows(
    output: ChildStdout,
    given: &Row,
    launch: &Launch,
    out: &mut RowWriter<File>,
    notice: &Notice,
) -> Result<(), Error> {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = output.read_until(b'\n', &mut bytes).await;
        if read.map_err(|e| Error::new("cannot read the program's output").because(e))? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
        match Row::parse(&line) {
            Ok(mut printed) if printed.get("record").is_some() => {
                jsonl::foreign_row(&mut printed, launch.redactor(), given);
                out.write(&printed)?;
            }
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

/// Copies standard error, line by line; each step of a progress bar counts as a line.
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
