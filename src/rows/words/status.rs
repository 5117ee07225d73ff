//! How candidates, runs and requests end, and how requests arrive.

use super::words;

words! {
    /// The outcome of a candidate, a run or a result.
    pub enum Status, "status" {
        /// Completed, with metrics.
        Ok = "ok",
        /// Failed; `failure_class` and `failure_reason` say why.
        Failed = "failed",
        /// Out of memory.
        Oom = "oom",
        /// A time limit was exceeded.
        Timeout = "timeout",
        /// Not run, for the reason given.
        Skipped = "skipped",
    }
}

words! {
    /// The outcome of a request.
    #[derive(Default)]
    pub enum RequestStatus, "request status" {
        /// A success: status 2xx, at least one token, no error in the stream, a proper end.
        Ok = "ok",
        /// No connection.
        Connect = "connect",
        /// No TLS session.
        Tls = "tls",
        /// A redirect, which is not followed.
        Http3xx = "http_3xx",
        /// HTTP 4xx: the server rejected the request.
        Http4xx = "http_4xx",
        /// HTTP 429: too many requests.
        Http429 = "http_429",
        /// HTTP 5xx: the server failed.
        Http5xx = "http_5xx",
        /// No first token within the time limit.
        TimeoutTtft = "timeout_ttft",
        /// No chunk within the time limit.
        TimeoutIdle = "timeout_idle",
        /// Not finished within the time limit.
        TimeoutTotal = "timeout_total",
        /// The stream ended early.
        Truncated = "truncated",
        /// An event that cannot be parsed.
        Parse = "parse",
        /// An error inside the stream.
        ErrorEvent = "error_event",
        /// Ended without a token.
        NoToken = "no_token",
        /// Not sent: too many requests were in flight.
        Dropped = "dropped",
        /// Aborted by the client, or never sent.
        #[default]
        Aborted = "aborted",
    }
}

words! {
    /// How requests arrive.
    #[derive(Default)]
    pub enum LoadMode, "load mode" {
        /// At scheduled times, whatever the server does; latency counts from the due time.
        #[default]
        Open = "open",
        /// A fixed number in flight; latency counts from the send time.
        Closed = "closed",
        /// All at once; latency counts from the due time, which is 0.
        Burst = "burst",
    }
}

words! {
    /// The verdict on an SLA.
    pub enum Verdict, "verdict" {
        /// Every limit is met, with enough requests to confirm it.
        Pass = "pass",
        /// Every limit is met, but a percentile has too few requests to confirm it.
        PassUnconfirmed = "pass_unconfirmed",
        /// A limit is missed.
        Fail = "fail",
    }
}
