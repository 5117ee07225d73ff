//! How a client connects, what it sends with every request, and which URLs it accepts.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::base::error::{Error, Result};
use crate::base::redact;
use crate::rows::kinds::Connections;

/// What a client sends with every request, and how it connects.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// Whether connections are reused.
    pub connections: Connections,
    /// Time limit for connecting; unlimited if absent.
    pub connect_timeout: Option<Duration>,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// Further headers, name and value.
    pub headers: Vec<(String, String)>,
}

impl ClientOptions {
    /// For a few requests, each on a connection of its own.
    #[must_use]
    pub fn single(connect_timeout: Duration, api_key: Option<&str>) -> Self {
        Self {
            connections: Connections::PerRequest,
            connect_timeout: Some(connect_timeout),
            api_key: api_key.map(String::from),
            headers: Vec::new(),
        }
    }

    /// The headers of every request; the key of the user is marked as one that is not shown.
    ///
    /// # Errors
    /// A key or header with characters that cannot be sent.
    pub(super) fn header_map(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // A server may repeat the key in a response.
        redact::hide(self.api_key.clone());
        let bearer = self.api_key.as_ref().map(|key| (AUTHORIZATION.to_string(), format!("Bearer {key}")));
        // An Authorization header of the user replaces the key.
        for (name, value) in bearer.iter().chain(&self.headers) {
            let wrong =
                |what: &str| Error::new(format!("the {what} of header {name:?} has characters that cannot be sent"));
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong("value"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        Ok(headers)
    }
}

/// The base URL without a trailing slash.
///
/// # Errors
/// Any URL that is not http or https, or has a user, query or fragment.
pub(super) fn check_base(base: &str) -> Result<String> {
    let wrong = |what: &str| Error::new(what).at(base.split('@').next_back().unwrap_or_default());
    let url = Url::parse(base).map_err(|e| wrong("not a URL").because(e))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("not an http:// or https:// URL"));
    }
    if url.scheme() == "https" && cfg!(not(feature = "tls")) {
        return Err(wrong("https:// needs a build with the feature tls, which this one leaves out"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "the URL must not contain a user or password; put the key into the environment (--api-key-env)",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("the base URL must not have a query or fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_base_urls() {
        assert_eq!(check_base("http://127.0.0.1:8000/").unwrap(), "http://127.0.0.1:8000");
        match check_base("https://host/prefix/") {
            Ok(base) => assert_eq!((base.as_str(), cfg!(feature = "tls")), ("https://host/prefix", true)),
            Err(e) => assert!(e.to_string().contains("the feature tls") && cfg!(not(feature = "tls")), "{e}"),
        }
        for bad in ["ftp://x", "http://u:secret@h", "http://h/?a=1", "h:80", "http://h/#f", "/v1"] {
            let error = check_base(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
