//! The lease: the Unix socket through which bench-load holds the server that bench-serve owns.
//!
//! A client connects before any other work on the row. Once all holders are connected, bench-serve sends each the same time
//! zero as a line of JSON: `{"t0_ns": N}` on the monotonic clock. Holders that share a load synchronize again before each of
//! its runs: each writes a line with the run's id, and once all remaining holders have done so, they receive a new time zero.
//! The client closes the socket when it is done, and bench-serve when the server has stopped. The exit of either process
//! closes it as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::run_folder::RunFolder;
use crate::base::error::{Context, Error, Result};

/// Maximum length of the path of a Unix socket, bytes.
const MAX_PATH: usize = 107;

/// From the moment that all holders are ready to the time zero of a run, so that all have received it by then, ns.
const MEETING_NS: u64 = 20_000_000;

#[derive(Serialize, Deserialize)]
struct LeaseStart {
    t0_ns: u64,
}

/// Nanoseconds on the monotonic clock, the same in every process of this host.
///
/// # Errors
/// When the system does not have this clock.
pub fn monotonic_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("cannot read the monotonic clock")?;
    Ok(now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}

/// bench-serve's side: offers the lease of one server.
#[derive(Debug)]
pub struct LeaseOffer {
    listener: UnixListener,
    path: PathBuf,
    folder: RunFolder,
}

impl LeaseOffer {
    /// Creates the socket in a private folder.
    ///
    /// # Errors
    /// When it cannot be created, or its path is too long for a socket.
    pub fn make() -> Result<Self> {
        let folder = RunFolder::make()?;
        let path = folder.path().join("lease");
        if path.as_os_str().len() > MAX_PATH {
            let why = format!(
                "the path of a socket must not be longer than {MAX_PATH} bytes; set XDG_RUNTIME_DIR to a folder with a shorter path"
            );
            return Err(Error::new(why).at(path.display().to_string()));
        }
        let listener = UnixListener::bind(&path).context("cannot make the lease's socket")?;
        Ok(Self { listener, path, folder })
    }

    /// The socket's path, for the `server` row.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for `holders` clients, then sends all of them the same time zero.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn wait_for_holders(self, holders: usize) -> Result<ServerLease> {
        let mut streams = Vec::with_capacity(holders);
        while streams.len() < holders {
            let (stream, _) = self.listener.accept().await.context("the lease's socket failed")?;
            streams.push(stream);
        }
        let mut lent = ServerLease::new(streams, self.folder);
        lent.go(monotonic_ns()?).await;
        Ok(lent)
    }
}

/// A lease that clients hold. Dropping it tells them that the server has stopped.
#[derive(Debug)]
pub struct ServerLease {
    /// Connections of the remaining holders.
    holders: BTreeMap<usize, OwnedWriteHalf>,
    /// Holders that are waiting for the next time zero.
    waiting: BTreeSet<usize>,
    received: UnboundedReceiver<(usize, Option<String>)>,
    readers: Vec<JoinHandle<()>>,
    _folder: RunFolder,
}

impl ServerLease {
    fn new(streams: Vec<UnixStream>, folder: RunFolder) -> Self {
        let (send, received) = unbounded_channel();
        let mut lent =
            Self { holders: BTreeMap::new(), waiting: BTreeSet::new(), received, readers: Vec::new(), _folder: folder };
        for (i, stream) in streams.into_iter().enumerate() {
            let (read, write) = stream.into_split();
            lent.holders.insert(i, write);
            let send = send.clone();
            lent.readers.push(tokio::spawn(async move {
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let _ = send.send((i, Some(line)));
                }
                let _ = send.send((i, None));
            }));
        }
        lent
    }

    /// Sends all holders one time zero.
    async fn go(&mut self, t0_ns: u64) {
        let go = format!("{}\n", serde_json::json!(LeaseStart { t0_ns }));
        for stream in self.holders.values_mut() {
            // A client that has left meanwhile counts as done.
            let _ = stream.write_all(go.as_bytes()).await;
        }
    }

    /// Waits until every holder has closed its side; lets those that share a load start each run together.
    pub async fn wait_for_release(&mut self) {
        while !self.holders.is_empty() {
            match self.received.recv().await {
                Some((i, Some(_))) => {
                    self.waiting.insert(i);
                }
                Some((i, None)) => {
                    self.holders.remove(&i);
                    self.waiting.remove(&i);
                }
                None => return,
            }
            if !self.waiting.is_empty() && self.waiting.len() == self.holders.len() {
                self.waiting.clear();
                if let Ok(now) = monotonic_ns() {
                    self.go(now + MEETING_NS).await;
                }
            }
        }
    }
}

impl Drop for ServerLease {
    fn drop(&mut self) {
        self.readers.iter().for_each(JoinHandle::abort);
    }
}

/// What a holder knows about its lease.
#[derive(Debug, Clone, Copy, Default)]
struct LeaseEvent {
    /// Number of times zero received so far.
    starts: u32,
    t0_ns: u64,
    /// The server has stopped.
    lost: bool,
}

/// The client's side: a lease that we hold until this is dropped.
#[derive(Debug)]
pub struct ClientLease {
    write: Mutex<OwnedWriteHalf>,
    news: watch::Receiver<LeaseEvent>,
    reader: JoinHandle<()>,
}

impl ClientLease {
    /// Takes the lease at `path` and waits until all other holders have theirs.
    ///
    /// # Errors
    /// When bench-serve no longer offers it: the server of that row has stopped.
    pub async fn take(path: &Path) -> Result<Self> {
        let stopped = || {
            Error::new(format!("the lease {} is no longer offered: the server of this row has stopped", path.display()))
        };
        let stream = UnixStream::connect(path).await.map_err(|e| stopped().because(e))?;
        let (read, write) = stream.into_split();
        let (tell, news) = watch::channel(LeaseEvent::default());
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(go) = serde_json::from_str::<LeaseStart>(&line) else { continue };
                tell.send_modify(|news| *news = LeaseEvent { starts: news.starts + 1, t0_ns: go.t0_ns, lost: false });
            }
            tell.send_modify(|news| news.lost = true);
        });
        let held = Self { write: Mutex::new(write), news, reader };
        if held.start(1).await.is_none() { Err(stopped()) } else { Ok(held) }
    }

    /// Waits for the time zero with this number, from 1; `None` if the server has stopped.
    async fn start(&self, number: u32) -> Option<u64> {
        let mut news = self.news.clone();
        let news = news.wait_for(|news| news.lost || news.starts >= number).await.ok()?;
        (news.starts >= number).then_some(news.t0_ns)
    }

    /// The time zero that all holders share, ns on the monotonic clock.
    #[must_use]
    pub fn t0_ns(&self) -> u64 {
        self.news.borrow().t0_ns
    }

    /// Waits until all holders are ready for a run; their common time zero, ns on the monotonic clock. `None` if the server has
    /// stopped.
    pub async fn meet(&self, run_id: &str) -> Option<u64> {
        let next = self.news.borrow().starts + 1;
        let line = format!("{}\n", serde_json::json!({ "run": run_id }));
        self.write.lock().await.write_all(line.as_bytes()).await.ok()?;
        self.start(next).await
    }

    /// Returns when the server has stopped.
    pub async fn lost(&self) {
        let mut news = self.news.clone();
        // The reader ends with the socket, which closes its side of the channel.
        let _ = news.wait_for(|news| news.lost).await;
    }
}

impl Drop for ClientLease {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Creates a folder that only its owner can enter, with its parents.
///
/// # Errors
/// The error of the system.
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn all_holders_share_one_time_zero() {
        block_on(async {
            let offer = LeaseOffer::make().unwrap();
            let path = offer.path().to_path_buf();
            assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
            let (lent, one, two) =
                tokio::join!(offer.wait_for_holders(2), ClientLease::take(&path), ClientLease::take(&path));
            let (mut lent, one, two) = (lent.unwrap(), one.unwrap(), two.unwrap());
            assert_eq!(one.t0_ns(), two.t0_ns());
            drop(one);
            let early = tokio::time::timeout(std::time::Duration::from_millis(20), lent.wait_for_release()).await;
            assert!(early.is_err(), "one of two still holds it");
            drop(two);
            lent.wait_for_release().await;
        });
    }

    #[test]
    fn holders_meet_before_each_run() {
        block_on(async {
            let offer = LeaseOffer::make().unwrap();
            let path = offer.path().to_path_buf();
            let (lent, one, two) =
                tokio::join!(offer.wait_for_holders(2), ClientLease::take(&path), ClientLease::take(&path));
            let (mut lent, one, two) = (lent.unwrap(), one.unwrap(), two.unwrap());
            let first = one.t0_ns();
            let serving = tokio::spawn(async move { lent.wait_for_release().await });
            let (a, b) = tokio::join!(one.meet("r/0"), two.meet("r/0"));
            assert!(a == b && a > Some(first + MEETING_NS - 1), "{a:?} {b:?}");
            // The last remaining holder does not wait.
            drop(two);
            assert!(one.meet("r/1").await > a);
            drop(one);
            serving.await.unwrap();
        });
    }

    #[test]
    fn the_client_sees_the_end() {
        block_on(async {
            let offer = LeaseOffer::make().unwrap();
            let path = offer.path().to_path_buf();
            let (lent, held) = tokio::join!(offer.wait_for_holders(1), ClientLease::take(&path));
            drop(lent.unwrap());
            held.unwrap().lost().await;
            assert!(ClientLease::take(&path).await.is_err());
            assert!(!path.exists());
        });
    }
}
