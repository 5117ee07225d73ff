//! The states of a server, and the kinds of its start.

use super::words;

words! {
    /// A state of a server.
    pub enum ServerState, "server state" {
        /// Port, GPUs and folders are being checked.
        Preflight = "preflight",
        /// The command is being executed.
        Starting = "starting",
        /// The endpoint is being probed.
        Probing = "probing",
        /// Its row was written; no client has taken its lease yet.
        Ready = "ready",
        /// A client holds its lease, or the chained program is running.
        Leased = "leased",
        /// Something failed: everything that was started is being stopped.
        Failed = "failed",
        /// The stop ladder.
        Stopping = "stopping",
        /// It no longer holds any process, port or GPU memory.
        Released = "released",
    }
}

words! {
    /// What a start found of earlier ones.
    pub enum StartKind, "kind of start" {
        /// The folder of what its framework compiles was new.
        Cold = "cold",
        /// A server of the same version and GPU became ready with that folder before.
        Warm = "warm",
    }
}
