//! The requests of a run, ready to be sent: sessions of one or more, each with its body.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::ask::Asker;
use super::request::{Follow, Outcome, blank, send};
use crate::error::Result;
use crate::http::Client;
use crate::schema::{Request, RequestStatus};
use crate::units::Micros;
use crate::workload::{Item, Items};

/// One request.
#[derive(Debug)]
pub struct Job {
    /// Its number within its phase.
    pub i: u32,
    /// Output tokens that it asks for.
    pub output: u32,
    /// Its body.
    pub body: Vec<u8>,
    /// When it came by its own trace, ms.
    pub timestamp: Option<f64>,
}

/// Makes the requests of one phase, one session after the other.
pub struct Jobs<'a> {
    items: Items<'a>,
    asker: &'a Asker,
    next: Option<Item>,
    i: u32,
}

impl<'a> Jobs<'a> {
    /// The requests that `items` ask for.
    pub fn new(items: Items<'a>, asker: &'a Asker) -> Self {
        Self { items, asker, next: None, i: 0 }
    }

    /// The next session, of `most` requests at most.
    ///
    /// # Errors
    /// When a body cannot be made for this server.
    pub fn session(&mut self, most: u32) -> Result<Vec<Job>> {
        let mut session = Vec::new();
        let end = self.i.saturating_add(most);
        while self.i < end {
            let item = self.next.take().unwrap_or_else(|| self.items.item(self.i));
            if item.follows && !session.is_empty() || session.is_empty() {
                let body = self.asker.body(&item)?;
                session.push(Job { i: self.i, output: item.output, body, timestamp: item.timestamp });
                self.i += 1;
            } else {
                self.next = Some(item);
                break;
            }
        }
        Ok(session)
    }

    /// The sessions of the first `n` requests.
    ///
    /// # Errors
    /// When a body cannot be made for this server.
    pub fn first(mut self, n: u32) -> Result<Vec<Vec<Job>>> {
        let mut sessions = Vec::new();
        while self.i < n {
            sessions.push(self.session(n - self.i)?);
        }
        Ok(sessions)
    }
}

/// How the requests of a session are sent.
#[derive(Debug, Clone)]
pub struct Way {
    /// The client of the server.
    pub client: Client,
    /// Path of the endpoint.
    pub endpoint: String,
    /// How each is followed.
    pub how: Follow,
    /// From the end of a turn to the next.
    pub think: Duration,
    /// Later turns are due, too: latency counts from their due time.
    pub due: bool,
}

/// Sends a session, one request after the other. What comes back goes into `landed`, but for the last, which is returned.
pub async fn talk(way: Way, session: Vec<(Job, Request)>, landed: UnboundedSender<Outcome>) -> Outcome {
    let mut last: Option<Outcome> = None;
    for (job, mut row) in session {
        if let Some(before) = last.take() {
            // Nobody who is gone wants to know.
            let _ = landed.send(before);
            if !way.think.is_zero() {
                tokio::time::sleep(way.think).await;
            }
            row.due_us = way.due.then(|| way.how.clock.now());
        }
        last = Some(send(&way.client, &way.endpoint, job.body, row, way.how).await);
    }
    last.unwrap_or_else(|| Outcome { row: blank("", 0, "", None, RequestStatus::Aborted), stamps: Vec::new() })
}

/// The row of a job that was not sent yet.
pub fn row(run_id: &str, job: &Job, phase: &str, due: Option<Micros>, asked: u32) -> Request {
    let asked_output_tokens = Some(job.output).filter(|output| *output != asked);
    Request { asked_output_tokens, ..blank(run_id, job.i, phase, due, RequestStatus::Aborted) }
}
