//! The settings of one bench-serve.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::cpus::CpuList;
use crate::base::slots::SlotList;
use crate::engines::framework::Frameworks;

/// Several servers at the same time, each with a part of the host.
#[derive(Debug)]
pub struct SlotPlan {
    /// The GPUs of each; of an engine on the CPU its CPUs.
    pub slots: SlotList,
    /// The CPUs of each, besides GPUs.
    pub cpus: Option<SlotList>,
}

/// How candidates are started, leased and stopped.
#[derive(Debug)]
pub struct ServeOptions {
    /// The framework definitions.
    pub frameworks: Frameworks,
    /// Several servers at the same time.
    pub slots: Option<SlotPlan>,
    /// Folder of logs and option files.
    pub artifacts: PathBuf,
    /// Folder of what servers compile, which later ones find; `None`: each server keeps it where it usually does.
    pub caches: Option<PathBuf>,
    /// Use this port instead of a free one.
    pub port: Option<u16>,
    /// How long a server may take to become ready, instead of the definition's limit.
    pub ready_timeout: Option<Duration>,
    /// How long a ready server waits for a client to take its lease.
    pub lease_timeout: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Number of clients that share the lease.
    pub holders: usize,
    /// The program to run once per server; empty when bench-load is next in the pipe.
    pub chain: Vec<String>,
    /// No candidate is started later than this, counted from the start of bench-serve.
    pub budget: Option<Duration>,
    /// The command that lists the GPUs, in the format of `nvidia-smi`; empty: `nvidia-smi` itself.
    pub gpu_probe: Vec<String>,
    /// How long to wait for a stopped server's GPU memory to be freed.
    pub release_timeout: Duration,
    /// Skip the rest of a framework after this number of failed candidates when none was good; `None`: never.
    pub give_up: Option<u32>,
    /// Lease the server at this URL instead of starting one.
    pub attach: Option<String>,
    /// The CPUs that are left to the servers, where the client has some of its own.
    pub cpus: Option<CpuList>,
    /// Maximum size of a server's log, in bytes.
    pub log_limit: u64,
    /// Sent as a bearer token when a server is probed.
    pub api_key: Option<String>,
    /// Only check that each framework's baseline serves; no server is leased.
    pub smoke: bool,
    /// Standard output is a terminal: run each server until Ctrl-C.
    pub hold: bool,
}
