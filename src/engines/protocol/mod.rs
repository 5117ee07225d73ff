//! The protocol of OpenAI-compatible endpoints: server-sent events and their content.

pub mod error_body;
pub mod event;
pub mod sse;
