//! One request and its response on a connection, read from the socket without anything in between.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use super::failure::HttpFailure;
use super::framing::Framing;
use super::head::Head;
use super::pool::{HttpConnection, Pool};

/// Bytes of one read at most.
const READ: usize = 64 << 10;

thread_local! {
    /// What is read goes through here, so that a stream that waits has no buffer of its own.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// A request that was written, or begun to be.
#[derive(Debug)]
pub struct Exchange {
    /// When its first byte was handed to the connection.
    pub begun: Instant,
    connection: HttpConnection,
    /// Where the connection goes after the response; `None` to close it.
    pool: Option<Arc<Pool>>,
    /// What did not fit at once, and how much of it has been written since.
    rest: (Vec<u8>, usize),
    /// What arrived and is not used up.
    received: Vec<u8>,
    arrived: Instant,
}

impl Exchange {
    /// Writes as much of a request as the connection takes at once.
    ///
    /// # Errors
    /// When the connection is lost; nothing was sent then.
    pub fn begin(
        connection: HttpConnection,
        pool: Option<Arc<Pool>>,
        head: &[u8],
        body: &[u8],
    ) -> std::io::Result<Self> {
        let begun = Instant::now();
        let written = connection.write_now(head, body)?;
        let whole = written == head.len() + body.len();
        let rest = if whole { Vec::new() } else { [head, body].concat().split_off(written) };
        Ok(Self { begun, connection, pool, rest: (rest, 0), received: Vec::new(), arrived: begun })
    }

    /// Writes the rest of the request, and waits for the head of the response.
    ///
    /// # Errors
    /// When the connection is lost before that, or the head is none.
    pub async fn head(mut self) -> Result<WireAnswer, HttpFailure> {
        self.write_rest().await?;
        loop {
            if let Some(head) = Head::read(&self.received).map_err(HttpFailure::connect)? {
                self.received.drain(..head.size);
                if (100..=199).contains(&head.status) {
                    continue;
                }
                let reused = std::mem::replace(&mut self.connection.answered, true);
                let keeps = head.keeps && self.is_written();
                let Head { status, framing, encoding, .. } = head;
                let mut answer = WireAnswer { status, reused, encoding, framing, keeps, exchange: Some(self) };
                answer.give_back();
                return Ok(answer);
            }
            let received = &mut self.received;
            let read = self.connection.read(|bytes| received.extend_from_slice(bytes)).await;
            if read.map_err(HttpFailure::connect)? == 0 {
                return Err(HttpFailure::connect("connection closed before message completed"));
            }
            self.arrived = Instant::now();
        }
    }

    fn is_written(&self) -> bool {
        self.rest.1 == self.rest.0.len()
    }

    /// A server may answer before it has read everything: then the rest is not sent.
    async fn write_rest(&mut self) -> Result<(), HttpFailure> {
        while !self.is_written() {
            tokio::select! {
                biased;
                writable = self.connection.stream.writable() => {
                    writable.map_err(HttpFailure::connect)?;
                    match self.connection.write_now(&self.rest.0[self.rest.1..], &[]) {
                        Ok(n) => self.rest.1 += n,
                        // The response may say why.
                        Err(_) => return Ok(()),
                    }
                }
                readable = self.connection.stream.readable() => {
                    readable.map_err(HttpFailure::connect)?;
                    let received = &mut self.received;
                    match self.connection.read_now(|bytes| received.extend_from_slice(bytes)) {
                        Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                        Ok(n) if n > 0 => {
                            self.arrived = Instant::now();
                            return Ok(());
                        }
                        Ok(_) => return Err(HttpFailure::connect("connection closed before message completed")),
                        Err(e) => return Err(HttpFailure::connect(e)),
                    }
                }
            }
        }
        Ok(())
    }
}

impl HttpConnection {
    /// Gives `to` what has arrived; its number of bytes, 0 at the end of the connection.
    fn read_now(&self, to: impl FnOnce(&[u8])) -> std::io::Result<usize> {
        BUFFER.with_borrow_mut(|buffer| {
            let n = self.stream.try_read(buffer)?;
            to(&buffer[..n]);
            Ok(n)
        })
    }

    /// Waits for something to arrive, and gives it to `to`.
    async fn read(&self, mut to: impl FnMut(&[u8])) -> std::io::Result<usize> {
        loop {
            self.stream.readable().await?;
            match self.read_now(&mut to) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// A response whose head has arrived.
#[derive(Debug)]
pub struct WireAnswer {
    /// HTTP status.
    pub status: u16,
    /// An earlier response arrived on the same connection.
    pub reused: bool,
    /// The compression of the body.
    pub encoding: Option<String>,
    framing: Framing,
    keeps: bool,
    /// `None` once the connection has been given back.
    exchange: Option<Exchange>,
}

impl WireAnswer {
    /// Adds the next bytes of the body to `into`, as they arrive; the time at which they were read, `None` at its end.
    ///
    /// # Errors
    /// When the body is cut off.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> Result<Option<Instant>, HttpFailure> {
        let before = into.len();
        loop {
            let Some(exchange) = &mut self.exchange else { return Ok(None) };
            let framing = &mut self.framing;
            if !exchange.received.is_empty() {
                let used = framing.take(&exchange.received, into).map_err(HttpFailure::truncated)?;
                exchange.received.drain(..used);
                exchange.received.shrink_to_fit();
            } else {
                let (mut taken, received) = (Ok(0), &mut exchange.received);
                let read = exchange.connection.read(|bytes| {
                    exchange.arrived = Instant::now();
                    taken = framing.take(bytes, into);
                    // What comes after the end does not belong to this response.
                    received.extend_from_slice(taken.map_or(&[], |used| &bytes[used..]));
                });
                if read.await.map_err(HttpFailure::truncated)? == 0 {
                    self.keeps = false;
                    return match self.framing.missing() {
                        Some(what) => Err(HttpFailure::truncated(what)),
                        None => {
                            self.exchange = None;
                            Ok(None)
                        }
                    };
                }
                taken.map_err(HttpFailure::truncated)?;
            }
            let arrived = exchange.arrived;
            self.give_back();
            if into.len() > before {
                return Ok(Some(arrived));
            }
        }
    }

    /// After the end of the body, gives the connection back if it takes a further request, and closes it otherwise.
    fn give_back(&mut self) {
        if self.framing != Framing::Over {
            return;
        }
        let Some(exchange) = self.exchange.take() else { return };
        if let Some(pool) = exchange.pool.filter(|_| self.keeps && exchange.received.is_empty()) {
            pool.put(exchange.connection);
        }
    }
}
