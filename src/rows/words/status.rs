//! How something ended, and how requests arrive.

use super::words;

words! {
    /// The outcome of a candidate, a run or a result.
    pub enum Status, "status" {
        /// Done, with metrics.
        Ok = "ok",
        /// Tried and failed; `failure_class` and `failure_reason` say why.
        Failed = "failed",
        /// Failed for lack of memory.
        Oom = "oom",
        /// A time limit passed.
        Timeout = "timeout",
        /// Not tried, for the reason given.
        Skipped = "skipped",
    }
}

words! {
    /// The outcome of a request.
    #[derive(Default)]
    pub enum RequestStatus, "request status" {
        /// A success: 2xx, a token, no error in the stream, a proper end.
        Ok = "ok",
        /// No connection.
        Connect = "connect",
        /// No TLS session.
        Tls = "tls",
        /// A redirect: it is not followed.
        Http3xx = "http_3xx",
        /// The server refused the request.
        Http4xx = "http_4xx",
        /// Too many requests.
        Http429 = "http_429",
        /// The server failed.
        Http5xx = "http_5xx",
        /// No first token in time.
        TimeoutTtft = "timeout_ttft",
        /// No chunk in time.
        TimeoutIdle = "timeout_idle",
        /// No end in time.
        TimeoutTotal = "timeout_total",
        /// The stream ended without its end.
        Truncated = "truncated",
        /// An event that is not understood.
        Parse = "parse",
        /// An error inside the stream.
        ErrorEvent = "error_event",
        /// Ended without a token.
        NoToken = "no_token",
        /// Not sent: too many were in flight.
        Dropped = "dropped",
        /// Given up by the client, or never sent.
        #[default]
        Aborted = "aborted",
    }
}

words! {
    /// How requests arrive.
    #[derive(Default)]
    pub enum LoadMode, "load mode" {
        /// At times made beforehand, whatever the server does; latency counts from the due time.
        #[default]
        Open = "open",
        /// A fixed number in flight; latency counts from the sending.
        Closed = "closed",
        /// All at once; latency counts from the due time, which is 0.
        Burst = "burst",
    }
}

words! {
    /// The gate's answer.
    pub enum Verdict, "verdict" {
        /// Every limit holds, with enough requests to say so.
        Pass = "pass",
        /// Every limit holds, but a percentile has too few requests behind it.
        PassUnconfirmed = "pass_unconfirmed",
        /// A limit is broken.
        Fail = "fail",
    }
}
