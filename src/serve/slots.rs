//! `--slots`: several candidates at the same time, each served by a copy of bench-serve that has one slot of the host.
//!
//! A copy is a whole bench-serve, with its own guard, locks and CPUs; here is only what they share: the candidates, the output, what
//! failed starts say about others, and the signals.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::ExitStatus;
use std::time::Instant;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use tokio::sync::mpsc::Receiver;

use super::earlier::EarlierStarts;
use super::events::{CandidateEvents, ServeProgress};
use super::failure::NO_TIME;
use super::options::{ServeOptions, SlotPlan};
use super::rows;
use super::slot_use::SlotUse;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::rows::jsonl::{RowPlace, RowWriter};
use crate::rows::kinds::Candidate;
use crate::rows::row::Row;
use crate::rows::words::FailureClass;
use crate::system::process::copies::{CopyEvent, CopyStarter, ProgramCopies, TASK_END};
use crate::system::process::reader_left;
use crate::system::process::signals::Signals;
use crate::system::stop_file;

/// Number of rows of copies that wait to be written.
const WAITING: usize = 64;
/// How long a server may wait for the others that are to be leased together with it, besides the time for a client, s.
const TOGETHER_S: &str = "3600";

/// A candidate whose turn is next.
struct NextCandidate {
    row: Row,
    candidate: Candidate,
    how: SlotUse,
}

/// Serves candidates in the slots of a plan.
pub struct SlotBoard<'a> {
    plan: &'a SlotPlan,
    options: &'a ServeOptions,
    notice: &'a Notice,
    out: RowWriter<File>,
    signals: Signals,
    begun: Instant,
    starts: EarlierStarts,
    copies: ProgramCopies,
    /// Of each slot, how the candidate that it serves uses the slots.
    busy: Vec<Option<SlotUse>>,
    /// How the copies that run were started: for one candidate with all GPUs, for servers that wait for each other, or else.
    arrangement: SlotUse,
    next: Option<NextCandidate>,
    /// `server` rows of a slot check that wait for the others.
    held: Vec<Row>,
    models_started: BTreeSet<String>,
    so_far: ServeProgress,
}

impl<'a> SlotBoard<'a> {
    /// A board without candidates.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn new(
        plan: &'a SlotPlan,
        starts: EarlierStarts,
        out: RowWriter<File>,
        options: &'a ServeOptions,
        notice: &'a Notice,
    ) -> Result<Self> {
        let slots = plan.slots.slots().len();
        Ok(Self {
            plan,
            options,
            notice,
            out,
            signals: Signals::listen()?,
            begun: Instant::now(),
            starts,
            copies: ProgramCopies::new(slots, WAITING),
            busy: vec![None; slots],
            arrangement: SlotUse::Beside,
            next: None,
            held: Vec::new(),
            models_started: BTreeSet::new(),
            so_far: ServeProgress::default(),
        })
    }

    /// Serves all candidates; the signal to die by, if one came. No copy is left when it returns.
    ///
    /// # Errors
    /// When rows cannot be read or written, or a copy failed.
    pub async fn all(&mut self, rows: Receiver<Result<(Row, RowPlace)>>) -> Result<Option<Signal>> {
        let ended = self.serve(rows).await;
        // In order: those that are ready were announced to nobody, or are in use.
        let signal = match &ended {
            Ok(Some(signal)) => *signal,
            Ok(None) | Err(_) => Signal::SIGTERM,
        };
        let written = self.end(signal).await;
        ended.and_then(|signal| written.map(|()| signal))
    }

    async fn serve(&mut self, mut rows: Receiver<Result<(Row, RowPlace)>>) -> Result<Option<Signal>> {
        let mut is_over = false;
        loop {
            if stop_file::is_asked() {
                is_over = true;
                self.next = None;
            }
            self.give_next()?;
            self.lease_together(is_over)?;
            if is_over && self.next.is_none() && self.is_idle() {
                self.copies.close();
                if self.copies.all_ended() {
                    return Ok(None);
                }
            }
            tokio::select! {
                biased;
                signal = self.signals.next() => return Ok(Some(signal)),
                (number, event) = self.copies.next() => self.take(number, event)?,
                () = reader_left(self.out.sink()) => return Ok(None),
                row = rows.recv(), if self.next.is_none() && !is_over => match row {
                    Some(row) => self.read(row?)?,
                    None => is_over = true,
                },
            }
        }
    }

    /// Takes a row of the input: a candidate that is to be served is the next one, anything else passes.
    fn read(&mut self, (row, place): (Row, RowPlace)) -> Result<()> {
        if row.record() != Some("candidate") || row.get("status").is_some() {
            return self.out.write(&row);
        }
        let candidate: Candidate = match row.view() {
            Ok(candidate) => candidate,
            Err(e) => {
                self.notice.error(&e.at(place));
                return Ok(());
            }
        };
        if candidate.claim.is_some() {
            let why =
                "a claimed candidate (bench-expand --claim) cannot be served in slots: each host claims one at a time";
            return Err(Error::new(why));
        }
        self.so_far.pace.enter(candidate.position);
        let how = SlotUse::of(&candidate, self.plan);
        self.next = Some(NextCandidate { row, candidate, how });
        Ok(())
    }

    fn skip(&mut self, row: Row, candidate: &Candidate, class: FailureClass, why: &str) -> Result<()> {
        CandidateEvents::of(candidate, self.so_far, self.notice).skipped(why);
        self.out.write(&rows::skipped(row, class, why))
    }

    fn is_idle(&self) -> bool {
        self.busy.iter().all(Option::is_none)
    }

    /// Gives the next candidate to a slot, if one is free for it.
    fn give_next(&mut self) -> Result<()> {
        let Some(how) = self.next.as_ref().map(|next| next.how) else { return Ok(()) };
        let is_idle = self.is_idle();
        let wanted = match how {
            SlotUse::Beside | SlotUse::Alone => SlotUse::Beside,
            SlotUse::All | SlotUse::Together => how,
        };
        if self.arrangement != wanted {
            // Their GPUs are locked, or they do not wait long enough: others take their places.
            if is_idle {
                self.copies.close();
            }
            if !self.copies.all_ended() {
                return Ok(());
            }
            self.arrangement = wanted;
        }
        let is_alone = |busy: &Option<SlotUse>| matches!(busy, Some(SlotUse::Alone | SlotUse::All));
        let free = match how {
            SlotUse::Alone | SlotUse::All => is_idle.then_some(0),
            SlotUse::Beside | SlotUse::Together if self.busy.iter().any(is_alone) => None,
            SlotUse::Beside | SlotUse::Together => self.busy.iter().position(Option::is_none),
        };
        match (free, self.next.take()) {
            (Some(index), Some(next)) => self.give(index, next),
            (_, next) => {
                self.next = next;
                Ok(())
            }
        }
    }

    fn give(&mut self, index: usize, next: NextCandidate) -> Result<()> {
        let NextCandidate { mut row, candidate, how } = next;
        if self.options.budget.is_some_and(|budget| self.begun.elapsed() > budget) {
            return self.skip(row, &candidate, FailureClass::Budget, NO_TIME);
        }
        // What has failed meanwhile counts too.
        if let Some((class, why)) = self.foreseen(&candidate) {
            return self.skip(row, &candidate, class, &why);
        }
        let slot = match how.slot(&candidate, self.plan, index, self.options.cpus.as_ref()) {
            Ok(slot) => slot,
            Err(why) => return self.skip(row, &candidate, FailureClass::Unsupported, &why.to_string()),
        };
        row.merge(&serde_json::json!({ "slot": slot }));
        let left = self.options.budget.map(|budget| budget.saturating_sub(self.begun.elapsed()));
        if let Some(deadline) = left.and_then(|left| Timestamp::now().checked_add(left).ok()) {
            row.set("deadline", deadline.to_string());
        }
        let patience = if how == SlotUse::Together { TOGETHER_S } else { "0" };
        let copy = self.copies.started(index, || CopyStarter::new(&["--copy", patience]))?;
        self.busy[index] = Some(how);
        copy.give(row.line());
        copy.give(TASK_END.into());
        Ok(())
    }

    /// Why a candidate is not started after the failures of others.
    fn foreseen(&mut self, candidate: &Candidate) -> Option<(FailureClass, String)> {
        let limit = self.options.give_up?;
        let framework = self.options.frameworks.get(&candidate.server.definition)?;
        self.starts.foreseen(candidate, framework, limit)
    }

    /// Takes an event of a copy.
    fn take(&mut self, index: usize, event: CopyEvent) -> Result<()> {
        match event {
            CopyEvent::Said(line) => {
                self.notice.relay(&line);
                Ok(())
            }
            CopyEvent::Row(line) if line == TASK_END => {
                self.busy[index] = None;
                Ok(())
            }
            CopyEvent::Row(line) if EarlierStarts::may_be(&line) => self.row(index, Row::parse(&line)?),
            // Rows of a program after `--`.
            CopyEvent::Row(line) => self.out.write_line(&line),
            CopyEvent::Ended(status) => self.ended(index, status),
        }
    }

    /// Passes a row of a server on, and learns from it.
    fn row(&mut self, index: usize, mut row: Row) -> Result<()> {
        if row.record() == Some("server") {
            let model = row.str("model").unwrap_or_default().to_string();
            if !self.models_started.insert(model) && row.get("cold").is_some() {
                row.set("cold", false);
            }
        }
        self.starts.take_now(&row)?;
        if row.record() == Some("server") && self.busy[index] == Some(SlotUse::Together) {
            self.held.push(row);
            return Ok(());
        }
        if row.record() == Some("server_end") && row.str("status").is_some_and(|status| status != "ok") {
            self.so_far.failed += 1;
        }
        self.out.write(&row)
    }

    /// Writes the rows of the servers of a slot check at once, when all of them are ready that will be.
    fn lease_together(&mut self, is_over: bool) -> Result<()> {
        let busy = self.busy.iter().filter(|busy| **busy == Some(SlotUse::Together)).count();
        let next = self.next.as_ref().map(|next| next.how);
        let more = busy < self.busy.len() && (next == Some(SlotUse::Together) || (next.is_none() && !is_over));
        if self.held.is_empty() || self.held.len() < busy || more {
            return Ok(());
        }
        std::mem::take(&mut self.held).iter().try_for_each(|row| self.out.write(row))
    }

    /// A copy has ended: as it was asked to, or something is wrong.
    fn ended(&mut self, index: usize, status: ExitStatus) -> Result<()> {
        let busy = self.busy[index].take();
        if status.success() && (busy.is_none() || stop_file::is_asked()) {
            return Ok(());
        }
        let name = &self.plan.slots.slots()[index].devices().join(",");
        Err(Error::new(format!("the bench-serve of slot {name} ended ({status}): no further server is started")))
    }

    /// Stops all copies with a signal, and passes on what they still write.
    async fn end(&mut self, signal: Signal) -> Result<()> {
        let written = std::mem::take(&mut self.held).iter().try_for_each(|row| self.out.write(row));
        let out = &mut self.out;
        let ended = self.copies.end(signal, self.notice, |line| out.write_line(&line)).await;
        written.and(ended)
    }
}
