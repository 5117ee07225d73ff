//! The way to a server over plain HTTP/1.1, for the requests of a load: they leave from the thread that paces them, and are
//! read by the thread that their connection belongs to.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use reqwest::Url;
use reqwest::header::HOST;
use tokio::net::TcpStream;

use super::exchange::Exchange;
use super::failure::HttpFailure;
use super::options::{ClientOptions, check_base};
use super::pool::{HttpConnection, Pool};
use crate::base::error::{Error, Result};
use crate::rows::kinds::Connections;

/// A connection on which nothing arrives is probed after this time and as often, s.
const KEEP_ALIVE: u32 = 15;
/// Probes without an answer before the connection is lost.
const PROBES: u32 = 3;

/// The way to one server.
#[derive(Debug)]
pub struct Wire {
    host: String,
    port: u16,
    /// Resolved once, so that all requests go to the same address; empty if that failed.
    addresses: Vec<SocketAddr>,
    /// The path of the base URL, without a trailing slash.
    prefix: String,
    /// Every header of a request but its length.
    headers: Vec<u8>,
    connect_timeout: Option<Duration>,
    keeps: bool,
    pool: Arc<Pool>,
}

impl Wire {
    /// The way to `base` for so many threads; `None` if it is not an http URL.
    ///
    /// # Errors
    /// As [`super::HttpClient::new`].
    pub fn new(base: &str, options: &ClientOptions, threads: usize) -> Result<Option<Self>> {
        let base = check_base(base)?;
        let url = Url::parse(&base).map_err(|e| Error::new("not a URL").because(e))?;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Ok(None) };
        if url.scheme() != "http" {
            return Ok(None);
        }
        let mut headers = Vec::new();
        let mut put = |name: &[u8], value: &[u8]| headers.extend([name, b": ", value, b"\r\n"].concat());
        let map = options.header_map()?;
        if !map.contains_key(HOST) {
            let port = url.port().map_or(String::new(), |port| format!(":{port}"));
            put(b"host", format!("{host}{port}").as_bytes());
        }
        put(b"accept", b"*/*");
        map.iter().for_each(|(name, value)| put(name.as_str().as_bytes(), value.as_bytes()));
        // An IPv6 address has brackets in a URL only.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        Ok(Some(Self {
            addresses: (host.as_str(), port).to_socket_addrs().map(Iterator::collect).unwrap_or_default(),
            host,
            port,
            prefix: url.path().trim_end_matches('/').to_string(),
            headers,
            connect_timeout: options.connect_timeout,
            keeps: options.connections == Connections::Pooled,
            pool: Arc::new(Pool::new(threads)),
        }))
    }

    /// Writes a request at once on a connection of thread `home` that waits for one; `None` if none does. Any thread may call this.
    #[must_use]
    pub fn depart(&self, home: usize, path: &str, body: &[u8]) -> Option<Exchange> {
        // Made for the first connection that waits.
        let mut head = None;
        // Nothing was sent on a connection that was lost meanwhile.
        std::iter::from_fn(|| self.pool.take(home)).find_map(|connection| {
            let head = head.get_or_insert_with(|| self.head(path, body.len()));
            Exchange::begin(connection, Some(self.pool.clone()), head, body).ok()
        })
    }

    /// Writes a request on a connection of thread `home`, which is the current one; a new one if none waits.
    ///
    /// # Errors
    /// When no connection can be made.
    pub async fn connect(&self, home: usize, path: &str, body: &[u8]) -> Result<Exchange, HttpFailure> {
        if let Some(exchange) = self.depart(home, path, body) {
            return Ok(exchange);
        }
        let stream = self.stream().await?;
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        let connection = HttpConnection { stream, home, answered: false };
        let pool = self.keeps.then(|| self.pool.clone());
        Exchange::begin(connection, pool, &self.head(path, body.len()), body).map_err(HttpFailure::connect)
    }

    fn head(&self, path: &str, length: usize) -> Vec<u8> {
        let Self { prefix, headers, .. } = self;
        let mut head = format!("POST {prefix}{path} HTTP/1.1\r\ncontent-length: {length}\r\n").into_bytes();
        head.extend_from_slice(headers);
        head.extend_from_slice(b"\r\n");
        head
    }

    /// A connection to the first address that takes it.
    async fn stream(&self) -> Result<TcpStream, HttpFailure> {
        let looked_up;
        let addresses = if self.addresses.is_empty() {
            let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
            looked_up = found.map_err(HttpFailure::connect)?.collect::<Vec<_>>();
            &looked_up
        } else {
            &self.addresses
        };
        let each = self.connect_timeout.map(|all| all / u32::try_from(addresses.len()).unwrap_or(1).max(1));
        let mut failure = HttpFailure::connect("the host has no address");
        for address in addresses {
            let connecting = TcpStream::connect(address);
            let connected = match each {
                Some(limit) => tokio::time::timeout(limit, connecting).await,
                None => Ok(connecting.await),
            };
            match connected {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(e)) => failure = HttpFailure::connect(e),
                Err(_) => failure = HttpFailure::connect("no connection in time"),
            }
        }
        Err(failure)
    }
}

/// So that a gateway does not forget a connection on which a server thinks for long. What the system refuses is left out.
fn keep_alive(stream: &TcpStream) {
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_ALIVE);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_ALIVE);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &PROBES);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers each request of the `i`-th connection with the next text, and closes it after the last.
    fn server(connections: &'static [&'static [&'static str]]) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for answers in connections {
                let (mut stream, _) = listener.accept().unwrap();
                for answer in *answers {
                    let n = stream.read(&mut [0; 4096]).unwrap();
                    assert!(n > 0);
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        url
    }

    /// The status, whether the connection was used before, and the body of each answer, or why there is none.
    fn ask(url: &str, bodies: &[usize]) -> Vec<Result<(u16, bool, String), String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = ClientOptions { connections: Connections::Pooled, ..ClientOptions::default() };
        let wire = Wire::new(url, &options, 1).unwrap().unwrap();
        let mut answers = Vec::new();
        for size in bodies {
            let asked = async {
                let mut answer = wire.connect(0, "/v1/completions", &vec![b'x'; *size]).await?.head().await?;
                let mut body = Vec::new();
                while answer.read(&mut body).await?.is_some() {}
                Ok((answer.status, answer.reused, String::from_utf8_lossy(&body).into_owned()))
            };
            answers.push(runtime.block_on(asked).map_err(|e: HttpFailure| format!("{}: {e}", e.class)));
            // What the server does with the connection after its answer is seen by then.
            thread::sleep(Duration::from_millis(50));
        }
        answers
    }

    #[test]
    fn a_connection_is_used_again_and_replaced_once_it_is_closed() {
        let url = server(&[
            &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"],
            &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n"],
        ]);
        let wanted = [(200, false, "a"), (200, true, "b"), (200, false, "c")];
        let wanted: Vec<_> = wanted.map(|(status, reused, body)| Ok((status, reused, body.to_string()))).into();
        assert_eq!(ask(&url, &[3, 3, 3]), wanted);
    }

    #[test]
    fn a_connection_with_more_than_was_asked_for_is_not_used_again() {
        let url = server(&[
            &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n"],
            &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nb"],
            &["HTTP/1.1 200 OK\r\n\r\nc"],
        ]);
        let wanted = ["a", "b", "c"].map(|body| Ok((200, false, body.to_string())));
        assert_eq!(ask(&url, &[3, 3, 3]), wanted);
    }

    #[test]
    fn a_server_may_answer_before_it_has_read_everything() {
        let url = server(&[&["HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"]]);
        assert_eq!(ask(&url, &[32 << 20]), [Ok((413, false, "no".into()))]);
    }

    #[test]
    fn what_is_missing_says_where_it_was_lost() {
        let url = server(&[
            &["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"],
            &["HTTP/1.1 200 OK\r\nContent-"],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz"],
        ]);
        let wanted = [
            "truncated: end of file before message length reached",
            "connect: connection closed before message completed",
            "truncated: Invalid chunk size line",
        ];
        assert_eq!(ask(&url, &[3, 3, 3]), wanted.map(|why| Err(why.to_string())));
    }
}
