//! The client of everything that is not a stream of a load over plain HTTP: probes, counters, and all of https.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::{Method, Url};

use super::answer::HttpAnswer;
use super::failure::HttpFailure;
use super::options::{ClientOptions, check_base};
use crate::base::error::{Context, Error, Result};
use crate::rows::kinds::Connections;

/// Maximum size of the response to a GET, bytes.
const MAX_GET: usize = 4 << 20;

/// A client for one server.
#[derive(Debug, Clone)]
pub struct HttpClient {
    http: reqwest::Client,
    base: String,
    connections: Connections,
    /// Local addresses of the connections used so far.
    seen: Rc<RefCell<BTreeSet<SocketAddr>>>,
}

impl HttpClient {
    /// A client for `base`, an http or https URL without user, query or fragment.
    ///
    /// # Errors
    /// Any other URL, or a key or header with characters that cannot be sent.
    pub fn new(base: &str, options: &ClientOptions) -> Result<Self> {
        let base = check_base(base)?;
        install_tls();
        let headers = options.header_map()?;
        let url = Url::parse(&base).map_err(|e| Error::new("not a URL").because(e))?;
        let is_secure = url.scheme() == "https";
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
        // Plain HTTP needs no certificates: some containers have none, and reading them takes longer than the rest of a start.
        #[cfg(feature = "tls")]
        if !is_secure {
            http = http.tls_certs_only([]);
        }
        // Resolve the name once, so that all requests go to the same address; if that fails, connecting fails.
        if let (Some(host), Some(port)) = (url.domain(), url.port_or_known_default())
            && let Ok(addresses) = (host, port).to_socket_addrs()
        {
            http = http.resolve_to_addrs(host, &addresses.collect::<Vec<_>>());
        }
        let what = match is_secure {
            true => "cannot make a client for https; install ca-certificates, or set SSL_CERT_FILE",
            false => "cannot make an HTTP client",
        };
        let http = http.build().context(what)?;
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
    /// When the response did not arrive completely, or is larger than 4 MiB: what is asked for is a list of models, counters or
    /// a version.
    pub async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), HttpFailure> {
        let mut answer = self.send(Method::GET, path, Vec::new()).await?;
        Ok((answer.status, answer.body_within(MAX_GET).await?))
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<HttpAnswer, HttpFailure> {
        let request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        let response = request.send().await.map_err(|e| HttpFailure::of(&e))?;
        let ours = response.extensions().get::<HttpInfo>().map(HttpInfo::local_addr);
        let reused = ours.map(|ours| !self.seen.borrow_mut().insert(ours));
        Ok(HttpAnswer::of_reqwest(response, reused))
    }
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
