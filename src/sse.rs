//! Server-sent events, split at any byte.
