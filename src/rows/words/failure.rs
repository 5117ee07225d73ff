//! Why something failed, and what follows from it.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! classes {
    ($($(#[$attribute:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// Why a candidate, a run or a result failed or was not run: more specific than its status.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FailureClass {
            $($(#[$attribute])* $variant,)+
            /// A class of another version or tool, or of a user's framework definition.
            Other(Box<str>),
        }

        impl FailureClass {
            /// All classes that this version knows.
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
    /// Not run: a rule of the framework's definition excludes these flags.
    Rule = "rule",
    /// Not run: these flags need another GPU, version or limit.
    Unsupported = "unsupported",
    /// Not run: it uses speculative decoding, which is searched in a second stage.
    Speculative = "speculative",
    /// Not run: the user excluded the framework.
    Excluded = "excluded",
    /// Not run: too many candidates of its framework had failed.
    GaveUp = "gave_up",
    /// Not run: a candidate that asks for no more, or has the same shape, failed to start.
    Foreseen = "foreseen",
    /// Not run: the time budget was used up.
    Budget = "budget",
    /// Search stopped early: worse than another candidate.
    Pruned = "pruned",
    /// Not searched: another candidate of its framework was better in the first of two stages.
    Outraced = "outraced",
    /// Not ranked: it was measured beside other servers, and these disturb each other.
    SlotInterference = "slot_interference",
    /// The server could not be started.
    NotStarted = "not_started",
    /// The server has another version than the one its flags were checked for.
    VersionChanged = "version_changed",
    /// The endpoint serves another model.
    WrongModel = "wrong_model",
    /// Another process listens on its port.
    PortInUse = "port_in_use",
    /// Not ready within the time limit.
    NotReady = "not_ready",
    /// Stopped by a signal.
    Interrupted = "interrupted",
    /// No client took the lease in time.
    LeaseTimeout = "lease_timeout",
    /// The state of the server on its host is unknown.
    RemoteUnknown = "remote_unknown",
    /// The GPUs cannot be listed.
    GpuUnknown = "gpu_unknown",
    /// The host does not have the GPUs.
    GpuCount = "gpu_count",
    /// Other processes use the GPUs.
    GpuBusy = "gpu_busy",
    /// The log shows no usable GPU.
    NoGpu = "no_gpu",
    /// The server's first process exited.
    ServerDied = "server_died",
    /// A worker process of the server exited.
    WorkerDied = "worker_died",
    /// The server died before the run ended.
    ServerLost = "server_lost",
    /// The server does not complete small requests.
    NoAnswer = "no_answer",
    /// The client failed.
    ClientFailed = "client_failed",
    /// The client fell behind its schedule.
    ClientSaturated = "client_saturated",
    /// Cut short: it could no longer meet the SLA.
    CannotPass = "hopeless",
    /// The dataset has too few rows for another run.
    PromptsExhausted = "prompts_exhausted",
    /// Responses are complete but do not contain any token.
    NoToken = "no_token",
    /// The dataset cannot be read.
    NoDataset = "no_dataset",
    /// The server did not reset its prefix cache.
    CacheNotReset = "cache_not_reset",
    /// No request succeeded.
    AllRequestsFailed = "all_requests_failed",
    /// Not ranked: another acceptance length than the forced one was counted, or none.
    AcceptanceMissed = "acceptance_missed",
    /// Not ranked: it drafts tokens for generated prompts.
    MadeUpDrafts = "made_up_drafts",
    /// Rows of its requests are missing.
    Incomplete = "incomplete",
    /// Some of the clients that share the load are missing.
    ShardsMissing = "shards_missing",
    /// An unknown or removed flag.
    BadFlag = "bad_flag",
    /// A value that a flag does not accept.
    BadValue = "bad_value",
    /// Out of GPU memory, at an unknown point.
    Oom = "oom",
    /// Out of GPU memory while loading weights.
    CudaOomAtLoad = "cuda_oom_at_load",
    /// Out of GPU memory while capturing graphs.
    CudaOomInGraphCapture = "cuda_oom_in_graph_capture",
    /// Out of GPU memory under load.
    CudaOomAtRunTime = "cuda_oom_at_run_time",
    /// Out of host memory.
    HostOom = "host_oom",
    /// The model is gated and no token grants access.
    GatedModel = "gated_model",
    /// The model does not exist.
    MissingModel = "missing_model",
    /// The framework does not support the model.
    UnsupportedModel = "unsupported_model",
    /// The context length is above the model's.
    ModelTooLong = "model_too_long",
    /// A shape of the model is not divisible by the degree of parallelism.
    Indivisible = "indivisible",
    /// The container image does not exist, or the registry refuses it.
    MissingImage = "missing_image",
    /// A library or an operator of the installation is missing or of another version.
    BrokenInstall = "broken_install",
    /// The driver lost the GPU.
    DeviceLost = "device_lost",
    /// The tokenizer cannot be loaded.
    Tokenizer = "tokenizer",
    /// The HTTP server still responds, but the engine behind it is dead.
    EngineDead = "engine_dead",
    /// An illegal memory access on a GPU.
    IllegalMemory = "illegal_memory",
    /// A watchdog killed a process that made no progress.
    Hang = "hang",
    /// The model hub limits the request rate.
    HubLimit = "hub_limit",
    /// Workers did not connect to each other in time.
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
    /// Communication between GPUs failed.
    Nccl = "nccl",
}

impl FailureClass {
    /// The attempt was interrupted or not made: nothing about the candidate follows from it.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Budget)
    }

    /// Another attempt may succeed, because the cause was not the candidate.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer
                | Self::SlotInterference
                | Self::StoreTimeout
                | Self::DiskFull
                | Self::SharedMemory
                | Self::EngineDead
                | Self::IllegalMemory
                | Self::DeviceLost
                | Self::Hang
                | Self::HubLimit
                | Self::WorkerDied
                | Self::GpuBusy
                | Self::Interrupted
                | Self::Incomplete
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

    /// It counts towards giving up the framework: neither a busy host nor a wrong plan caused it.
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
                | Self::AcceptanceMissed
                | Self::MadeUpDrafts
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
