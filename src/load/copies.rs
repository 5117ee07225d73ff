//! `--jobs`: several servers at the same time, each driven by a copy of bench-load.
//!
//! A copy is a whole bench-load, with its own threads, connections and heartbeat: whether it fell behind its schedule is measured in
//! the copy itself, also where the CPUs that it lacked were those of another copy. Here is only what they share: the rows that come,
//! the output, the signals, and what they tell each other (see `news`).

use std::collections::VecDeque;
use std::fs::File;
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use tokio::sync::mpsc::Receiver;

use super::news::NEWS;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::rows::jsonl::{RowPlace, RowWriter};
use crate::rows::kinds::Slot;
use crate::rows::row::Row;
use crate::system::process::copies::{CopyEvent, CopyStarter, ProgramCopies, TASK_END};
use crate::system::process::reader_left;
use crate::system::process::signals::Signals;

/// Number of rows of copies that wait to be written.
const WAITING: usize = 1024;

/// The rows of a server that no copy has yet.
struct WaitingServer {
    id: String,
    lines: Vec<String>,
    /// Its end is among them, or it has none.
    has_ended: bool,
}

/// Hands servers to copies of bench-load.
pub struct LoadJobs<'a> {
    notice: &'a Notice,
    out: RowWriter<File>,
    signals: Signals,
    signal: Option<Signal>,
    copies: ProgramCopies,
    /// The server that each copy drives.
    servers: Vec<Option<String>>,
    waiting: VecDeque<WaitingServer>,
    /// What copies have told so far, for those that start later.
    told: Vec<String>,
    /// A copy that did its work reported errors.
    failed: bool,
}

impl<'a> LoadJobs<'a> {
    /// So many jobs without a server.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn new(jobs: usize, out: RowWriter<File>, notice: &'a Notice) -> Result<Self> {
        let (waiting, told) = (VecDeque::new(), Vec::new());
        Ok(Self {
            notice,
            out,
            signals: Signals::listen()?,
            signal: None,
            copies: ProgramCopies::new(jobs, WAITING),
            servers: vec![None; jobs],
            waiting,
            told,
            failed: false,
        })
    }

    /// Loads the servers of all rows; the signal to die by, if one came. No copy is left when it returns.
    ///
    /// # Errors
    /// When rows cannot be read or written, or a copy failed.
    pub async fn all(&mut self, rows: Receiver<Result<(Row, RowPlace)>>) -> Result<Option<Signal>> {
        let ended = self.load(rows).await;
        let written = self.end(self.signal.unwrap_or(Signal::SIGTERM)).await;
        let signal = ended?;
        written?;
        if self.failed && signal.is_none() {
            return Err(Error::new("one of the jobs reported errors"));
        }
        Ok(signal)
    }

    async fn load(&mut self, mut rows: Receiver<Result<(Row, RowPlace)>>) -> Result<Option<Signal>> {
        let mut is_over = false;
        loop {
            self.give_waiting()?;
            if is_over && self.waiting.is_empty() {
                // No end of a server comes any more.
                self.copies.close();
            }
            if self.copies.all_ended() && (self.signal.is_some() || (is_over && self.waiting.is_empty())) {
                return Ok(self.signal);
            }
            tokio::select! {
                biased;
                signal = self.signals.next() => {
                    self.signal = Some(signal);
                    self.waiting.clear();
                    self.copies.signal(signal);
                }
                () = reader_left(self.out.sink()) => return Ok(self.signal),
                (number, event) = self.copies.next() => self.take(number, event)?,
                row = rows.recv(), if !is_over => match row {
                    Some(row) => self.row(&row?.0)?,
                    None => {
                        is_over = true;
                        self.no_more_rows();
                    }
                },
            }
        }
    }

    /// Takes a row of the input: a server for a copy, its end for the same copy, anything else passes.
    fn row(&mut self, row: &Row) -> Result<()> {
        let id = row.str("server_id").unwrap_or_default();
        match row.record() {
            Some("server") => {
                if row.get("claim").is_some() {
                    return Err(Error::new(
                        "a claimed candidate (bench-expand --claim) needs a bench-load without --jobs",
                    ));
                }
                enough_jobs(row, self.servers.len())?;
                // As a single bench-load: what comes after a signal is not begun.
                if self.signal.is_none() {
                    let has_ended = row.get("endpoint").is_some_and(|endpoint| endpoint.get("lease").is_none());
                    self.waiting.push_back(WaitingServer { id: id.into(), lines: vec![row.line()], has_ended });
                }
                Ok(())
            }
            Some("server_end") => {
                let index = self.servers.iter().position(|server| server.as_deref() == Some(id));
                if let Some(copy) = index.and_then(|index| self.copies.get(index)) {
                    copy.give(row.line());
                    copy.give(TASK_END.into());
                } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.id == id) {
                    waiting.lines.push(row.line());
                    waiting.has_ended = true;
                } else {
                    self.out.write(row)?;
                }
                Ok(())
            }
            _ => self.out.write(row),
        }
    }

    /// The input has ended: servers whose end has not come have none.
    fn no_more_rows(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| waiting.has_ended = true);
        let busy = self.servers.iter().enumerate().filter(|(_, server)| server.is_some());
        busy.filter_map(|(index, _)| self.copies.get(index)).for_each(|copy| copy.give(TASK_END.into()));
    }

    /// Gives servers that wait to copies that have none.
    fn give_waiting(&mut self) -> Result<()> {
        while let Some(index) = self.servers.iter().position(Option::is_none).filter(|_| !self.waiting.is_empty()) {
            let Some(waiting) = self.waiting.pop_front() else { return Ok(()) };
            let told: &[String] = if self.copies.get(index).is_some() { &[] } else { &self.told };
            let copy = self.copies.started(index, || CopyStarter::new(&["--copy"]))?;
            self.servers[index] = Some(waiting.id);
            let end = waiting.has_ended.then(|| TASK_END.to_string());
            told.iter().cloned().chain(waiting.lines).chain(end).for_each(|line| copy.give(line));
        }
        Ok(())
    }

    /// Takes an event of a copy.
    fn take(&mut self, index: usize, event: CopyEvent) -> Result<()> {
        match event {
            CopyEvent::Said(line) => {
                self.notice.relay(&line);
                Ok(())
            }
            CopyEvent::Row(line) if line == TASK_END => {
                self.servers[index] = None;
                Ok(())
            }
            CopyEvent::Row(line) if is_news(&line) => {
                self.copies.others(index).for_each(|copy| copy.give(line.clone()));
                self.told.push(line);
                Ok(())
            }
            CopyEvent::Row(line) => write_row(&mut self.out, line),
            CopyEvent::Ended(status) => self.ended(index, status),
        }
    }

    /// A copy has ended: as it was asked to, or something is wrong.
    fn ended(&mut self, index: usize, status: ExitStatus) -> Result<()> {
        let server = self.servers[index].take();
        self.failed |= !status.success();
        match server {
            Some(server) if self.signal.is_none() && status.code().is_none() => {
                Err(Error::new(format!("the bench-load of {server} ended ({status})")))
            }
            _ => Ok(()),
        }
    }

    /// Stops all copies with a signal, and passes on what they still write.
    async fn end(&mut self, signal: Signal) -> Result<()> {
        let out = &mut self.out;
        let write = |line: String| if is_news(&line) { Ok(()) } else { write_row(out, line) };
        self.copies.end(signal, self.notice, write).await
    }
}

fn write_row(out: &mut RowWriter<File>, mut line: String) -> Result<()> {
    line.push('\n');
    out.write_whole(line.as_bytes())
}

fn is_news(line: &str) -> bool {
    line.strip_prefix("{\"schema_version\":1,\"record\":\"").is_some_and(|rest| rest.starts_with(NEWS))
}

/// Checks that as many servers can be loaded at the same time as are leased.
///
/// # Errors
/// There are too few jobs: a server would wait for a client that is busy with another one.
pub fn enough_jobs(row: &Row, jobs: usize) -> Result<()> {
    let slot = row.get("slot").and_then(|slot| serde_json::from_value::<Slot>(slot.clone()).ok());
    match slot {
        Some(slot) if slot.of > jobs => Err(Error::new(format!(
            "bench-serve --slots {} leases {} servers at the same time: use bench-load --jobs {}",
            slot.slots, slot.of, slot.of
        ))),
        _ => Ok(()),
    }
}
