//! Why a response is missing or incomplete.

use std::error::Error as _;

use crate::rows::kinds::RequestStatus;

/// Why a response is missing or incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFailure {
    /// The status for the `request` row.
    pub class: RequestStatus,
    /// The innermost cause.
    pub why: String,
}

impl HttpFailure {
    /// No connection, or none that answered.
    pub(super) fn connect(why: impl std::fmt::Display) -> Self {
        Self { class: RequestStatus::Connect, why: why.to_string() }
    }

    /// The answer ended before its end.
    pub(super) fn truncated(why: impl std::fmt::Display) -> Self {
        Self { class: RequestStatus::Truncated, why: why.to_string() }
    }

    /// From an error of reqwest.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut why = String::new();
        let mut tls = false;
        let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
        while let Some(e) = cause {
            tls |= is_tls(e);
            why = e.to_string();
            cause = e.source();
        }
        if why.is_empty() {
            why = error.to_string();
        }
        // A timeout in a slow body is also a decoding error, so check for the timeout first.
        let class = match () {
            () if tls => RequestStatus::Tls,
            () if error.is_connect() => RequestStatus::Connect,
            () if error.is_timeout() => RequestStatus::TimeoutTotal,
            () if error.is_body() || error.is_decode() => RequestStatus::Truncated,
            () => RequestStatus::Connect,
        };
        Self { class, why }
    }
}

impl std::fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for HttpFailure {}

/// True if the cause is a TLS error.
#[cfg(feature = "tls")]
fn is_tls(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<rustls::Error>()
}

#[cfg(not(feature = "tls"))]
fn is_tls(_: &(dyn std::error::Error + 'static)) -> bool {
    false
}
