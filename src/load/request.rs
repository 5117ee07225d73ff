//! One request: send it, read the response, record its times, judge it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::base::redact;
use crate::engines::protocol::event::{Event, Usage};
use crate::engines::protocol::sse::{Part, Splitter};
use crate::rows::kinds::{Request, RequestStatus, TokenSource};
use crate::rows::units::Micros;
use crate::rows::words::Phase;
use crate::system::http::{HttpAnswer, HttpClient, HttpFailure};

/// Time limits of one request.
#[derive(Debug, Clone, Copy)]
pub struct RequestTimeouts {
    /// Until the first token.
    pub ttft: Duration,
    /// Between two reads.
    pub idle: Duration,
    /// Until the end.
    pub total: Duration,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestOutcome {
    /// The row.
    pub row: Request,
    /// Time of each token-bearing chunk, and the number of tokens up to it if the server reports it in every chunk.
    pub stamps: Vec<(Micros, Option<u32>)>,
}

impl RequestOutcome {
    /// Gaps between the token-bearing chunks, µs.
    pub fn gaps(&self) -> impl Iterator<Item = u64> + '_ {
        self.stamps.windows(2).map(gap)
    }

    /// Gaps between tokens: each chunk's gap divided by its tokens, µs, and their number; `None` if the tokens of some chunk are
    /// unknown.
    #[must_use]
    pub fn token_gaps(&self) -> Option<Vec<(u64, u64)>> {
        let pairs = self.stamps.windows(2).map(|pair| {
            let tokens = u64::from(pair[1].1?.checked_sub(pair[0].1?).filter(|n| *n > 0)?);
            Some((gap(pair) / tokens, tokens))
        });
        pairs.collect()
    }
}

fn gap(pair: &[(Micros, Option<u32>)]) -> u64 {
    pair[1].0.0.saturating_sub(pair[0].0.0)
}

/// The clock of a run.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub Instant);

impl Clock {
    /// Now, from the run's start.
    #[must_use]
    pub fn now(self) -> Micros {
        self.at(Instant::now())
    }

    /// A moment, from the run's start.
    #[must_use]
    pub fn at(self, at: Instant) -> Micros {
        Micros(u64::try_from(at.saturating_duration_since(self.0).as_micros()).unwrap_or(u64::MAX))
    }
}

/// An empty row for the `i`-th request.
#[must_use]
pub fn blank(run_id: &str, i: u32, phase: Phase, due: Option<Micros>, status: RequestStatus) -> Request {
    Request { run_id: run_id.to_string(), i, phase, due_us: due, status, ..Request::default() }
}

/// How a request is followed.
#[derive(Debug, Clone, Copy)]
pub struct FollowSettings {
    /// Its time limits.
    pub limits: RequestTimeouts,
    /// The run's clock.
    pub clock: Clock,
    /// The response is streamed; otherwise it arrives whole, and there is no TTFT.
    pub stream: bool,
}

/// Sends `body` and reads the response to its end or failure. Never retries.
pub async fn send(client: &HttpClient, path: &str, body: Vec<u8>, row: Request, how: FollowSettings) -> RequestOutcome {
    // Most responses have at least as many chunks.
    let stamps = Vec::with_capacity(if how.stream { 64 } else { 0 });
    let mut reading = StreamReading { row, how, splitter: Splitter::default(), stamps, counted: None, done: false };
    reading.row.sent_us = Some(how.clock.now());
    let followed =
        if how.stream { reading.follow(client, path, body).await } else { reading.whole(client, path, body).await };
    let (status, error) = match followed {
        Ok(()) => reading.judge(),
        Err(failure) => (failure.class, Some(failure.why)),
    };
    reading.row.end_us = Some(how.clock.now());
    reading.row.status = status;
    // Redact before cutting: half a secret would not be recognized.
    let short = |text: String| redact::outgoing(&text).chars().filter(|c| !c.is_control()).take(300).collect();
    reading.row.error = error.map(short);
    reading.finish()
}

struct StreamReading {
    row: Request,
    how: FollowSettings,
    splitter: Splitter,
    stamps: Vec<(Micros, Option<u32>)>,
    counted: Option<Usage>,
    done: bool,
}

/// A failure inside a stream, with the server's message.
fn error_event(words: &[u8]) -> HttpFailure {
    let words = String::from_utf8_lossy(words);
    let why = if words.trim().is_empty() { "an error event without a message" } else { words.trim() };
    HttpFailure { class: RequestStatus::ErrorEvent, why: why.into() }
}

fn late(class: RequestStatus, what: &str) -> HttpFailure {
    HttpFailure { class, why: what.to_string() }
}

impl StreamReading {
    /// Sends the request and waits for the head of a response that can be read.
    async fn head(
        &mut self,
        client: &HttpClient,
        path: &str,
        body: Vec<u8>,
        begun: Instant,
        first: Duration,
    ) -> Result<HttpAnswer, HttpFailure> {
        let no_first = |_| late(RequestStatus::TimeoutTtft, "no token in time");
        let mut answer = timeout_at(begun + first, client.post(path, body)).await.map_err(no_first)??;
        self.row.http_status = Some(answer.status);
        self.row.reused_connection = answer.reused;
        if let Some(class) = answer.failure_class() {
            let body = timeout_at(begun + self.how.limits.total, answer.body()).await;
            let body = body.ok().and_then(Result::ok).unwrap_or_default();
            return Err(HttpFailure { class, why: String::from_utf8_lossy(&body).into_owned() });
        }
        if let Some(how) = answer.compressed() {
            let why = format!("the response is compressed ({how}), which was not requested");
            return Err(HttpFailure { class: RequestStatus::Parse, why });
        }
        Ok(answer)
    }

    /// A stream, event by event.
    async fn follow(&mut self, client: &HttpClient, path: &str, body: Vec<u8>) -> Result<(), HttpFailure> {
        let begun = Instant::now();
        let RequestTimeouts { ttft, idle, total } = self.how.limits;
        let first = ttft.min(total);
        let mut answer = self.head(client, path, body, begun, first).await?;
        // One timer for the whole stream: it is reset when it fires too early, not at every read.
        let alarm = sleep_until(begun + first);
        tokio::pin!(alarm);
        let mut read = begun;
        let mut failed = None;
        loop {
            let waiting = self.stamps.is_empty();
            let chunk = tokio::select! {
                biased;
                chunk = answer.chunk() => match chunk {
                    // What follows the terminator is of no use, so its loss costs no answer.
                    Err(_) if self.done && failed.is_none() => break,
                    chunk => chunk?,
                },
                () = &mut alarm => {
                    let now = Instant::now();
                    if waiting {
                        return Err(late(RequestStatus::TimeoutTtft, "no token in time"));
                    }
                    if now >= begun + total {
                        return Err(late(RequestStatus::TimeoutTotal, "not finished in time"));
                    }
                    if now >= read + idle {
                        return Err(late(RequestStatus::TimeoutIdle, "the stream stalled"));
                    }
                    alarm.as_mut().reset((read + idle).min(begun + total));
                    continue;
                }
            };
            let Some(chunk) = chunk else { break };
            // Take the time at the read, before parsing.
            read = Instant::now();
            let now = self.how.clock.at(read);
            self.row.first_byte_us.get_or_insert(now);
            let mut splitter = std::mem::take(&mut self.splitter);
            splitter.push(chunk.as_ref(), |part| {
                if failed.is_none() {
                    failed = match part {
                        Part::Data(data) => self.event(data, now).err(),
                        Part::Error(words) => Some(error_event(words)),
                        Part::Body(_) => None,
                    };
                }
            });
            self.splitter = splitter;
            if let Some(failure) = failed {
                return Err(failure);
            }
            if waiting && !self.stamps.is_empty() {
                alarm.as_mut().reset((read + idle).min(begun + total));
            }
        }
        self.end()
    }

    /// The end of a stream, which may complete its last event.
    fn end(&mut self) -> Result<(), HttpFailure> {
        let (now, mut splitter, mut failed) = (self.how.clock.now(), std::mem::take(&mut self.splitter), None);
        splitter.end(|part| {
            failed = match part {
                Part::Data(data) => self.event(data, now).err(),
                Part::Error(words) => Some(error_event(words)),
                // Only its error counts: a whole answer has no times.
                Part::Body(body) => Event::parse(body)
                    .ok()
                    .and_then(|event| event.error)
                    .map(|why| HttpFailure { class: RequestStatus::ErrorEvent, why }),
            };
        });
        self.splitter = splitter;
        failed.map_or(Ok(()), Err)
    }

    /// A response that is not streamed.
    async fn whole(&mut self, client: &HttpClient, path: &str, body: Vec<u8>) -> Result<(), HttpFailure> {
        let begun = Instant::now();
        let total = self.how.limits.total;
        let mut answer = self.head(client, path, body, begun, total).await?;
        let no_end = |_| late(RequestStatus::TimeoutTotal, "not finished in time");
        let body = timeout_at(begun + total, answer.body()).await.map_err(no_end)??;
        let now = self.how.clock.now();
        self.row.first_byte_us = Some(now);
        self.event(&body, now)
    }

    fn event(&mut self, data: &[u8], now: Micros) -> Result<(), HttpFailure> {
        let event = Event::parse(data).map_err(|why| HttpFailure { class: RequestStatus::Parse, why })?;
        let ends = event.finish_reason.is_some();
        if ends {
            self.row.finish_reason = event.finish_reason;
        }
        if let Some(why) = event.error {
            return Err(HttpFailure { class: RequestStatus::ErrorEvent, why });
        }
        self.done |= event.done;
        let before = self.counted.and_then(|usage| usage.output).unwrap_or(0);
        let output = event.usage.and_then(|usage| usage.output);
        let more = output.is_some_and(|n| n > before);
        // A chunk without text (half a character) is a token if the running count says so. A server that counts only once, at the
        // end, has no running count.
        let counts_every_chunk = || self.stamps.iter().all(|(_, counted)| counted.is_some());
        let half = !event.has_text && !ends && output == Some(before + 1) && counts_every_chunk();
        let new_token = match event.cumulative {
            true => more,
            false => event.has_text || half,
        };
        if new_token {
            self.stamps.push((now, output));
            if event.has_answer {
                self.row.first_answer_us.get_or_insert(now);
            }
        }
        if let Some(usage) = event.usage {
            self.counted = Some(self.counted.unwrap_or_default().then(usage));
        }
        Ok(())
    }

    /// The status of a response that ended, and why it failed.
    fn judge(&self) -> (RequestStatus, Option<String>) {
        if self.splitter.is_too_large() {
            return (RequestStatus::Parse, Some("an event is too large".into()));
        }
        if self.splitter.is_torn() || (self.row.finish_reason.is_none() && !self.done) {
            return (RequestStatus::Truncated, Some(self.with_aside("the stream ended without a finish reason")));
        }
        if self.stamps.is_empty() {
            return (RequestStatus::NoToken, Some(self.with_aside("the response has no token")));
        }
        (RequestStatus::Ok, None)
    }

    /// The failure, with the text that the server sent outside its events, which may be the cause.
    fn with_aside(&self, what: &str) -> String {
        match self.splitter.aside() {
            aside if aside.is_empty() => what.into(),
            aside => format!("{what}; outside of its events the server sent: {aside}"),
        }
    }

    fn finish(mut self) -> RequestOutcome {
        let mut row = self.row;
        row.last_token_us = self.stamps.last().map(|(at, _)| *at);
        // A count of 0 is not a count if a token arrived.
        let counted = |n: Option<u32>| n.filter(|n| *n > 0 || self.stamps.is_empty());
        row.input_tokens = counted(self.counted.and_then(|usage| usage.input));
        row.cached_tokens = self.counted.and_then(|usage| usage.cached);
        row.output_tokens = counted(self.counted.and_then(|usage| usage.output));
        row.token_source = row.output_tokens.map(|_| TokenSource::Usage);
        if self.how.stream {
            row.chunks = u32::try_from(self.stamps.len()).unwrap_or(u32::MAX);
            row.first_token_us = self.stamps.first().map(|(at, _)| *at);
            if row.output_tokens.is_none() && row.chunks > 0 {
                row.output_tokens = Some(row.chunks);
                row.token_source = Some(TokenSource::Chunks);
            }
        } else {
            // The time of the first token is unknown if the response was not streamed.
            self.stamps.clear();
            row.first_byte_us = None;
        }
        row.first_answer_us = row.first_answer_us.filter(|at| self.how.stream && Some(*at) != row.first_token_us);
        RequestOutcome { row, stamps: self.stamps }
    }
}
