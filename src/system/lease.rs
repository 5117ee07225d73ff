//! The lease: the Unix socket through which bench-load holds the server that bench-serve owns.
//!
//! A client connects before any other work on the row. When all holders are there, each is told one time zero in a line
//! of JSON: `{"t0_ns": N}` on the monotonic clock. Holders that share a load meet again before each of its runs: each
//! writes a line that names the run, and once all that are left have done so they are told a new time zero. The client
//! closes when it is done, and bench-serve closes when the server is gone. Either side's death closes the socket by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::base::error::{Context, Error, Result};

/// The most bytes that the path of a Unix socket may have.
const MAX_PATH: usize = 107;

/// From the last holder's being ready to the time zero of a run: all of them have heard of it by then, ns.
const MEETING_NS: u64 = 20_000_000;

#[derive(Serialize, Deserialize)]
struct LeaseStart {
    t0_ns: u64,
}

/// Nanoseconds on the monotonic clock, the same in every process of this host.
///
/// # Errors
/// When the system has no such clock.
pub fn monotonic_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("cannot read the monotonic clock")?;
    Ok(now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}

/// bench-serve's side: offers the lease of one server.
#[derive(Debug)]
pub struct LeaseOffer {
    listener: UnixListener,
    path: PathBuf,
    folder: tempfile::TempDir,
}

impl LeaseOffer {
    /// Makes the socket in a private folder under `$XDG_RUNTIME_DIR` or the system's temporary folder.
    ///
    /// # Errors
    /// When it cannot be made, or its path is longer than a socket's may be.
    pub fn make() -> Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_dir());
        let parent = runtime.unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("bench-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(|e| {
                Error::new("cannot make a folder for the lease").because(e).at(parent.display().to_string())
            })?;
        let path = folder.path().join("lease");
        if path.as_os_str().len() > MAX_PATH {
            let why =
                format!("the path of a socket may have {MAX_PATH} bytes; set XDG_RUNTIME_DIR to a shorter folder");
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

    /// Waits for `holders` clients, then tells all of them the same time zero.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn taken(self, holders: usize) -> Result<ServerLease> {
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

/// A lease that is held. Dropping it tells the holders that the server is gone.
#[derive(Debug)]
pub struct ServerLease {
    /// Our sides of the holders that are left.
    holders: BTreeMap<usize, OwnedWriteHalf>,
    /// Holders that wait for the next time zero.
    waiting: BTreeSet<usize>,
    said: UnboundedReceiver<(usize, Option<String>)>,
    readers: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl ServerLease {
    fn new(streams: Vec<UnixStream>, folder: tempfile::TempDir) -> Self {
        let (tell, said) = unbounded_channel();
        let mut lent =
            Self { holders: BTreeMap::new(), waiting: BTreeSet::new(), said, readers: Vec::new(), _folder: folder };
        for (i, stream) in streams.into_iter().enumerate() {
            let (read, write) = stream.into_split();
            lent.holders.insert(i, write);
            let tell = tell.clone();
            lent.readers.push(tokio::spawn(async move {
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let _ = tell.send((i, Some(line)));
                }
                let _ = tell.send((i, None));
            }));
        }
        lent
    }

    /// Tells all holders one time zero.
    async fn go(&mut self, t0_ns: u64) {
        let go = format!("{}\n", serde_json::json!(LeaseStart { t0_ns }));
        for stream in self.holders.values_mut() {
            // A client that left meanwhile is seen as one that is done.
            let _ = stream.write_all(go.as_bytes()).await;
        }
    }

    /// Waits until every holder has closed its side; lets those that share a load begin each run together.
    pub async fn given_back(&mut self) {
        while !self.holders.is_empty() {
            match self.said.recv().await {
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

/// What the lease says to its holder.
#[derive(Debug, Clone, Copy, Default)]
struct LeaseEvent {
    /// Times zero that were told so far.
    told: u32,
    t0_ns: u64,
    /// The server is gone.
    gone: bool,
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
    /// When nobody offers it: the server of that row is gone.
    pub async fn take(path: &Path) -> Result<Self> {
        let gone = || {
            Error::new(format!("the lease {} is not offered any more, so this row's server is gone", path.display()))
        };
        let stream = UnixStream::connect(path).await.map_err(|e| gone().because(e))?;
        let (read, write) = stream.into_split();
        let (tell, news) = watch::channel(LeaseEvent::default());
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(go) = serde_json::from_str::<LeaseStart>(&line) else { continue };
                tell.send_modify(|news| *news = LeaseEvent { told: news.told + 1, t0_ns: go.t0_ns, gone: false });
            }
            tell.send_modify(|news| news.gone = true);
        });
        let held = Self { write: Mutex::new(write), news, reader };
        if held.told(1).await.is_none() { Err(gone()) } else { Ok(held) }
    }

    /// The time zero of that number, once it is told; `None` when the server is gone.
    async fn told(&self, number: u32) -> Option<u64> {
        let mut news = self.news.clone();
        let news = news.wait_for(|news| news.gone || news.told >= number).await.ok()?;
        (news.told >= number).then_some(news.t0_ns)
    }

    /// The time zero that all holders share, ns on the monotonic clock.
    #[must_use]
    pub fn t0_ns(&self) -> u64 {
        self.news.borrow().t0_ns
    }

    /// Waits until all holders are ready for a run; the time zero that they share, ns on the monotonic clock. `None` when the
    /// server is gone.
    pub async fn meet(&self, run_id: &str) -> Option<u64> {
        let next = self.news.borrow().told + 1;
        let line = format!("{}\n", serde_json::json!({ "run": run_id }));
        self.write.lock().await.write_all(line.as_bytes()).await.ok()?;
        self.told(next).await
    }

    /// Returns when the server is gone.
    pub async fn lost(&self) {
        let mut news = self.news.clone();
        // The reader ends with the socket, and its side of the news with it.
        let _ = news.wait_for(|news| news.gone).await;
    }
}

impl Drop for ClientLease {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Makes a folder that only its owner can enter, with its parents.
///
/// # Errors
/// What the system says.
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
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
            let (lent, one, two) = tokio::join!(offer.taken(2), ClientLease::take(&path), ClientLease::take(&path));
            let (mut lent, one, two) = (lent.unwrap(), one.unwrap(), two.unwrap());
            assert_eq!(one.t0_ns(), two.t0_ns());
            drop(one);
            let early = tokio::time::timeout(std::time::Duration::from_millis(20), lent.given_back()).await;
            assert!(early.is_err(), "one of two still holds it");
            drop(two);
            lent.given_back().await;
        });
    }

    #[test]
    fn holders_meet_before_each_run() {
        block_on(async {
            let offer = LeaseOffer::make().unwrap();
            let path = offer.path().to_path_buf();
            let (lent, one, two) = tokio::join!(offer.taken(2), ClientLease::take(&path), ClientLease::take(&path));
            let (mut lent, one, two) = (lent.unwrap(), one.unwrap(), two.unwrap());
            let first = one.t0_ns();
            let serving = tokio::spawn(async move { lent.given_back().await });
            let (a, b) = tokio::join!(one.meet("r/0"), two.meet("r/0"));
            assert!(a == b && a > Some(first + MEETING_NS - 1), "{a:?} {b:?}");
            // Who is alone left waits for nobody.
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
            let (lent, held) = tokio::join!(offer.taken(1), ClientLease::take(&path));
            drop(lent.unwrap());
            held.unwrap().lost().await;
            assert!(ClientLease::take(&path).await.is_err());
            assert!(!path.exists());
        });
    }
}
