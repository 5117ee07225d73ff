//! Minimal completion requests, for the probe and the smoke test.

use std::time::Instant;

use serde_json::{Value, json};

use crate::base::redact;
use crate::engines::protocol::event::Event;
use crate::engines::protocol::sse::{Part, Splitter};
use crate::rows::words::Endpoint;
use crate::system::http::HttpClient;

/// The endpoints in the order in which they are tried: some servers have only chat.
const ENDPOINTS: [Endpoint; 2] = [Endpoint::Completions, Endpoint::Chat];
/// Maximum bytes of a response in the smoke test's artifact.
const TEXT_LIMIT: usize = 64 << 10;

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct ProbeRequest<'a> {
    /// The model's id.
    pub model: &'a str,
    /// Maximum number of output tokens.
    pub tokens: u32,
    /// Ask for a stream.
    pub streamed: bool,
}

/// A complete response with at least one token.
#[derive(Debug)]
pub struct ProbeAnswer {
    /// When the first chunk with a token arrived, for a stream.
    pub first_token: Option<Instant>,
    /// The body.
    pub text: String,
}

impl ProbeRequest<'_> {
    /// Sends the request and reads the whole response.
    ///
    /// # Errors
    /// A sentence that says why the request failed.
    pub async fn send(&self, client: &HttpClient) -> Result<ProbeAnswer, String> {
        let mut why = String::new();
        for endpoint in ENDPOINTS {
            let mut answer = client
                .post(endpoint.as_str(), self.body(endpoint).to_string().into_bytes())
                .await
                .map_err(|e| e.why)?;
            if answer.status == 200 {
                return self.read(answer).await;
            }
            let status = answer.status;
            let body = answer.body().await.unwrap_or_default();
            // Redacted before it is shortened: half a secret would not be recognized.
            let text: String = redact::outgoing(&String::from_utf8_lossy(&body)).chars().take(200).collect();
            why = format!("a completion returned HTTP {status}: {text}");
            // A server without this path may have the other.
            if !matches!(status, 404 | 405) {
                break;
            }
        }
        Err(why)
    }

    fn body(&self, endpoint: Endpoint) -> Value {
        let mut body =
            json!({"model": self.model, "max_tokens": self.tokens, "temperature": 0, "stream": self.streamed});
        if self.streamed {
            body["stream_options"] = json!({"include_usage": true});
        }
        if endpoint == Endpoint::Chat {
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
            let text = String::from_utf8_lossy(&body[..body.len().min(TEXT_LIMIT)]).into_owned();
            return finished(
                has_token(&event).then(Instant::now),
                event.error,
                ProbeAnswer { first_token: None, text },
            );
        }
        let mut splitter = Splitter::default();
        let (mut first_token, mut error, mut bytes, mut chunk) = (None, None, Vec::new(), Vec::new());
        while let Some(now) = answer.read(&mut chunk).await.map_err(|e| e.why)? {
            let room = TEXT_LIMIT.saturating_sub(bytes.len());
            bytes.extend(chunk.iter().take(room));
            splitter.push(&chunk, |part| match part {
                Part::Body(_) => {}
                Part::Data(data) => match Event::parse(data) {
                    Ok(event) => {
                        if has_token(&event) {
                            first_token.get_or_insert(now);
                        }
                        error = error.take().or(event.error);
                    }
                    Err(e) => error = Some(e),
                },
                Part::Error(bytes) => error = Some(String::from_utf8_lossy(bytes).into_owned()),
            });
            chunk.clear();
        }
        finished(first_token, error, ProbeAnswer { first_token, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

/// A first token may be half a character, which some engines hold back: its count in the usage counts as well.
fn has_token(event: &Event) -> bool {
    event.has_text || event.usage.and_then(|usage| usage.output).is_some_and(|n| n > 0)
}

fn finished(token: Option<Instant>, error: Option<String>, answer: ProbeAnswer) -> Result<ProbeAnswer, String> {
    match error {
        Some(error) => Err(format!("a completion ended in an error: {error}")),
        None if token.is_some() => Ok(answer),
        None => Err("a completion returned no token".into()),
    }
}
