//! `request`: what happened to one request.

use serde::{Deserialize, Serialize};

use crate::rows::words::{Phase, RequestStatus, TokenSource};

use crate::rows::units::Micros;

/// A `request` row. Times are µs on the monotonic clock from the run's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Request {
    /// The run that it belongs to.
    pub run_id: String,
    /// Index in the schedule, from 0.
    pub i: u32,
    /// `warmup`, `measured`, or `tail`: sent to keep the load running until the measured requests return.
    pub phase: Phase,
    /// When it was due; absent in closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_us: Option<Micros>,
    /// When it was handed to the connection; absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_us: Option<Micros>,
    /// First byte of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<Micros>,
    /// First token-bearing chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_us: Option<Micros>,
    /// First token of the answer itself, after reasoning; absent without reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answer_us: Option<Micros>,
    /// Last token-bearing chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token_us: Option<Micros>,
    /// End of the stream, or when waiting for it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_us: Option<Micros>,
    /// Requested output tokens, if the requests of the run differ in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_output_tokens: Option<u32>,
    /// Prompt tokens, from `usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u32>,
    /// Prompt tokens that the server took from its cache, from `usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
    /// Output tokens, reasoning included, from `token_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u32>,
    /// Source of `output_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_source: Option<TokenSource>,
    /// Number of token-bearing chunks.
    pub chunks: u32,
    /// Output tokens that arrived together with the first one, if there are several: when each of them was sent is unknown, so
    /// TPOT counts only the tokens after them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_tokens: Option<u32>,
    /// Choices of the answer, if it has several (`n` of the request's body): there is no TPOT, since they share the chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<u32>,
    /// `ok`, or the kind of failure.
    pub status: RequestStatus,
    /// It reused the connection of an earlier request; absent if nothing was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_connection: Option<bool>,
    /// HTTP status, if a response arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Finish reason, in the server's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// The error message, redacted and shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Times of the token-bearing chunks, µs; only with `--itl full`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunk_us: Vec<Micros>,
}
