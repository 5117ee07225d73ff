//! The first client: waits for all others, answers their questions for the time, and lets all begin a run together.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, watch};

use super::hello;
use super::hello::GuestLink;
use super::settings::{MeetingFailure, MeetingSettings};
use super::wire::{MessageReader, MessageWriter, prepare};
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::system::lease::monotonic_ns;

/// From the moment that all are ready to the time zero of a run, besides two round trips, ns.
const LEAD_NS: u64 = 20_000_000;
/// Time between two looks for a new connection.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Connections that have not said yet who they are.
const MOST_UNKNOWN: usize = 64;

/// What another client did.
#[derive(Debug)]
enum GuestEvent {
    /// It is ready for this run; its last round trip took so long.
    Ready { run: String, round_trip_ns: u64 },
    /// It no longer needs this server.
    Done(String),
    /// It has left.
    Left,
}

/// The first client, with all others.
#[derive(Debug)]
pub(super) struct Host {
    of: u32,
    limit: Duration,
    guests: BTreeMap<u32, (SocketAddr, MessageWriter)>,
    events: Mutex<mpsc::UnboundedReceiver<(u32, GuestEvent)>>,
    /// What those said who were ahead of the others, in order.
    early: Mutex<Vec<(u32, GuestEvent)>>,
    left: watch::Receiver<Option<u32>>,
}

impl Host {
    /// Listens until all other clients have joined.
    ///
    /// # Errors
    /// When it cannot listen, or one of them does not come within the limit.
    pub fn wait(settings: &MeetingSettings, secret: &[u8], notice: &Notice) -> Result<(String, Self)> {
        let at = |e: Error| e.at(settings.address.clone());
        let listener = TcpListener::bind(&settings.address).context("cannot listen for other clients").map_err(at)?;
        listener.set_nonblocking(true).context("cannot listen for other clients").map_err(at)?;
        let id = hello::nonce()?[..12].to_string();
        let of = settings.shard.of;
        let (send, joined) = channel();
        let begun = Instant::now();
        let mut guests: BTreeMap<u32, (SocketAddr, GuestLink)> = BTreeMap::new();
        let mut refused = None;
        let mut unknown = 0;
        while guests.len() + 1 < of as usize {
            if begun.elapsed() >= settings.limit {
                return Err(at(missing(settings, &guests, refused)));
            }
            match listener.accept() {
                Ok((stream, from)) if unknown < MOST_UNKNOWN => {
                    unknown += 1;
                    let (send, secret, id) = (send.clone(), secret.to_vec(), id.clone());
                    let taken: Vec<u32> = guests.keys().copied().collect();
                    thread::spawn(move || {
                        let may_join = |shard: crate::rows::kinds::Shard| match shard.index {
                            index if index == 0 || index >= of => {
                                Err(format!("there is no client {index} of {of} to join"))
                            }
                            index if taken.contains(&index) => Err(format!("client {index} of {of} is there already")),
                            _ => Ok(()),
                        };
                        let welcomed = prepare(&stream)
                            .context("cannot use the connection")
                            .and_then(|()| hello::welcome(&stream, &secret, of, &id, may_join));
                        let _ = send.send((from, welcomed));
                    });
                }
                Ok(_) | Err(_) => thread::sleep(LOOK_EVERY),
            }
            take(&joined, &mut guests, &mut refused, &mut unknown, notice);
        }
        Ok((id, Self::new(settings, guests)))
    }

    fn new(settings: &MeetingSettings, joined: BTreeMap<u32, (SocketAddr, GuestLink)>) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        let (tell_left, left) = watch::channel(None);
        let mut guests = BTreeMap::new();
        for (index, (from, GuestLink { read, write, .. })) in joined {
            guests.insert(index, (from, write.clone()));
            let (tell, tell_left) = (tell.clone(), tell_left.clone());
            thread::spawn(move || {
                listen(index, read, &write, &tell);
                let _ = tell.send((index, GuestEvent::Left));
                let _ = tell_left.send(Some(index));
            });
        }
        let (of, limit) = (settings.shard.of, settings.limit);
        Self { of, limit, guests, events: Mutex::new(events), early: Mutex::default(), left }
    }

    fn name(&self, index: u32) -> String {
        let from = self.guests.get(&index).map_or(String::new(), |(from, _)| format!(" ({})", from.ip()));
        format!("client {index} of {}{from}", self.of)
    }

    fn tell_all(&self, line: &Value) {
        // One that has left is noticed by its reading thread.
        self.guests.values().for_each(|(_, write)| drop(write.send(line)));
    }

    /// A failure that all others are told too.
    fn failed(&self, why: String) -> MeetingFailure {
        self.tell_all(&json!({ "failed": why }));
        MeetingFailure::Missing(why)
    }

    /// Waits for an event of every other client that `wanted` takes; what it does not take yet is for later.
    async fn gather<T>(&self, wanted: impl Fn(&GuestEvent) -> Option<T>) -> Result<BTreeMap<u32, T>, String> {
        let mut events = self.events.lock().await;
        let mut early = self.early.lock().await;
        let mut got = BTreeMap::new();
        let mut later = Vec::new();
        let mut waiting: std::collections::VecDeque<(u32, GuestEvent)> = early.drain(..).collect();
        while got.len() < self.guests.len() {
            let next = match waiting.pop_front() {
                Some(event) => Some(event),
                None => events.recv().await,
            };
            let Some((index, event)) = next else { return Err("all other clients have left".into()) };
            match wanted(&event) {
                Some(value) if !got.contains_key(&index) => drop(got.insert(index, value)),
                _ if matches!(event, GuestEvent::Left) => {
                    *early = later.into_iter().chain([(index, event)]).chain(waiting).collect();
                    return Err(format!("{} has left", self.name(index)));
                }
                _ => later.push((index, event)),
            }
        }
        *early = later.into_iter().chain(waiting).collect();
        Ok(got)
    }

    pub async fn meet(&self, run_id: &str) -> Result<u64, MeetingFailure> {
        let ready = |event: &GuestEvent| match event {
            GuestEvent::Ready { run, round_trip_ns } => Some((run.clone(), *round_trip_ns)),
            // Run ids begin with the server's.
            GuestEvent::Done(server) if run_id.starts_with(&format!("{server}/")) => {
                Some((format!("the end of {server}"), 0))
            }
            GuestEvent::Done(_) | GuestEvent::Left => None,
        };
        let ready = match tokio::time::timeout(self.limit, self.gather(ready)).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(why)) => return Err(self.failed(why)),
            Err(_) => {
                let why = format!(
                    "not all of the {} clients were ready for {run_id} within {} s",
                    self.of,
                    self.limit.as_secs()
                );
                return Err(self.failed(why));
            }
        };
        if let Some((index, (other, _))) = ready.iter().find(|(_, (run, _))| run != run_id) {
            let why = format!(
                "{} is at {other}, the first client at {run_id}: give all of them the same rows, or the same --url, workload and load",
                self.name(*index)
            );
            return Err(self.failed(why));
        }
        let longest = ready.values().map(|(_, round_trip_ns)| *round_trip_ns).max().unwrap_or_default();
        let now = monotonic_ns().map_err(|e| self.failed(e.to_string()))?;
        let t0_ns = now + LEAD_NS + 2 * longest.min(1_000_000_000);
        self.tell_all(&json!({ "t0_ns": t0_ns }));
        Ok(t0_ns)
    }

    /// Tells all others that there are no further runs on a server, and waits until they need it no more.
    pub async fn done(&self, server_id: &str) -> Result<(), MeetingFailure> {
        self.tell_all(&json!({ "done": server_id }));
        let over = |event: &GuestEvent| match event {
            GuestEvent::Done(server) if server == server_id => Some(()),
            GuestEvent::Ready { .. } | GuestEvent::Done(_) | GuestEvent::Left => None,
        };
        self.gather(over).await.map(|_| ()).map_err(MeetingFailure::Missing)
    }

    pub fn leave(&self) {
        self.guests.values().for_each(|(_, write)| write.close());
    }

    pub async fn broken(&self) -> String {
        let mut left = self.left.clone();
        let index = left.wait_for(Option::is_some).await.ok().and_then(|index| *index);
        format!("{} has left", self.name(index.unwrap_or_default()))
    }
}

/// Takes the connections that have said who they are.
fn take(
    joined: &Receiver<(SocketAddr, Result<GuestLink>)>,
    guests: &mut BTreeMap<u32, (SocketAddr, GuestLink)>,
    refused: &mut Option<String>,
    unknown: &mut usize,
    notice: &Notice,
) {
    while let Ok((from, welcomed)) = joined.try_recv() {
        *unknown = unknown.saturating_sub(1);
        match welcomed {
            // Of two at the same moment the second is turned away by the end of its connection.
            Ok(link) if guests.contains_key(&link.index) => {}
            Ok(link) => drop(guests.insert(link.index, (from, link))),
            Err(e) => {
                let why = format!("turned away a client from {}: {e}", from.ip());
                notice.warn(why.clone());
                *refused = Some(why);
            }
        }
    }
}

fn missing(
    settings: &MeetingSettings,
    guests: &BTreeMap<u32, (SocketAddr, GuestLink)>,
    refused: Option<String>,
) -> Error {
    let of = settings.shard.of;
    let absent: Vec<String> =
        (1..of).filter(|index| !guests.contains_key(index)).map(|i| format!("{i}/{of}")).collect();
    let why = format!(
        "no client with --shard {} came within {} s: start it with --meet and this host's address, and the same secret",
        absent.join(" and "),
        settings.limit.as_secs()
    );
    let error = Error::new(why);
    match refused {
        Some(refused) => error.because(refused),
        None => error,
    }
}

/// Passes on what another client says, until it leaves; answers its questions for the time.
fn listen(index: u32, mut read: MessageReader, write: &MessageWriter, tell: &mpsc::UnboundedSender<(u32, GuestEvent)>) {
    while let Some(line) = read.next() {
        let received = monotonic_ns().unwrap_or_default();
        let sent = if let Some(ping) = line["ping"].as_u64() {
            let sent_ns = monotonic_ns().unwrap_or_default();
            write.send(&json!({"pong": ping, "received_ns": received, "sent_ns": sent_ns})).is_ok()
        } else if let Some(run) = line["run"].as_str() {
            let round_trip_ns = line["round_trip_ns"].as_u64().unwrap_or_default();
            tell.send((index, GuestEvent::Ready { run: run.to_string(), round_trip_ns })).is_ok()
        } else if let Some(server) = line["done"].as_str() {
            tell.send((index, GuestEvent::Done(server.to_string()))).is_ok()
        } else {
            return;
        };
        if !sent {
            return;
        }
    }
}
