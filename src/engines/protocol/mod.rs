//! The protocol of OpenAI-compatible endpoints: server-sent events and their content.

pub mod event;
pub mod sse;
