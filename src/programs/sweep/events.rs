//! `--on-event CMD`: a command that is told what happens in a sweep, one row on its standard input each time.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base::error::Error;
use crate::base::notice::Notice;
use crate::rows::row::Row;
use crate::rows::words::{Stage, Status, SweepEvent};
use crate::system::stopwatch::Stopwatch;

/// How often to look for new rows.
const TICK: Duration = Duration::from_millis(200);
/// How long the last commands may take when the sweep ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a command at events.
pub struct EventCommand {
    command: String,
    folder: PathBuf,
    running: Mutex<Vec<Child>>,
    notice: &'static Notice,
}

impl EventCommand {
    /// The command of a sweep in `folder`.
    pub fn new(command: &str, folder: &Path, notice: &'static Notice) -> Arc<Self> {
        Arc::new(Self { command: command.into(), folder: folder.into(), running: Mutex::default(), notice })
    }

    /// Runs the command with an event, and does not wait for it.
    pub fn tell(&self, event: SweepEvent, stage: Option<Stage>, more: &Value) {
        let row = Row::new(
            "event",
            &json!({
                "event": event, "folder": self.folder, "at": Timestamp::now().to_string(), "stage": stage, "of": more,
            }),
        );
        let shell = Command::new("sh").arg("-c").arg(&self.command).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let told = shell.and_then(|mut child| {
            // A row fits into the pipe's buffer, and a command need not read it.
            let written = child.stdin.take().map(|mut input| writeln!(input, "{}", row.line()));
            if let Ok(mut running) = self.running.lock() {
                running.retain_mut(|child| child.try_wait().is_ok_and(|status| status.is_none()));
                running.push(child);
            }
            match written {
                Some(Err(e)) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e),
                _ => Ok(()),
            }
        });
        if let Err(e) = told {
            self.notice.warn(Error::new("cannot run the command of --on-event").because(e).to_string());
        }
    }

    /// Waits for the last commands.
    pub fn finish(&self) {
        let begun = Stopwatch::start();
        let Ok(mut running) = self.running.lock() else { return };
        while begun.elapsed() < PATIENCE {
            running.retain_mut(|child| child.try_wait().is_ok_and(|status| status.is_none()));
            if running.is_empty() {
                return;
            }
            std::thread::sleep(TICK / 10);
        }
    }
}

/// Watches the rows of a pipe for candidates that fail.
pub struct FailureWatch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl FailureWatch {
    /// Watches a file of rows from its beginning.
    pub fn start(path: PathBuf, events: Arc<EventCommand>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let Ok(file) = File::open(path) else { return };
            let mut rows = BufReader::new(file);
            let mut line = String::new();
            loop {
                // The last look is after the end.
                let last = is_over.load(Ordering::Acquire);
                while rows.read_line(&mut line).is_ok_and(|n| n > 0) && line.ends_with('\n') {
                    failure(&line).into_iter().for_each(|row| events.tell(SweepEvent::Failure, None, &row));
                    line.clear();
                }
                if last {
                    return;
                }
                std::thread::sleep(TICK);
            }
        });
        Self { over, thread }
    }

    /// Reads the rest, and ends.
    pub fn finish(self) {
        self.over.store(true, Ordering::Release);
        // It has nothing to report.
        let _ = self.thread.join();
    }
}

/// The row of a candidate that failed.
fn failure(line: &str) -> Option<Value> {
    // Most rows are requests.
    let row = line.contains("\"server_end\"").then(|| Row::parse(line).ok())??;
    let failed =
        row.record() == Some("server_end") && row.str("status").is_some_and(|status| status != Status::Ok.as_str());
    failed.then(|| Value::Object(row.map().clone()))
}
