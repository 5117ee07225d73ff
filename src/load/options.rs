//! What bench-load was asked to do, apart from what each row says.

use std::time::Duration;

use super::dataset::DatasetEntry;
use super::request::RequestTimeouts;
use crate::base::cpus::CpuList;
use crate::base::error::Result;
use crate::engines::framework::Frameworks;
use crate::rows::kinds::{Check, Dataset, Shard};
use crate::rows::words::CheckScope;
use crate::system::meeting::Meeting;

/// Reads a dataset: the SHA-256 of its bytes, and its rows.
pub type DatasetReader = fn(&Dataset) -> Result<(String, Vec<DatasetEntry>)>;

/// What bench-load was asked to do.
#[derive(Debug)]
pub struct LoadOptions {
    /// The framework definitions, for what their endpoints accept.
    pub frameworks: Frameworks,
    /// Time limits of a request.
    pub limits: RequestTimeouts,
    /// Time limit for opening a connection.
    pub connect_timeout: Duration,
    /// Write the times of all chunks into the rows.
    pub full: bool,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// Further headers; they take precedence over the plan's.
    pub headers: Vec<(String, String)>,
    /// Name of the framework whose own benchmark client runs instead of bench-load.
    pub client: Option<String>,
    /// Our part of each load, if other clients hold the same leases.
    pub shard: Option<Shard>,
    /// Where these clients meet, if they are on other hosts.
    pub meeting: Option<Meeting>,
    /// Times that a run is measured at most, if the client fell behind in it.
    pub attempts: u32,
    /// The CPUs that bench-load runs on, where it was given some.
    pub cpus: Option<CpuList>,
    /// Number of servers that are loaded at the same time, each by a copy of bench-load.
    pub jobs: usize,
    /// This is such a copy.
    pub is_copy: bool,
    /// Number of threads that send requests and read responses.
    pub threads: usize,
    /// Reads datasets.
    pub read_dataset: DatasetReader,
    /// What to check of the answers.
    pub check: CheckOptions,
}

impl LoadOptions {
    /// True for a client that shares the load of the first one on another host.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.meeting.is_some() && self.shard.is_some_and(|shard| shard.index > 0)
    }
}

/// What to check of the answers, where the command line says so; it takes precedence over the plan.
#[derive(Debug, Default)]
pub struct CheckOptions {
    /// Which candidates.
    pub candidates: Option<CheckScope>,
    /// Number of questions.
    pub questions: Option<u32>,
    /// Path of a file of questions.
    pub file: Option<String>,
    /// Maximum number of output tokens of an answer.
    pub max_tokens: Option<u32>,
    /// The rows of a reference; empty to measure it.
    pub reference: Vec<Check>,
    /// The rows of references that were measured earlier; `None` if nobody says what was.
    pub earlier: Option<Vec<Check>>,
}
