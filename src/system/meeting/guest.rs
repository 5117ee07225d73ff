//! Any client but the first: connects, compares its clock, asks for the time zero of each run.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, watch};

use super::clock::{RoundTrip, best, here, in_row};
use super::hello;
use super::settings::{MeetingFailure, MeetingSettings};
use super::wire::{MessageReader, MessageWriter, prepare};
use crate::base::error::{Error, Result};
use crate::rows::kinds::ClockOffset;
use crate::system::lease::monotonic_ns;

/// Time between two attempts to connect.
const TRY_EVERY: Duration = Duration::from_millis(200);
/// Round trips of a comparison: the shortest counts.
const ROUND_TRIPS: u64 = 32;
/// How long one of them may take.
const TRIP_LIMIT: Duration = Duration::from_secs(5);

/// What the first client said.
#[derive(Debug)]
enum HostMessage {
    /// The time zero of a run, on its clock.
    Start(u64),
    /// It no longer has this server.
    Done(String),
    /// Why there will be no run.
    Failed(String),
}

/// A client that has joined.
#[derive(Debug)]
pub(super) struct Guest {
    address: String,
    limit: Duration,
    write: MessageWriter,
    answers: Mutex<mpsc::UnboundedReceiver<HostMessage>>,
    trips: Mutex<mpsc::UnboundedReceiver<(u64, RoundTrip)>>,
    /// The clock of the first client minus this one's, ns.
    offset: AtomicI64,
    round_trip_ns: AtomicU64,
    /// True once the first client has left.
    left: watch::Receiver<bool>,
}

impl Guest {
    /// Connects to the first client, again and again until the limit.
    ///
    /// # Errors
    /// When it is not there in time, or one of the two does not know the secret.
    pub fn connect(settings: &MeetingSettings, secret: &[u8]) -> Result<(String, Self)> {
        let begun = Instant::now();
        let at = |e: Error| e.at(settings.address.clone());
        let stream = loop {
            match connected(&settings.address, settings.limit.saturating_sub(begun.elapsed())) {
                Ok(stream) => break stream,
                Err(e) if begun.elapsed() >= settings.limit => {
                    let why = format!(
                        "the first client (--shard 0/{}) does not listen there after {} s",
                        settings.shard.of,
                        settings.limit.as_secs()
                    );
                    return Err(at(Error::new(why).because(e)));
                }
                Err(_) => thread::sleep(TRY_EVERY),
            }
        };
        let io = |e: std::io::Error| Error::new("cannot use the connection").because(e).at(settings.address.clone());
        prepare(&stream).map_err(io)?;
        let (id, read, write) = hello::introduce(&stream, secret, settings.shard).map_err(at)?;
        // The first client may wait for others.
        stream.set_write_timeout(None).map_err(io)?;
        let (tell_answers, answers) = mpsc::unbounded_channel();
        let (tell_trips, trips) = mpsc::unbounded_channel();
        let (tell_left, left) = watch::channel(false);
        thread::spawn(move || {
            listen(read, &tell_answers, &tell_trips);
            let _ = tell_left.send(true);
        });
        let guest = Self {
            address: settings.address.clone(),
            limit: settings.limit,
            write,
            answers: Mutex::new(answers),
            trips: Mutex::new(trips),
            offset: AtomicI64::new(0),
            round_trip_ns: AtomicU64::new(0),
            left,
        };
        Ok((id, guest))
    }

    fn gone(&self) -> MeetingFailure {
        MeetingFailure::Missing(format!("the first client, at {}, has left", self.address))
    }

    fn send(&self, line: &Value) -> Result<(), MeetingFailure> {
        self.write.send(line).map_err(|_| self.gone())
    }

    pub async fn compare_clocks(&self) -> Result<ClockOffset, MeetingFailure> {
        let mut trips = self.trips.lock().await;
        let mut made = Vec::new();
        for number in 0..ROUND_TRIPS {
            let asked = monotonic_ns().map_err(|e| MeetingFailure::Missing(e.to_string()))?;
            self.send(&json!({ "ping": number }))?;
            let answer = async {
                // One that came too late is that of an earlier question.
                loop {
                    match trips.recv().await {
                        Some((own, trip)) if own == number => return Some(RoundTrip { asked, ..trip }),
                        Some(_) => {}
                        None => return None,
                    }
                }
            };
            let trip = tokio::time::timeout(TRIP_LIMIT, answer).await.ok().flatten();
            made.push(trip.ok_or_else(|| self.gone())?);
        }
        let best = best(&made).ok_or_else(|| self.gone())?;
        self.offset.store(best.offset(), SeqCst);
        self.round_trip_ns.store(best.on_the_way(), SeqCst);
        Ok(in_row(best))
    }

    pub async fn meet(&self, run_id: &str) -> Result<u64, MeetingFailure> {
        self.send(&json!({"run": run_id, "round_trip_ns": self.round_trip_ns.load(SeqCst)}))?;
        let mut answers = self.answers.lock().await;
        let answer = async {
            loop {
                match answers.recv().await {
                    Some(HostMessage::Start(t0_ns)) => return Ok(here(t0_ns, self.offset.load(SeqCst))),
                    // Run ids begin with the server's.
                    Some(HostMessage::Done(server)) if run_id.starts_with(&format!("{server}/")) => {
                        return Err(MeetingFailure::ServerOver);
                    }
                    Some(HostMessage::Done(_)) => {}
                    Some(HostMessage::Failed(why)) => return Err(MeetingFailure::Missing(why)),
                    None => return Err(self.gone()),
                }
            }
        };
        match tokio::time::timeout(self.limit, answer).await {
            Ok(done) => done,
            Err(_) => Err(MeetingFailure::Missing(format!(
                "the first client, at {}, was not ready for {run_id} within {} s",
                self.address,
                self.limit.as_secs()
            ))),
        }
    }

    /// The first client says it when it has done everything else there: until then no other leaves.
    pub async fn done(&self, server_id: &str) -> Result<(), MeetingFailure> {
        self.send(&json!({ "done": server_id }))?;
        let mut answers = self.answers.lock().await;
        loop {
            match answers.recv().await {
                Some(HostMessage::Done(server)) if server == server_id => return Ok(()),
                Some(HostMessage::Done(_) | HostMessage::Start(_)) => {}
                Some(HostMessage::Failed(why)) => return Err(MeetingFailure::Missing(why)),
                None => return Err(self.gone()),
            }
        }
    }

    pub fn leave(&self) {
        self.write.close();
    }

    pub async fn broken(&self) -> String {
        let mut left = self.left.clone();
        let _ = left.wait_for(|left| *left).await;
        format!("the first client, at {}, has left", self.address)
    }
}

/// A connection to the first of the host's addresses that takes one.
fn connected(address: &str, limit: Duration) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for one in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&one, limit.clamp(Duration::from_millis(100), Duration::from_secs(5))) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Passes on what the first client says, until it leaves.
fn listen(
    mut read: MessageReader,
    answers: &mpsc::UnboundedSender<HostMessage>,
    trips: &mpsc::UnboundedSender<(u64, RoundTrip)>,
) {
    while let Some(line) = read.next() {
        let number = |key: &str| line[key].as_u64();
        let sent = if let Some(ping) = number("pong") {
            let answered = monotonic_ns().unwrap_or_default();
            let (received, sent) = (number("received_ns").unwrap_or_default(), number("sent_ns").unwrap_or_default());
            trips.send((ping, RoundTrip { asked: 0, received, sent, answered })).is_ok()
        } else if let Some(t0_ns) = number("t0_ns") {
            answers.send(HostMessage::Start(t0_ns)).is_ok()
        } else if let Some(server) = line["done"].as_str() {
            answers.send(HostMessage::Done(server.to_string())).is_ok()
        } else if let Some(why) = line["failed"].as_str() {
            answers.send(HostMessage::Failed(why.to_string())).is_ok()
        } else {
            return;
        };
        if !sent {
            return;
        }
    }
}
