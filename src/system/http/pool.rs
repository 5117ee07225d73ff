//! Connections that wait for a request.

use std::io::{ErrorKind, IoSlice};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::net::TcpStream;

/// A connection that waited for longer than this is closed; servers close theirs after 5 s or more.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// A connection to the server. It belongs to one thread, which waits for what arrives on it.
#[derive(Debug)]
pub struct HttpConnection {
    /// The socket.
    pub stream: TcpStream,
    /// The thread that it belongs to.
    pub home: usize,
    /// An answer has arrived on it.
    pub answered: bool,
}

impl HttpConnection {
    /// Writes what fits of two parts; the number of bytes. Any thread may call this.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn write_now(&self, head: &[u8], body: &[u8]) -> std::io::Result<usize> {
        match self.stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// True if the server has neither closed it nor sent anything that was not requested.
    fn is_quiet(&self) -> bool {
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        matches!(recv(self.stream.as_raw_fd(), &mut [0], peek), Err(Errno::EAGAIN))
    }
}

/// The connections that wait, by the thread that they belong to; the latest is taken first.
#[derive(Debug)]
pub struct Pool(Vec<Mutex<Vec<(HttpConnection, Instant)>>>);

impl Pool {
    /// For so many threads.
    pub fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Mutex::default()).collect())
    }

    /// A connection of this thread that can be written to.
    pub fn take(&self, home: usize) -> Option<HttpConnection> {
        loop {
            let mut idle = self.0[home].lock().unwrap_or_else(PoisonError::into_inner);
            let (connection, since) = idle.pop()?;
            drop(idle);
            if since.elapsed() < MAX_IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, connection: HttpConnection) {
        let mut idle = self.0[connection.home].lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = idle.iter().position(|(_, since)| since.elapsed() < MAX_IDLE).unwrap_or(idle.len());
        idle.drain(..fresh);
        idle.push((connection, Instant::now()));
    }
}
