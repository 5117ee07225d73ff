//! The requests of a run with their bodies, in sessions of one or more.

use super::builder::RequestBuilder;
use super::request::blank;
use super::workload::{WorkloadItem, WorkloadItems};
use crate::base::error::{Error, Result};
use crate::rows::kinds::{Request, RequestStatus, Shard};
use crate::rows::units::Micros;
use crate::rows::words::Phase;

/// Maximum size of all bodies of a run, bytes.
const MAX_BODIES: usize = 4 << 30;

/// One request.
#[derive(Debug)]
pub struct Job {
    /// Its number within its phase.
    pub i: u32,
    /// Requested number of output tokens.
    pub output: u32,
    /// Number of choices that it asks for; `None` if unknown.
    pub choices: Option<u32>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Makes the requests of one phase, one session after the other.
pub struct Jobs<'a> {
    items: WorkloadItems<'a>,
    builder: &'a RequestBuilder,
    shard: Option<Shard>,
    next: Option<WorkloadItem>,
    i: u32,
    session: usize,
}

impl<'a> Jobs<'a> {
    /// The requests of `items`; with a shard only its sessions.
    pub fn new(items: WorkloadItems<'a>, builder: &'a RequestBuilder, shard: Option<Shard>) -> Self {
        Self { items, builder, shard, next: None, i: 0, session: 0 }
    }

    /// The next session of this client, within the first `end` requests; empty if there are no more.
    ///
    /// # Errors
    /// When a body cannot be built for this server.
    pub fn session(&mut self, end: u32) -> Result<Vec<Job>> {
        while self.i < end {
            let ours = self.shard.is_none_or(|shard| shard.has(self.session));
            let mut session = Vec::new();
            let begun = self.i;
            while self.i < end {
                let item = self.next.take().unwrap_or_else(|| self.items.item(self.i));
                if self.i > begun && !item.follows {
                    self.next = Some(item);
                    break;
                }
                if ours {
                    let body = self.builder.body(&item)?;
                    session.push(Job { i: self.i, output: item.output, choices: self.builder.choices(&item), body });
                }
                self.i += 1;
            }
            self.session += 1;
            if ours {
                return Ok(session);
            }
        }
        Ok(Vec::new())
    }

    /// This client's sessions among the first `n` requests.
    ///
    /// # Errors
    /// When a body cannot be built for this server.
    pub fn first(mut self, n: u32) -> Result<Vec<Vec<Job>>> {
        let (mut sessions, mut bytes) = (Vec::new(), 0);
        loop {
            let session = self.session(n)?;
            if session.is_empty() {
                return Ok(sessions);
            }
            bytes += session.iter().map(|job| job.body.len()).sum::<usize>();
            if bytes > MAX_BODIES {
                let why = "the prompts of a run take more than 4 GiB of memory: fewer requests or shorter prompts";
                return Err(Error::new(why));
            }
            sessions.push(session);
        }
    }
}

/// The row of a job that has not been sent yet.
pub fn row(run_id: &str, job: &Job, phase: Phase, due: Option<Micros>, asked: u32) -> Request {
    let asked_output_tokens = Some(job.output).filter(|output| *output != asked);
    Request { asked_output_tokens, ..blank(run_id, job.i, phase, due, RequestStatus::Aborted) }
}
