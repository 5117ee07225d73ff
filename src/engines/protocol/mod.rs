//! The protocol of OpenAI-compatible endpoints: server-sent events and their content.

pub mod error_body;
pub mod event;
mod sampling;
pub mod sse;

pub use self::sampling::SAMPLING;
