//! `request`: what happened to one request.

use serde::{Deserialize, Serialize};

use crate::rows::words::{Phase, RequestStatus};

use crate::rows::units::Micros;

/// A `request` row. Times are µs on the monotonic clock from the run's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Request {
    /// The run that it belongs to.
    pub run_id: String,
    /// Its number, from 0, in the order of the schedule.
    pub i: u32,
    /// `warmup`, `measured`, or `tail`: sent to keep up the load until the measured ones return.
    pub phase: Phase,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The server's `usage`.
    Usage,
    /// Token ids in the stream.
    TokenIds,
    /// Chunks were counted: a lower bound, not used for TPOT or tokens per second.
    Chunks,
}
