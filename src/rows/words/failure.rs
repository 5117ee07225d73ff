//! Why something failed, and what follows from that.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! classes {
    ($($(#[$attribute:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// Why a candidate, a run or a result failed or was not tried: finer than its status.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FailureClass {
            $($(#[$attribute])* $variant,)+
            /// A class of another version or tool, or of a framework definition of the user's.
            Other(Box<str>),
        }

        impl FailureClass {
            /// All that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its text in rows.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for FailureClass {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text.into()),
                }
            }
        }
    };
}

classes! {
    /// Not tried: a rule of the framework's definition forbids these flags.
    Rule = "rule",
    /// Not tried: these flags need another GPU, version or limit.
    Unsupported = "unsupported",
    /// Not tried: it speculates, and the plan did not ask for that.
    Speculative = "speculative",
    /// Not tried: the user excluded the framework.
    Excluded = "excluded",
    /// Not tried: too many of its framework's candidates had failed.
    GaveUp = "gave_up",
    /// Not tried: the time was over.
    Budget = "budget",
    /// Not searched to the end: worse than another candidate.
    Pruned = "pruned",
    /// The server could not be started.
    NotStarted = "not_started",
    /// Its version is not that of the other candidates.
    VersionChanged = "version_changed",
    /// The endpoint serves another model.
    WrongModel = "wrong_model",
    /// Another process listens on its port.
    PortInUse = "port_in_use",
    /// Not ready in time.
    NotReady = "not_ready",
    /// Stopped by a signal.
    Interrupted = "interrupted",
    /// No client took the lease in time.
    LeaseTimeout = "lease_timeout",
    /// What became of the server on its host cannot be found out.
    RemoteUnknown = "remote_unknown",
    /// The GPUs cannot be listed.
    GpuUnknown = "gpu_unknown",
    /// The host does not have the GPUs.
    GpuCount = "gpu_count",
    /// Other processes use the GPUs.
    GpuBusy = "gpu_busy",
    /// The log shows no usable GPU.
    NoGpu = "no_gpu",
    /// The server's first process ended.
    ServerDied = "server_died",
    /// A process of the server that it needs ended.
    WorkerDied = "worker_died",
    /// The server died before the run was done.
    ServerLost = "server_lost",
    /// The server does not answer small requests.
    NoAnswer = "no_answer",
    /// The client failed.
    ClientFailed = "client_failed",
    /// The client fell behind its schedule.
    ClientSaturated = "client_saturated",
    /// It can no longer meet its limits: cut short.
    CannotPass = "hopeless",
    /// The data set has too few rows for another run.
    PromptsExhausted = "prompts_exhausted",
    /// Requests count as done and no token came.
    NoToken = "no_token",
    /// The data set cannot be read.
    NoDataset = "no_dataset",
    /// The server did not reset its prefix cache.
    CacheNotReset = "cache_not_reset",
    /// No request succeeded.
    AllRequestsFailed = "all_requests_failed",
    /// Some of the clients that share the load are missing.
    ShardsMissing = "shards_missing",
    /// An unknown or removed flag.
    BadFlag = "bad_flag",
    /// A value that a flag does not take.
    BadValue = "bad_value",
    /// GPU memory, without a known place.
    Oom = "oom",
    /// GPU memory, while weights were loaded.
    CudaOomAtLoad = "cuda_oom_at_load",
    /// GPU memory, while graphs were captured.
    CudaOomInGraphCapture = "cuda_oom_in_graph_capture",
    /// GPU memory, under load.
    CudaOomAtRunTime = "cuda_oom_at_run_time",
    /// Memory of the host.
    HostOom = "host_oom",
    /// The model is gated and no token grants access.
    GatedModel = "gated_model",
    /// The model is not there.
    MissingModel = "missing_model",
    /// The framework does not support the model.
    UnsupportedModel = "unsupported_model",
    /// The context length is above the model's.
    ModelTooLong = "model_too_long",
    /// The tokenizer cannot be loaded.
    Tokenizer = "tokenizer",
    /// The HTTP server answers, and the engine behind it is dead.
    EngineDead = "engine_dead",
    /// An illegal memory access on a GPU.
    IllegalMemory = "illegal_memory",
    /// A watchdog ended what did not get on.
    Hang = "hang",
    /// The model hub limits requests.
    HubLimit = "hub_limit",
    /// Workers did not find each other in time.
    StoreTimeout = "store_timeout",
    /// No space left on a disk.
    DiskFull = "disk_full",
    /// Too little shared memory.
    SharedMemory = "shared_memory",
    /// Memory cannot be locked.
    LockedMemory = "locked_memory",
    /// The model needs `--trust-remote-code`.
    NeedsRemoteCode = "needs_remote_code",
    /// The driver is older than the framework needs.
    DriverMismatch = "driver_mismatch",
    /// No kernel for this GPU or these settings.
    MissingKernel = "missing_kernel",
    /// Communication between GPUs.
    Nccl = "nccl",
}

impl FailureClass {
    /// The attempt was cut off, or not made at all: nothing about the candidate follows from that.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Budget)
    }

    /// Another attempt may succeed: the cause was outside of the candidate.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer
                | Self::StoreTimeout
                | Self::DiskFull
                | Self::SharedMemory
                | Self::EngineDead
                | Self::IllegalMemory
                | Self::Hang
                | Self::HubLimit
                | Self::WorkerDied
                | Self::GpuBusy
                | Self::Interrupted
                | Self::ServerLost
                | Self::ServerDied
                | Self::ClientSaturated
                | Self::Budget
                | Self::NotReady
                | Self::PortInUse
                | Self::LeaseTimeout
                | Self::ClientFailed
        )
    }

    /// It counts towards giving up the framework: the host was not busy, and the plan not wrong for it.
    #[must_use]
    pub fn counts_against_framework(&self) -> bool {
        !matches!(
            self,
            Self::PortInUse
                | Self::GpuBusy
                | Self::GpuCount
                | Self::GpuUnknown
                | Self::Unsupported
                | Self::Interrupted
                | Self::LeaseTimeout
        )
    }

    /// GPU or host memory ran out.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(
            self,
            Self::Oom | Self::CudaOomAtLoad | Self::CudaOomInGraphCapture | Self::CudaOomAtRunTime | Self::HostOom
        )
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for FailureClass {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for FailureClass {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(source).map(|text| Self::from(&*text))
    }
}

#[cfg(test)]
impl schemars::JsonSchema for FailureClass {
    fn schema_name() -> Cow<'static, str> {
        "FailureClass".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let known: Vec<&str> = Self::ALL.iter().map(Self::as_str).collect();
        schemars::json_schema!({
            "type": "string",
            "description": "Why it failed or was not tried. Other versions and tools may have classes of their own.",
            "examples": known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_another_version_survives() {
        let class: FailureClass = serde_json::from_str("\"from_the_future\"").unwrap();
        assert_eq!(serde_json::to_string(&class).unwrap(), "\"from_the_future\"");
        assert_eq!(class, FailureClass::Other("from_the_future".into()));
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::from(class.as_str()), *class);
        }
    }
}
