//! One request: sent, read, stamped, judged.

use std::time::{Duration, Instant};

use crate::answer::{Event, Usage};
use crate::http::{Client, Failure};
use crate::schema::{Request, RequestStatus, TokenSource};
use crate::sse::Splitter;
use crate::units::Micros;

/// Time limits of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the first token.
    pub ttft: Duration,
    /// Between two reads.
    pub idle: Duration,
    /// Until the end.
    pub total: Duration,
}

/// What a request gave beside its row.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The row.
    pub row: Request,
    /// Gaps between its token-bearing chunks, µs.
    pub gaps: Vec<u64>,
    /// The same per token, where every chunk's tokens are known.
    pub token_gaps: Option<Vec<u64>>,
}

/// The clock of a run.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub Instant);

impl Clock {
    /// Now, from the run's start.
    #[must_use]
    pub fn now(self) -> Micros {
        Micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// An empty row for the `i`-th request.
#[must_use]
pub fn blank(run_id: &str, i: u32, phase: &str, due: Option<Micros>, status: RequestStatus) -> Request {
    Request {
        run_id: run_id.to_string(),
        i,
        phase: phase.to_string(),
        due_us: due,
        sent_us: None,
        first_byte_us: None,
        first_token_us: None,
        last_token_us: None,
        end_us: None,
        input_tokens: None,
        cached_tokens: None,
        output_tokens: None,
        token_source: None,
        chunks: 0,
        status,
        http_status: None,
        finish_reason: None,
        error: None,
        chunk_us: Vec::new(),
    }
}

/// Sends `body` and follows the answer to its end, whatever that is. Never retries.
pub async fn send(client: &Client, path: &str, body: Vec<u8>, row: Request, limits: Limits, clock: Clock) -> Outcome {
    let mut reading =
        Reading { row, clock, limits, splitter: Splitter::default(), stamps: Vec::new(), counted: None, done: false };
    let sent = clock.now();
    reading.row.sent_us = Some(sent);
    let (status, error) = match reading.follow(client, path, body).await {
        Ok(()) => reading.judge(),
        Err(failure) => (failure.class, Some(failure.why)),
    };
    reading.row.end_us = Some(clock.now());
    reading.row.status = status;
    reading.row.error = error.map(|text| text.chars().filter(|c| !c.is_control()).take(300).collect());
    reading.finish()
}

struct Reading {
    row: Request,
    clock: Clock,
    limits: Limits,
    splitter: Splitter,
    /// Time of each token-bearing chunk, and the tokens counted up to it where the server says so in every chunk.
    stamps: Vec<(Micros, Option<u32>)>,
    counted: Option<Usage>,
    done: bool,
}

impl Reading {
    async fn follow(&mut self, client: &Client, path: &str, body: Vec<u8>) -> Result<(), Failure> {
        let begun = Instant::now();
        let left = |limit: Duration| limit.saturating_sub(begun.elapsed());
        let first = self.limits.ttft.min(self.limits.total);
        let late = |class, what: &str| Failure { class, why: what.to_string() };
        let no_first = || late(RequestStatus::TimeoutTtft, "no token in time");
        let mut answer = tokio::time::timeout(left(first), client.post(path, body)).await.map_err(|_| no_first())??;
        self.row.http_status = Some(answer.status);
        if let Some(class) = answer.failure_class() {
            let body = tokio::time::timeout(left(self.limits.total), answer.body()).await;
            let body = body.ok().and_then(Result::ok).unwrap_or_default();
            return Err(Failure { class, why: String::from_utf8_lossy(&body).into_owned() });
        }
        if let Some(how) = answer.compressed() {
            let why = format!("the answer is compressed ({how}), which was not asked for");
            return Err(Failure { class: RequestStatus::Parse, why });
        }
        let mut first_error = None;
        loop {
            let waiting = self.stamps.is_empty();
            let limit = if waiting { left(first) } else { left(self.limits.total).min(self.limits.idle) };
            let chunk = match tokio::time::timeout(limit, answer.chunk()).await {
                Ok(chunk) => chunk?,
                Err(_) if waiting => return Err(no_first()),
                Err(_) if left(self.limits.total).is_zero() => {
                    return Err(late(RequestStatus::TimeoutTotal, "not done in time"));
                }
                Err(_) => return Err(late(RequestStatus::TimeoutIdle, "the stream stalled")),
            };
            let Some(chunk) = chunk else { break };
            // Stamped when read, before anything is parsed.
            let now = self.clock.now();
            self.row.first_byte_us.get_or_insert(now);
            let mut splitter = std::mem::take(&mut self.splitter);
            splitter.push(chunk.as_ref(), |data| {
                if let Err(failure) = self.event(data, now) {
                    first_error.get_or_insert(failure);
                }
            });
            self.splitter = splitter;
            if let Some(failure) = first_error {
                return Err(failure);
            }
        }
        Ok(())
    }

    fn event(&mut self, data: &[u8], now: Micros) -> Result<(), Failure> {
        let event = Event::parse(data).map_err(|why| Failure { class: RequestStatus::Parse, why })?;
        if let Some(why) = event.error {
            return Err(Failure { class: RequestStatus::ErrorEvent, why });
        }
        self.done |= event.done;
        let before = self.counted.and_then(|usage| usage.output).unwrap_or(0);
        let output = event.usage.and_then(|usage| usage.output);
        // A chunk whose text is half a character is a token all the same when the running count says so. The final count
        // of a server that counts only once is no such sign.
        let counts_on = !self.stamps.is_empty() && self.stamps.iter().all(|(_, counted)| counted.is_some());
        let counted = event.finish_reason.is_none() && !event.has_text && output.is_some_and(|n| n > before);
        if event.has_text
            || (counted && (counts_on || self.stamps.is_empty()) && output.is_some_and(|n| n <= before + 1))
        {
            self.stamps.push((now, output));
        }
        if event.usage.is_some() {
            self.counted = event.usage;
        }
        if event.finish_reason.is_some() {
            self.row.finish_reason = event.finish_reason;
        }
        Ok(())
    }

    /// The verdict on a stream that came to its end.
    fn judge(&self) -> (RequestStatus, Option<String>) {
        if self.splitter.is_too_large() {
            return (RequestStatus::Parse, Some("an event is too large".into()));
        }
        if self.splitter.is_torn() || (self.row.finish_reason.is_none() && !self.done) {
            return (RequestStatus::Truncated, Some("the stream ended without a finish reason".into()));
        }
        if self.stamps.is_empty() {
            return (RequestStatus::NoToken, Some("the answer has no token".into()));
        }
        (RequestStatus::Ok, None)
    }

    fn finish(self) -> Outcome {
        let mut row = self.row;
        row.chunks = u32::try_from(self.stamps.len()).unwrap_or(u32::MAX);
        row.first_token_us = self.stamps.first().map(|(at, _)| *at);
        row.last_token_us = self.stamps.last().map(|(at, _)| *at);
        row.input_tokens = self.counted.and_then(|usage| usage.input);
        row.cached_tokens = self.counted.and_then(|usage| usage.cached);
        row.output_tokens = self.counted.and_then(|usage| usage.output);
        row.token_source = row.output_tokens.map(|_| TokenSource::Usage);
        if row.output_tokens.is_none() && row.chunks > 0 {
            row.output_tokens = Some(row.chunks);
            row.token_source = Some(TokenSource::Chunks);
        }
        let gap = |pair: &[(Micros, Option<u32>)]| pair[1].0.0.saturating_sub(pair[0].0.0);
        let gaps = self.stamps.windows(2).map(gap).collect();
        let per_token = self.stamps.windows(2).map(|pair| {
            let tokens = pair[1].1?.checked_sub(pair[0].1?).filter(|n| *n > 0)?;
            Some(vec![gap(pair) / u64::from(tokens); tokens as usize])
        });
        let token_gaps = per_token.collect::<Option<Vec<_>>>().map(|lists| lists.concat());
        row.chunk_us = self.stamps.iter().map(|(at, _)| *at).collect();
        Outcome { row, gaps, token_gaps }
    }
}
