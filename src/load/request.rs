//! One request: send it, read the response, record its times, judge it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use super::outcome::RequestOutcome;
use super::outcome::{TOGETHER, batch};
use crate::base::redact;
use crate::engines::protocol::error_body;
use crate::engines::protocol::event::{ChoiceSet, Event, EventTemplate, Usage};
use crate::engines::protocol::sse::{Part, Splitter};
use crate::rows::kinds::{MAX_OUTPUT_TOKENS, Request, RequestStatus, TokenSource};
use crate::rows::units::Micros;
use crate::rows::words::{Endpoint, Phase};
use crate::system::http::{Departure, Exchange, HttpAnswer, HttpFailure, StreamClient};

/// Of the memory for what was read, each stream keeps so much while it waits, bytes.
const KEPT: usize = 4 << 10;

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

/// Whose answer a request gets.
#[derive(Debug, Clone, Default)]
pub struct ExpectedAnswer {
    /// The model by its own name; `None` if any will do.
    pub model: Option<Arc<str>>,
    /// Number of choices; `None` if unknown.
    pub choices: Option<u32>,
}

impl ExpectedAnswer {
    /// The same with this number of choices.
    #[must_use]
    pub fn with(self, choices: Option<u32>) -> Self {
        Self { choices, ..self }
    }

    /// Why an event is not of this answer; `None` if it may be.
    fn refuses(&self, event: &Event) -> Option<String> {
        if let (Some(asked), Some(model)) = (&self.model, &event.model)
            && !is_same_model(asked, model)
        {
            return Some(format!("the answer is of the model {model:?}, not of {asked:?} as the first one"));
        }
        None
    }
}

/// True if both may name one model: servers shorten paths to their last part, and gateways add a date or a provider.
fn is_same_model(asked: &str, answered: &str) -> bool {
    if asked == answered {
        return true;
    }
    let plain = |name: &str| {
        let name = name.trim_end_matches('/');
        name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase()
    };
    let (asked, answered) = (plain(asked), plain(answered));
    asked.starts_with(&answered) || answered.starts_with(&asked)
}

/// A request before its answer.
pub struct Outgoing<L> {
    /// Whose answer it gets.
    pub expected: ExpectedAnswer,
    /// Path of the endpoint.
    pub endpoint: Endpoint,
    /// Its body.
    pub body: Vec<u8>,
    /// It was written already.
    pub exchange: Option<Exchange>,
    /// Dropped once it was written, or could not be.
    pub leaving: Option<L>,
}

impl Outgoing<()> {
    /// One that has not been written, and for which nobody waits.
    #[must_use]
    pub fn new(endpoint: Endpoint, expected: ExpectedAnswer, body: Vec<u8>) -> Self {
        Self { endpoint, expected, body, exchange: None, leaving: None }
    }
}

impl<L> Outgoing<L> {
    async fn answer(self, client: &StreamClient) -> Result<HttpAnswer, HttpFailure> {
        let left = match self.exchange {
            Some(exchange) => Ok(Departure::Wire(exchange)),
            None => client.depart(self.endpoint.as_str(), self.body).await,
        };
        drop(self.leaving);
        left?.answer().await
    }
}

/// Sends a request and reads the response to its end or failure. Never retries.
pub async fn send<L>(
    client: &StreamClient,
    mut request: Outgoing<L>,
    row: Request,
    how: FollowSettings,
) -> RequestOutcome {
    // Most responses have at least as many chunks.
    let stamps = Vec::with_capacity(if how.stream { 64 } else { 0 });
    let mut reading = StreamReading {
        row,
        how,
        expected: std::mem::take(&mut request.expected),
        splitter: Splitter::default(),
        template: EventTemplate::default(),
        stamps,
        counted: None,
        done: false,
        choices: ChoiceSet::default(),
        ended: ChoiceSet::default(),
        foreign: None,
    };
    let begun = request.exchange.as_ref().map_or_else(Instant::now, |exchange| exchange.begun.into());
    reading.row.sent_us = Some(how.clock.at(begun));
    let followed = if how.stream {
        reading.follow(client, request, begun).await
    } else {
        reading.whole(client, request, begun).await
    };
    let (status, error) = match followed {
        Ok(()) => reading.judge(),
        Err(failure) => (failure.class, Some(failure.why)),
    };
    reading.row.end_us = Some(how.clock.now());
    reading.row.status = status;
    // Redact before cutting: half a secret would not be recognized.
    let quoted = |text: String| redact::outgoing(&text).chars().filter(|c| !c.is_control()).take(300).collect();
    reading.row.error = error.map(quoted);
    reading.finish()
}

struct StreamReading {
    row: Request,
    how: FollowSettings,
    expected: ExpectedAnswer,
    splitter: Splitter,
    template: EventTemplate,
    stamps: Vec<(Micros, Option<u32>)>,
    counted: Option<Usage>,
    done: bool,
    /// The choices seen so far, and those that have ended.
    choices: ChoiceSet,
    ended: ChoiceSet,
    /// The first event that is not one of an answer, short.
    foreign: Option<String>,
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
    async fn head<L>(
        &mut self,
        client: &StreamClient,
        request: Outgoing<L>,
        begun: Instant,
        first: Duration,
    ) -> Result<HttpAnswer, HttpFailure> {
        let no_first = |_| late(RequestStatus::TimeoutTtft, "no token in time");
        let mut answer = timeout_at(begun + first, request.answer(client)).await.map_err(no_first)??;
        self.row.http_status = Some(answer.status);
        self.row.reused_connection = answer.reused;
        if let Some(class) = answer.failure_class() {
            let body = timeout_at(begun + self.how.limits.total, answer.body()).await;
            let body = body.ok().and_then(Result::ok).unwrap_or_default();
            return Err(HttpFailure { class, why: error_body::text(&body, answer.compressed.as_deref()) });
        }
        if let Some(how) = &answer.compressed {
            let why = format!("the response is compressed ({how}), which was not requested");
            return Err(HttpFailure { class: RequestStatus::Parse, why });
        }
        Ok(answer)
    }

    /// A stream, event by event.
    async fn follow<L>(
        &mut self,
        client: &StreamClient,
        request: Outgoing<L>,
        begun: Instant,
    ) -> Result<(), HttpFailure> {
        let RequestTimeouts { ttft, idle, total } = self.how.limits;
        let first = ttft.min(total);
        let mut answer = self.head(client, request, begun, first).await?;
        // One timer for the whole stream: it is reset when it fires too early, not at every read.
        let alarm = sleep_until(begun + first);
        tokio::pin!(alarm);
        let mut read = begun;
        let mut failed = None;
        let mut bytes = Vec::new();
        loop {
            let waiting = self.stamps.is_empty();
            bytes.clear();
            bytes.shrink_to(KEPT);
            let arrived = tokio::select! {
                biased;
                arrived = answer.read(&mut bytes) => match arrived {
                    // What follows the terminator is of no use, so its loss costs no answer.
                    Err(_) if self.done && failed.is_none() => break,
                    arrived => arrived?,
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
            let Some(arrived) = arrived else { break };
            read = arrived.into();
            let now = self.how.clock.at(read);
            // Whatever has arrived on other connections gets its time before this is parsed.
            yield_now().await;
            self.row.first_byte_us.get_or_insert(now);
            let mut splitter = std::mem::take(&mut self.splitter);
            splitter.push(&bytes, |part| {
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
                Part::Body(body) => body_failure(body),
            };
        });
        self.splitter = splitter;
        failed.map_or(Ok(()), Err)
    }

    /// A response that is not streamed.
    async fn whole<L>(
        &mut self,
        client: &StreamClient,
        request: Outgoing<L>,
        begun: Instant,
    ) -> Result<(), HttpFailure> {
        let total = self.how.limits.total;
        let mut answer = self.head(client, request, begun, total).await?;
        let no_end = |_| late(RequestStatus::TimeoutTotal, "not finished in time");
        let body = timeout_at(begun + total, answer.body()).await.map_err(no_end)??;
        let now = self.how.clock.now();
        self.row.first_byte_us = Some(now);
        self.event(&body, now)
    }

    fn event(&mut self, data: &[u8], now: Micros) -> Result<(), HttpFailure> {
        match self.template.parse(data) {
            Ok(event) => {
                if event.foreign && self.foreign.is_none() && self.stamps.is_empty() {
                    self.foreign = Some(short(&String::from_utf8_lossy(data)));
                }
                self.take(event, now)
            }
            // Events without the blank line between them are joined.
            Err(why) if data.contains(&b'\n') => {
                // All of them first: one that is none fails the whole. Their events would take far more memory than their text.
                let lines = || data.split(|byte| *byte == b'\n').map(Event::parse);
                if lines().any(|event| event.is_err()) {
                    return Err(HttpFailure { class: RequestStatus::Parse, why });
                }
                lines().flatten().try_for_each(|event| self.take(event, now))
            }
            Err(why) => Err(HttpFailure { class: RequestStatus::Parse, why }),
        }
    }

    fn take(&mut self, event: Event, now: Micros) -> Result<(), HttpFailure> {
        let ends = event.finish_reason.is_some();
        let refused = self.expected.refuses(&event);
        self.choices.extend(event.choices);
        self.ended.extend(event.ended);
        if ends {
            self.row.finish_reason = event.finish_reason;
        }
        if let Some(why) = event.error {
            return Err(HttpFailure { class: RequestStatus::ErrorEvent, why });
        }
        if let Some(why) = refused {
            return Err(HttpFailure { class: RequestStatus::Parse, why });
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
        if new_token && self.stamps.len() >= MAX_OUTPUT_TOKENS as usize {
            let why = format!("the answer has more than {MAX_OUTPUT_TOKENS} chunks, and is not read any further");
            return Err(HttpFailure { class: RequestStatus::Parse, why });
        }
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
            // An error as a line of its own is none of the stream's events.
            if let Some(failure) = body_failure(self.splitter.aside().as_bytes()) {
                return (failure.class, Some(failure.why));
            }
            return (RequestStatus::Truncated, Some(self.with_aside("the stream ended without a finish reason")));
        }
        let open = self.choices.without(self.ended);
        if !open.is_empty() && !self.ended.is_empty() {
            let why = format!("the stream ended without a finish reason for choice {open}");
            return (RequestStatus::Truncated, Some(self.with_aside(&why)));
        }
        // Some servers give more choices than were asked for; one without those before it is of another answer.
        let gap = self.choices.without(ChoiceSet::first(self.choices.len().max(self.expected.choices.unwrap_or(1))));
        if !gap.is_empty() {
            return (RequestStatus::Parse, Some(format!("the answer has the choice {gap} without those before it")));
        }
        if self.stamps.is_empty() {
            return (RequestStatus::NoToken, Some(self.with_aside("the response has no token")));
        }
        (RequestStatus::Ok, None)
    }

    /// The failure, with the text that the server sent outside its events, which may be the cause.
    fn with_aside(&self, what: &str) -> String {
        match (self.splitter.aside(), &self.foreign) {
            (aside, Some(foreign)) if aside.is_empty() => format!("{what}; the server sent: {foreign}"),
            (aside, None) if aside.is_empty() => what.into(),
            (aside, _) => format!("{what}; outside of its events the server sent: {aside}"),
        }
    }

    /// Output tokens up to the first pause of the stream, where more than one token came before it, of `n`.
    fn first_tokens(&self, n: u32) -> Option<u32> {
        let (first, chunks) = (batch(&self.stamps), self.stamps.len());
        let last = self.stamps.get(first.checked_sub(1)?)?;
        // Also if they were read in parts that follow each other faster than any engine makes tokens.
        let span = self.stamps.last()?.0.0.saturating_sub(self.stamps.first()?.0.0);
        match last.1 {
            _ if span < TOGETHER * u64::from(n.saturating_sub(1)) => Some(n),
            _ if first == chunks => Some(n).filter(|n| *n > 1),
            _ if first == 1 => None,
            Some(counted) => Some(counted),
            None => u32::try_from((n as usize * first).div_ceil(chunks)).ok(),
        }
    }

    fn finish(self) -> RequestOutcome {
        let first_tokens = |n| self.first_tokens(n);
        let mut row = self.row.clone();
        row.last_token_us = self.stamps.last().map(|(at, _)| *at);
        row.choices = Some(self.choices.len()).filter(|n| *n > 1);
        let chunks = u32::try_from(self.stamps.len()).unwrap_or(u32::MAX);
        // A count of 0 is not a count if a token arrived, and one that is far below the chunks is that of the last chunk alone.
        let counted = |n: Option<u32>| n.filter(|n| *n > 0 || self.stamps.is_empty());
        let plausible = |n: &u32| !self.how.stream || n.saturating_mul(2) >= chunks;
        row.input_tokens = counted(self.counted.and_then(|usage| usage.input));
        row.cached_tokens = self.counted.and_then(|usage| usage.cached);
        row.output_tokens = counted(self.counted.and_then(|usage| usage.output)).filter(plausible);
        row.token_source = row.output_tokens.map(|_| TokenSource::Usage);
        if self.how.stream {
            row.chunks = chunks;
            row.first_token_us = self.stamps.first().map(|(at, _)| *at);
            row.first_tokens = row.output_tokens.and_then(first_tokens);
            if row.output_tokens.is_none() && row.chunks > 0 {
                row.output_tokens = Some(row.chunks);
                row.token_source = Some(TokenSource::Chunks);
            }
        } else {
            row.first_byte_us = None;
        }
        row.first_answer_us = row.first_answer_us.filter(|at| self.how.stream && Some(*at) != row.first_token_us);
        // The time of the first token is unknown if the response was not streamed.
        let stamps = if self.how.stream { self.stamps } else { Vec::new() };
        RequestOutcome { row, stamps }
    }
}

/// A body that is no event stream: an error, or a whole answer, which has no times.
fn body_failure(body: &[u8]) -> Option<HttpFailure> {
    let event = Event::parse(body).ok()?;
    if let Some(why) = event.error {
        return Some(HttpFailure { class: RequestStatus::ErrorEvent, why });
    }
    let why = "the response is a whole answer, not a stream: the server or a proxy before it does not stream (see --no-stream)";
    event.has_text.then(|| HttpFailure { class: RequestStatus::Parse, why: why.into() })
}

/// The beginning of a text of the server.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
