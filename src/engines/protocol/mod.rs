//! What an OpenAI-compatible endpoint sends: server-sent events and the events in them.

pub mod event;
pub mod sse;
