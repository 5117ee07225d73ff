//! One streaming HTTP client for probes and load: bytes in, chunks out. Only this file uses reqwest.
//!
//! No proxy, no redirects, no retries: everything that happens to a request is visible. HTTP/1.1 only, as the frameworks
//! serve it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::error::Error as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::base::error::{Context, Error, Result};
use crate::base::redact;
use crate::rows::kinds::{Connections, RequestStatus};

/// Maximum size of a response that is read into memory, bytes.
pub const MAX_BODY: usize = 64 << 20;

/// A client for one server.
#[derive(Debug, Clone)]
pub struct HttpClient {
    http: reqwest::Client,
    base: String,
    connections: Connections,
    /// Local addresses of the connections used so far.
    seen: Rc<RefCell<BTreeSet<SocketAddr>>>,
}

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
}

/// A response whose head has arrived.
#[derive(Debug)]
pub struct HttpAnswer {
    /// HTTP status.
    pub status: u16,
    /// It arrived on a connection that an earlier response used; `None` if unknown.
    pub reused: Option<bool>,
    response: reqwest::Response,
}

/// Why a response is missing or incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFailure {
    /// The status for the `request` row.
    pub class: RequestStatus,
    /// The innermost cause.
    pub why: String,
}

impl HttpClient {
    /// A client for `base`, an http or https URL without user, query or fragment.
    ///
    /// # Errors
    /// Any other URL, or a key or header with characters that cannot be sent.
    pub fn new(base: &str, options: &ClientOptions) -> Result<Self> {
        let base = check_base(base)?;
        install_tls();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // A server may repeat the key in a response.
        redact::hide(options.api_key.clone());
        let bearer = options.api_key.as_ref().map(|key| (AUTHORIZATION.to_string(), format!("Bearer {key}")));
        // An Authorization header of the user replaces the key.
        for (name, value) in bearer.iter().chain(&options.headers) {
            let wrong =
                |what: &str| Error::new(format!("the {what} of header {name:?} has characters that cannot be sent"));
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong("value"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(Duration::from_secs(4))
            .pool_max_idle_per_host(if options.connections == Connections::Pooled { usize::MAX } else { 0 })
            .default_headers(headers);
        if let Some(limit) = options.connect_timeout {
            http = http.connect_timeout(limit);
        }
        // Resolve the name once, so that all requests go to the same address; if that fails, connecting fails.
        let url = Url::parse(&base).map_err(|e| Error::new("not a URL").because(e))?;
        if let (Some(host), Some(port)) = (url.domain(), url.port_or_known_default())
            && let Ok(addresses) = (host, port).to_socket_addrs()
        {
            http = http.resolve_to_addrs(host, &addresses.collect::<Vec<_>>());
        }
        let http = http.build().context("cannot make an HTTP client")?;
        Ok(Self { http, base, connections: options.connections, seen: Rc::default() })
    }

    /// The base URL, without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// How it connects.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.connections
    }

    /// Sends `body` to `path` and waits for the head of the response.
    ///
    /// # Errors
    /// When no head arrived.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<HttpAnswer, HttpFailure> {
        self.send(Method::POST, path, body).await
    }

    /// Gets `path`: status and whole body.
    ///
    /// # Errors
    /// When the response did not arrive completely.
    pub async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), HttpFailure> {
        let mut answer = self.send(Method::GET, path, Vec::new()).await?;
        Ok((answer.status, answer.body().await?))
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<HttpAnswer, HttpFailure> {
        let request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        let response = request.send().await.map_err(|e| HttpFailure::of(&e))?;
        let ours = response.extensions().get::<HttpInfo>().map(HttpInfo::local_addr);
        let reused = ours.map(|ours| !self.seen.borrow_mut().insert(ours));
        Ok(HttpAnswer { status: response.status().as_u16(), reused, response })
    }
}

impl HttpAnswer {
    /// The next bytes of the body as they arrive; `None` at its end.
    ///
    /// # Errors
    /// When the body is cut off.
    pub async fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, HttpFailure> {
        self.response.chunk().await.map_err(|e| HttpFailure::of(&e))
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// When it is cut off or larger than [`MAX_BODY`].
    pub async fn body(&mut self) -> Result<Vec<u8>, HttpFailure> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(chunk.as_ref());
            if body.len() > MAX_BODY {
                return Err(HttpFailure {
                    class: RequestStatus::Parse,
                    why: "the response is larger than 64 MiB".into(),
                });
            }
        }
        Ok(body)
    }

    /// The compression of the body, which was not requested; `None` if it is not compressed.
    #[must_use]
    pub fn compressed(&self) -> Option<String> {
        let encoding = self.response.headers().get(CONTENT_ENCODING)?.to_str().unwrap_or("unknown");
        (encoding != "identity").then(|| encoding.to_string())
    }

    /// The request status for this HTTP status; `None` for 2xx.
    #[must_use]
    pub fn failure_class(&self) -> Option<RequestStatus> {
        match self.status {
            200..=299 => None,
            429 => Some(RequestStatus::Http429),
            300..=399 => Some(RequestStatus::Http3xx),
            500..=599 => Some(RequestStatus::Http5xx),
            _ => Some(RequestStatus::Http4xx),
        }
    }
}

impl HttpFailure {
    fn of(error: &reqwest::Error) -> Self {
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

fn check_base(base: &str) -> Result<String> {
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

/// True if the cause is a TLS error.
#[cfg(feature = "tls")]
fn is_tls(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<rustls::Error>()
}

#[cfg(not(feature = "tls"))]
fn is_tls(_: &(dyn std::error::Error + 'static)) -> bool {
    false
}

/// Installs the TLS provider of the process, once.
#[cfg(feature = "tls")]
fn install_tls() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // Fails only if one is installed already, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(not(feature = "tls"))]
fn install_tls() {}

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
