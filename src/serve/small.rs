//! Requests as small as they can be, for the probe and the preflight.

use std::time::Instant;

use serde_json::{Value, json};

use crate::base::redact;
use crate::engines::protocol::event::Event;
use crate::engines::protocol::sse::{Part, Splitter};
use crate::system::http::HttpClient;

/// Where completions are asked for, and what stands in when a server has only chat.
const ENDPOINTS: [(&str, bool); 2] = [("/v1/completions", false), ("/v1/chat/completions", true)];
/// The most of an answer that is kept for people, in bytes.
const KEPT: usize = 64 << 10;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct ProbeRequest<'a> {
    /// The model's id.
    pub model: &'a str,
    /// Most tokens of the answer.
    pub tokens: u32,
    /// Token by token.
    pub streamed: bool,
}

/// A whole answer with at least one token.
#[derive(Debug)]
pub struct ProbeAnswer {
    /// When the first chunk with a token came, for a stream.
    pub first_token: Option<Instant>,
    /// What was sent back.
    pub text: String,
}

impl ProbeRequest<'_> {
    /// Asks, and reads the answer to its end.
    ///
    /// # Errors
    /// A sentence why there is no such answer.
    pub async fn ask(&self, client: &HttpClient) -> Result<ProbeAnswer, String> {
        let mut why = String::new();
        for (path, chat) in ENDPOINTS {
            let mut answer = client.post(path, self.body(chat).to_string().into_bytes()).await.map_err(|e| e.why)?;
            if answer.status == 200 {
                return self.read(answer).await;
            }
            let status = answer.status;
            let body = answer.body().await.unwrap_or_default();
            // Before it is cut: half a secret is found by nobody.
            let text: String = redact::outgoing(&String::from_utf8_lossy(&body)).chars().take(200).collect();
            why = format!("a completion answers {status}: {text}");
            // A server that has no such path may have the other.
            if !matches!(status, 404 | 405) {
                break;
            }
        }
        Err(why)
    }

    fn body(&self, chat: bool) -> Value {
        let mut body =
            json!({"model": self.model, "max_tokens": self.tokens, "temperature": 0, "stream": self.streamed});
        if self.streamed {
            body["stream_options"] = json!({"include_usage": true});
        }
        if chat {
            body["messages"] = json!([{"role": "user", "content": "one two three"}]);
        } else {
            body["prompt"] = "one two three".into();
        }
        body
    }

    async fn read(&self, mut answer: crate::system::http::HttpAnswer) -> Result<ProbeAnswer, String> {
        if !self.streamed {
            let body = answer.body().await.map_err(|e| e.why)?;
            let event = Event::parse(&body)?;
            let text = String::from_utf8_lossy(&body[..body.len().min(KEPT)]).into_owned();
            return finished(
                bears_token(&event).then(Instant::now),
                event.error,
                ProbeAnswer { first_token: None, text },
            );
        }
        let mut splitter = Splitter::default();
        let (mut first_token, mut error, mut bytes) = (None, None, Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(|e| e.why)? {
            let now = Instant::now();
            let room = KEPT.saturating_sub(bytes.len());
            bytes.extend(chunk.as_ref().iter().take(room));
            splitter.push(chunk.as_ref(), |part| match part {
                Part::Data(data) => match Event::parse(data) {
                    Ok(event) => {
                        if bears_token(&event) {
                            first_token.get_or_insert(now);
                        }
                        error = error.take().or(event.error);
                    }
                    Err(e) => error = Some(e),
                },
                Part::Error(words) => error = Some(String::from_utf8_lossy(words).into_owned()),
            });
        }
        finished(first_token, error, ProbeAnswer { first_token, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

/// A first token may be half a character, which some engines hold back: its count is as good.
fn bears_token(event: &Event) -> bool {
    event.has_text || event.usage.and_then(|usage| usage.output).is_some_and(|n| n > 0)
}

fn finished(token: Option<Instant>, error: Option<String>, answered: ProbeAnswer) -> Result<ProbeAnswer, String> {
    match error {
        Some(error) => Err(format!("a completion ends in an error: {error}")),
        None if token.is_some() => Ok(answered),
        None => Err("a completion streams no token".into()),
    }
}
