//! A response whose head has arrived.

use std::time::Instant;

use reqwest::header::CONTENT_ENCODING;

use super::exchange::WireAnswer;
use super::failure::HttpFailure;
use crate::rows::kinds::RequestStatus;

/// Maximum size of a response that is read into memory, bytes.
pub const MAX_BODY: usize = 64 << 20;

/// A response whose head has arrived.
#[derive(Debug)]
pub struct HttpAnswer {
    /// HTTP status.
    pub status: u16,
    /// It arrived on a connection that an earlier response used; `None` if unknown.
    pub reused: Option<bool>,
    /// The compression of the body, which was not requested; `None` if it is not compressed.
    pub compressed: Option<String>,
    body: Body,
}

/// The body of a response, and who reads it.
#[derive(Debug)]
enum Body {
    Reqwest(reqwest::Response),
    Wire(WireAnswer),
}

impl HttpAnswer {
    pub(super) fn of_reqwest(response: reqwest::Response, reused: Option<bool>) -> Self {
        let encoding = response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("unknown"));
        let compressed = encoding.filter(|encoding| *encoding != "identity").map(String::from);
        Self { status: response.status().as_u16(), reused, compressed, body: Body::Reqwest(response) }
    }

    pub(super) fn of_wire(mut answer: WireAnswer) -> Self {
        let (status, compressed) = (answer.status, answer.encoding.take());
        Self { status, reused: Some(answer.reused), compressed, body: Body::Wire(answer) }
    }

    /// Adds the next bytes of the body to `into`, as they arrive; the time at which they were read, `None` at its end. Nothing is
    /// lost if this is dropped before it returns.
    ///
    /// # Errors
    /// When the body is cut off.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> Result<Option<Instant>, HttpFailure> {
        match &mut self.body {
            Body::Wire(answer) => answer.read(into).await,
            Body::Reqwest(response) => {
                let chunk = response.chunk().await.map_err(|e| HttpFailure::of(&e))?;
                Ok(chunk.map(|chunk| {
                    let now = Instant::now();
                    into.extend_from_slice(&chunk);
                    now
                }))
            }
        }
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// When it is cut off or larger than [`MAX_BODY`].
    pub async fn body(&mut self) -> Result<Vec<u8>, HttpFailure> {
        self.body_within(MAX_BODY).await
    }

    /// The rest of the body, of at most `limit` bytes.
    ///
    /// # Errors
    /// When it is cut off or larger.
    pub async fn body_within(&mut self, limit: usize) -> Result<Vec<u8>, HttpFailure> {
        let mut body = Vec::new();
        while self.read(&mut body).await?.is_some() {
            if body.len() > limit {
                let why = format!("the response is larger than {} MiB", limit >> 20);
                return Err(HttpFailure { class: RequestStatus::Parse, why });
            }
        }
        Ok(body)
    }

    /// The request status for this HTTP status; `None` for 2xx.
    #[must_use]
    pub fn failure_class(&self) -> Option<RequestStatus> {
        match self.status {
            200..=299 => None,
            429 => Some(RequestStatus::Http429),
            300..=399 => Some(RequestStatus::Http3xx),
            500..=599 => Some(RequestStatus::Http5xx),
            _ => Some(RequestStatus::Http4xx),
        }
    }
}
