//! The part of HTTP/1.1 that an OpenAI-compatible endpoint needs: requests with Content-Length, responses whole or chunked.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 64 << 20;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// The body.
    pub body: Vec<u8>,
    /// The client wants the connection closed afterwards.
    pub close: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The next message of a client.
#[derive(Debug)]
pub enum IncomingRequest {
    /// A request.
    Request(HttpRequest),
    /// The client has closed.
    Closed,
    /// A request that cannot be served: respond with this status and close.
    Bad(u16, &'static str),
}

impl Connection {
    /// Takes an accepted connection.
    ///
    /// # Errors
    /// When the socket's options cannot be set.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Reads the next request.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn request(&mut self) -> io::Result<IncomingRequest> {
        let head_end = loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > MAX_HEAD {
                return Ok(IncomingRequest::Bad(431, "the head is too large"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(IncomingRequest::Closed);
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Ok(IncomingRequest::Bad(400, "not an HTTP request"));
        };
        let (mut length, mut close) = (0, version == "HTTP/1.0");
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => match value.trim().parse() {
                    Ok(n) => length = n,
                    Err(_) => return Ok(IncomingRequest::Bad(400, "Content-Length is not a number")),
                },
                "transfer-encoding" => return Ok(IncomingRequest::Bad(501, "send Content-Length")),
                "connection" => close |= value.trim().eq_ignore_ascii_case("close"),
                "expect" => self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?,
                _ => {}
            }
        }
        if length > MAX_BODY {
            return Ok(IncomingRequest::Bad(413, "the body is too large"));
        }
        let whole = head_end + 4 + length;
        while self.buffer.len() < whole {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(IncomingRequest::Closed);
            }
        }
        let path = target.split('?').next().unwrap_or_default().to_string();
        let body = self.buffer[head_end + 4..whole].to_vec();
        let method = method.to_string();
        self.buffer.drain(..whole);
        Ok(IncomingRequest::Request(HttpRequest { method, path, body, close }))
    }

    /// Sends a whole response.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn answer(&mut self, status: u16, kind: &str, body: &[u8]) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 {status} {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            reason(status),
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).await
    }

    /// Sends a JSON response.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn json(&mut self, status: u16, body: &Value) -> io::Result<()> {
        self.answer(status, "application/json", body.to_string().as_bytes()).await
    }

    /// Sends an error in OpenAI's format.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn error(&mut self, status: u16, message: &str) -> io::Result<()> {
        let kind = if status == 404 { "NotFoundError" } else { "BadRequestError" };
        self.json(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": status}})).await
    }

    /// Starts a stream of events.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn begin_events(&mut self) -> io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await
    }

    /// Sends one event, in one write.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn event(&mut self, data: &str) -> io::Result<()> {
        let size = data.len() + "data: \n\n".len();
        self.stream.write_all(format!("{size:x}\r\ndata: {data}\n\n\r\n").as_bytes()).await
    }

    /// Ends a stream of events.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn end_events(&mut self) -> io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n").await
    }

    /// Returns when the client has disconnected; what it sends meanwhile is buffered.
    pub async fn disconnected(&mut self) {
        while matches!(self.stream.read_buf(&mut self.buffer).await, Ok(n) if n > 0 && self.buffer.len() < MAX_BODY) {}
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Error",
    }
}
