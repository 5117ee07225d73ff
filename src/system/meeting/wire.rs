//! Lines of JSON over a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;

/// A line of another client that is longer is not one of a meeting, bytes.
const MAX_LINE: u64 = 4096;
/// After this time without an answer the kernel asks whether the other host lives, and how often before it gives up, s.
const KEEPALIVE_S: (u32, u32, u32) = (10, 5, 3);

/// The writing half of a connection, which several threads use.
#[derive(Debug, Clone)]
pub(super) struct MessageWriter(Arc<Mutex<TcpStream>>);

impl MessageWriter {
    pub fn new(stream: &TcpStream) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(stream.try_clone()?))))
    }

    /// Writes one line, whole.
    pub fn send(&self, line: &Value) -> std::io::Result<()> {
        let line = format!("{line}\n");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }

    /// Ends the connection; the reading thread has a descriptor of its own, and ends with it.
    pub fn close(&self) {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
    }
}

/// The reading half of a connection.
#[derive(Debug)]
pub(super) struct MessageReader(BufReader<TcpStream>);

impl MessageReader {
    pub fn new(stream: &TcpStream) -> std::io::Result<Self> {
        Ok(Self(BufReader::new(stream.try_clone()?)))
    }

    /// The next line; `None` when the other side has left, or says what no client says.
    pub fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.0.by_ref().take(MAX_LINE).read_line(&mut line).ok()?;
        (read > 0 && line.ends_with('\n')).then(|| serde_json::from_str(&line).ok()).flatten()
    }
}

/// Small lines are sent at once, and a host without power is noticed.
pub(super) fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    let (idle, every, times) = KEEPALIVE_S;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(false)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &idle)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &every)?;
    setsockopt(stream, sockopt::TcpKeepCount, &times)?;
    Ok(())
}
