//! How clients reach a server, and whether they reuse connections.

use super::words;

words! {
    /// How clients reach a server, the nearest first.
    #[derive(Default)]
    pub enum ReachedBy, "way to reach a server" {
        /// Over the loopback interface.
        #[default]
        SameHost = "same_host",
        /// Over a network: every latency includes its delay.
        Network = "network",
        /// By a URL given with `--url` or `--attach`: what lies between is unknown.
        Url = "url",
        /// Through a tunnel: its latency and throughput affect every number.
        Tunnel = "tunnel",
    }
}

words! {
    /// Whether connections are reused.
    #[derive(Default)]
    pub enum Connections, "use of connections" {
        /// Kept alive and reused.
        #[default]
        Pooled = "pooled",
        /// A new one for each request, for servers that close connections despite keep-alive.
        PerRequest = "per_request",
    }
}
