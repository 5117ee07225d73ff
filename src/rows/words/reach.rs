//! How a client reaches a server.

use super::words;

words! {
    /// How the client reaches the server, the nearest first.
    #[derive(Default)]
    pub enum ReachedBy, "way to reach a server" {
        /// Over the loopback interface.
        #[default]
        SameHost = "same_host",
        /// Over a network: its latency is in every figure.
        Network = "network",
        /// By a URL that was given: what lies between is not known.
        Url = "url",
        /// Through a tunnel: its latency and its throughput are in every figure.
        Tunnel = "tunnel",
    }
}
