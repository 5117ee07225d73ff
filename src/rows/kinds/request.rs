//! `request`: what happened to one request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;
use crate::rows::units::Micros;

/// A `request` row. Times are µs on the monotonic clock from the run's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The run that it belongs to.
    pub run_id: String,
    /// Its number, from 0, in the order of the schedule.
    pub i: u32,
    /// `warmup`, `measured`, or `tail`: sent so that the load goes on until the measured ones are back.
    #[serde(deserialize_with = "words::phase")]
    pub phase: String,
    /// When it was to be sent; absent in closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_us: Option<Micros>,
    /// When it was handed to the connection; absent when it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_us: Option<Micros>,
    /// First byte of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<Micros>,
    /// First token-bearing chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_us: Option<Micros>,
    /// First token of the answer itself, where reasoning came before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answer_us: Option<Micros>,
    /// Last token-bearing chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token_us: Option<Micros>,
    /// End of the stream, or of waiting for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_us: Option<Micros>,
    /// Output tokens that were asked for, where not every request of the run asks for as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_output_tokens: Option<u32>,
    /// Prompt tokens, by usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u32>,
    /// Prompt tokens that the server took from its cache, by usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
    /// Output tokens, reasoning included, from `token_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u32>,
    /// Where `output_tokens` comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_source: Option<TokenSource>,
    /// Token-bearing chunks.
    pub chunks: u32,
    /// `ok`, or the class of the failure.
    pub status: RequestStatus,
    /// It went over a connection that an earlier one had made; absent where nothing came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_connection: Option<bool>,
    /// HTTP status, when there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// As the server says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// What went wrong, redacted, short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Times of the token-bearing chunks, with `--itl full`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunk_us: Vec<Micros>,
}

/// Where a token count comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The server's `usage`.
    Usage,
    /// Token ids in the stream.
    TokenIds,
    /// Chunks were counted: a lower bound, not used for TPOT or tokens per second.
    Chunks,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestStatus {
    /// 2xx, a token, no error event, a finish reason or `[DONE]`, within its time limits.
    Ok,
    /// No connection.
    Connect,
    /// TLS failed.
    Tls,
    /// 3xx: redirects are not followed.
    #[serde(rename = "http_3xx")]
    Http3xx,
    /// 4xx but 429.
    #[serde(rename = "http_4xx")]
    Http4xx,
    /// 429.
    #[serde(rename = "http_429")]
    Http429,
    /// 5xx.
    #[serde(rename = "http_5xx")]
    Http5xx,
    /// No token in time.
    TimeoutTtft,
    /// No byte for too long.
    TimeoutIdle,
    /// Not done in time.
    TimeoutTotal,
    /// The stream ended before its end.
    Truncated,
    /// Not UTF-8, not JSON, or too large.
    Parse,
    /// An error inside a stream that began with 200.
    ErrorEvent,
    /// A whole stream without a token.
    NoToken,
    /// Due above the cap of requests in flight: never sent.
    Dropped,
    /// We gave it up: interrupted, or the server was lost.
    #[default]
    Aborted,
}
