//! Used by every room: errors, exit statuses, notices, YAML, quoting, digests, redaction.

pub mod cpus;
pub mod digest;
pub mod error;
pub mod exit;
pub mod notice;
pub mod pattern;
pub mod random;
pub mod redact;
pub mod shell;
pub mod slots;
pub mod span;
pub mod version;
pub mod visible;
pub mod yaml;
