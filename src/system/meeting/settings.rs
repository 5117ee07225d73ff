//! How clients meet, and why a run of theirs cannot be.

use std::path::PathBuf;
use std::time::Duration;

use crate::rows::kinds::Shard;

/// How clients meet.
#[derive(Debug, Clone)]
pub struct MeetingSettings {
    /// `HOST:PORT`: where the first client listens, and where all others find it.
    pub address: String,
    /// The file with what all of them know.
    pub secret: PathBuf,
    /// How long to wait for the others.
    pub limit: Duration,
    /// Which of the clients this is.
    pub shard: Shard,
}

/// Why a run cannot begin or go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeetingFailure {
    /// Another client left, did not come in time, or is about to do something else.
    Missing(String),
    /// The first client no longer has this server.
    ServerOver,
}
