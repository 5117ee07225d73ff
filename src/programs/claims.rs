//! `bench-expand --claim`: hands out the candidates that nobody else has, one at a time.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::Candidate;
use crate::rows::words::Stage;
use crate::system::claims::{Claim, ClaimAnswer, ClaimFolder};
use crate::system::process::has_reader_left;
use crate::system::special_file;
use crate::system::stop_file;
use crate::system::stopwatch::Stopwatch;

/// How often to look whether a candidate has ended.
const TICK: Duration = Duration::from_millis(50);
/// How often to look whether somebody else's candidate has become free.
const WAIT: Duration = Duration::from_secs(1);

/// A candidate, and the name of its claim.
pub type NamedCandidate = (String, Box<Candidate>);

/// The name of a candidate's claim: the same on every host, whatever of it is left to run. `key` is that of its first unit in the plan.
#[must_use]
pub fn name(candidate: &Candidate, key: &str, is_second_pass: bool) -> String {
    let mut name = format!("{}-{}", candidate.candidate_id, key.get(..8).unwrap_or(key));
    let stage = candidate.search.stage;
    if let Some(stage) = stage {
        name.push_str(&format!("-{stage}"));
    }
    // The same candidate comes once for each of its repeats.
    let repeat = candidate.units.first().map(|unit| unit.repeat);
    if let Some(repeat) = repeat.filter(|_| is_second_pass || stage == Some(Stage::Repeat)) {
        name.push_str(&format!("-r{repeat}"));
    }
    name
}

/// Hands out candidates to one pipe.
pub struct Handout<'a> {
    /// The claims.
    pub claims: ClaimFolder,
    /// The starts that the results of `--done` include.
    pub known: BTreeSet<String>,
    /// Where rows go.
    pub out: &'a mut RowWriter<File>,
    /// Where messages go.
    pub notice: &'a Notice,
}

impl Handout<'_> {
    /// Writes each candidate that can be claimed, one after the other has ended, until all are over.
    ///
    /// # Errors
    /// When standard output is no pipe, or the folder cannot be used.
    pub fn all(&mut self, mut left: Vec<NamedCandidate>) -> Result<()> {
        if !special_file::is_pipe(self.out.sink()) {
            return Err(Error::new(
                "--claim writes a candidate once the one before has ended: pipe it into bench-serve | bench-load",
            ));
        }
        loop {
            if self.claims.is_out()? {
                let path = self.claims.failures();
                self.notice.warn(format!("this node takes no more candidates: two failed here for no reason of their own; remove {} to let it work again", path.display()));
                return Ok(());
            }
            if stop_file::is_asked() || has_reader_left(&self.out.sink().as_fd()) {
                return Ok(());
            }
            match self.next(&mut left)? {
                Some((claim, candidate)) => {
                    self.out.write_typed("candidate", &candidate)?;
                    self.keep(&claim)?;
                    if !claim.has_ended() {
                        return Ok(());
                    }
                    self.claims.note(&claim)?;
                }
                None if left.is_empty() => return Ok(()),
                None => std::thread::sleep(WAIT),
            }
        }
    }

    /// The first candidate that can be claimed; those that are over are dropped.
    fn next(&self, left: &mut Vec<NamedCandidate>) -> Result<Option<(Claim, Box<Candidate>)>> {
        let mut at = 0;
        while let Some((name, candidate)) = left.get(at) {
            match self.claims.take(name, &|id| self.known.contains(id))? {
                ClaimAnswer::Busy => at += 1,
                ClaimAnswer::Over => drop(left.remove(at)),
                ClaimAnswer::Taken(claim) => {
                    let mut candidate = candidate.clone();
                    candidate.claim = Some(claim.folder().display().to_string());
                    return Ok(Some((claim, candidate)));
                }
            }
        }
        Ok(None)
    }

    /// Renews a claim until it has ended or the reader has left.
    fn keep(&self, claim: &Claim) -> Result<()> {
        let (mut renewed, mut is_lost) = (Stopwatch::start(), false);
        while !claim.has_ended() && !has_reader_left(&self.out.sink().as_fd()) {
            std::thread::sleep(TICK);
            if renewed.elapsed() < self.claims.beat() {
                continue;
            }
            renewed = Stopwatch::start();
            if !claim.renew()? && !std::mem::replace(&mut is_lost, true) {
                let folder = claim.folder();
                self.notice.warn(format!(
                    "{}: another host took it over, since it was not renewed in time; what both measure counts once",
                    folder.display()
                ));
            }
        }
        Ok(())
    }
}
