//! The chain form: one program per server, with the server's row on its standard input.

use std::fs::File;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::launch::Launch;
use super::leased::Used;
use super::{After, Failed};
use crate::error::Error;
use crate::jsonl::Writer;
use crate::notice::Notice;
use crate::row::Row;
use crate::schema::Native;

/// Runs `argv` and copies what it prints: a row as it is, a JSON object without `record` as a `native` row, anything else
/// to standard error.
pub async fn run(argv: &[String], row: &Row, launch: &Launch, out: &mut Writer<File>, notice: &Notice) -> Used {
    match copy(argv, row, launch, out, notice).await {
        Ok(None) => Used::Done,
        Ok(Some(failed)) => Used::Failed(failed),
        Err(e) if e.is_reader_left() => Used::Ended(After::ReaderLeft),
        Err(e) => Used::Ended(After::Broken(e)),
    }
}

async fn copy(
    argv: &[String],
    row: &Row,
    launch: &Launch,
    out: &mut Writer<File>,
    notice: &Notice,
) -> Result<Option<Failed>, Error> {
    let endpoint = |key: &str| row.get("endpoint").and_then(|e| e[key].as_str()).unwrap_or_default().to_string();
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .env("BENCH_BASE_URL", endpoint("base_url"))
        .env("BENCH_MODEL", endpoint("model_id"))
        .env("BENCH_CANDIDATE_ID", row.str("candidate_id").unwrap_or_default())
        .env("BENCH_ARTIFACTS", launch.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| Error::new(format!("cannot execute {:?}", argv[0])).because(e))?;
    // Whatever ends the wait for the program ends the program, and what it started.
    let _group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()));
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read its input closes it: no error.
        let _ = input.write_all(format!("{}\n", row.line()).as_bytes()).await;
    }
    let output = child.stdout.take().ok_or_else(|| Error::new("the program has no standard output"))?;
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = output.read_until(b'\n', &mut bytes).await;
        if read.map_err(|e| Error::new("cannot read what the program prints").because(e))? == 0 {
            break;
        }
        let line = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
        match Row::parse(&line) {
            Ok(printed) if printed.get("record").is_some() => out.write(&printed)?,
            Ok(payload) => {
                let (server_id, payload) = (launch.server_id.clone(), payload.map().clone());
                let native = Row::new("native", &Native { format: None, server_id, run: None, payload });
                out.write(&native)?;
            }
            Err(_) => notice.plain(&line),
        }
    }
    let status = child.wait().await.map_err(|e| Error::new("cannot wait for the program").because(e))?;
    Ok((!status.success()).then(|| {
        let why = format!("{:?} ended with {status}; its messages are on standard error", argv[0]);
        Failed::of("client_failed", why)
    }))
}

/// A process group that ends with this.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}
