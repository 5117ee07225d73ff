//! `--on-event CMD`: a command that is told what happens in a sweep, one row on its standard input each time.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Write};
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
use crate::system::process::group;
use crate::system::stopwatch::Stopwatch;

/// How often to look for new rows.
const TICK: Duration = Duration::from_millis(200);
/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs a command at events.
pub struct EventCommand {
    command: String,
    folder: PathBuf,
    limit: Duration,
    running: Mutex<Vec<RunningCommand>>,
    notice: &'static Notice,
}

/// A command that has not ended.
struct RunningCommand {
    child: Child,
    since: Stopwatch,
}

impl EventCommand {
    /// The command of a sweep in `folder`.
    pub fn new(command: &str, folder: &Path, notice: &'static Notice) -> Arc<Self> {
        Arc::new(Self::with_limit(command, folder, LIMIT, notice))
    }

    fn with_limit(command: &str, folder: &Path, limit: Duration, notice: &'static Notice) -> Self {
        Self { command: command.into(), folder: folder.into(), limit, running: Mutex::default(), notice }
    }

    /// Runs the command with an event, and does not wait for it.
    pub fn tell(&self, event: SweepEvent, stage: Option<Stage>, more: &Value) {
        let row = Row::new(
            "event",
            &json!({
                "event": event, "folder": self.folder, "at": Timestamp::now().to_string(), "stage": stage, "of": more,
            }),
        );
        self.end_late();
        match self.start(&row) {
            Ok(child) => {
                if let Ok(mut running) = self.running.lock() {
                    running.push(RunningCommand { child, since: Stopwatch::start() });
                }
            }
            Err(e) => self.notice.warn(Error::new("cannot run the command of --on-event").because(e).to_string()),
        }
    }

    /// Starts the command. Its standard input is a file, so a command that does not read it stops nobody.
    fn start(&self, row: &Row) -> std::io::Result<Child> {
        let mut input = tempfile::tempfile()?;
        writeln!(input, "{}", row.line())?;
        input.rewind()?;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&self.command).stdin(input).stdout(Stdio::null());
        // Of a group of its own, so that everything it starts can be ended, and a Ctrl-C does not end the message about it.
        group::lead(&mut shell);
        shell.spawn()
    }

    /// Forgets the commands that have ended, and ends those that take too long; whether any is left.
    fn end_late(&self) -> bool {
        let Ok(mut running) = self.running.lock() else { return false };
        running.retain_mut(|RunningCommand { child, since }| {
            if !child.try_wait().is_ok_and(|status| status.is_none()) {
                return false;
            }
            if since.elapsed() < self.limit {
                return true;
            }
            group::kill_all(child.id());
            let _ = child.wait();
            let limit = self.limit.as_secs_f64();
            self.notice.warn(format!("killed the command of --on-event: it took more than {limit} s"));
            false
        });
        !running.is_empty()
    }

    /// Waits for the last commands.
    pub fn finish(&self) {
        while self.end_late() {
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
                events.end_late();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn notice() -> &'static Notice {
        Box::leak(Box::new(Notice::new("bench-sweep", true)))
    }

    #[test]
    fn a_command_that_does_not_read_a_long_row_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let events =
            EventCommand::new(&format!("sleep 2; touch {}/done", folder.path().display()), folder.path(), notice());
        let begun = Stopwatch::start();
        events.tell(SweepEvent::Failure, None, &json!({"failure_reason": "x".repeat(1 << 20)}));
        assert!(begun.elapsed() < Duration::from_secs(1), "the sweep waited for the command");
        events.finish();
        assert!(folder.path().join("done").exists(), "its last commands are waited for");
    }

    #[test]
    fn a_command_gets_the_row_and_ends_after_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let (row, pid) = (folder.path().join("row"), folder.path().join("pid"));
        let command = format!("cat > {}; sleep 60 & echo $! > {}; wait", row.display(), pid.display());
        let events = EventCommand::with_limit(&command, folder.path(), Duration::from_secs(2), notice());
        events.tell(SweepEvent::Stage, Some(Stage::Search), &Value::Null);
        events.finish();
        let row = Row::parse(std::fs::read_to_string(row).unwrap().trim()).unwrap();
        assert_eq!((row.record(), row.str("event"), row.str("stage")), (Some("event"), Some("stage"), Some("search")));
        let sleeper: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        // A process that was killed takes a moment to end.
        let state = || std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        let has_ended = |state: &str| state.is_empty() || state.contains(") Z ");
        for _ in 0..100 {
            if has_ended(&state()) {
                return;
            }
            std::thread::sleep(TICK / 10);
        }
        panic!("what the command started has not ended: {}", state());
    }
}
