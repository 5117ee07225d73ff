//! The lease: the Unix socket through which bench-load holds the server that bench-serve owns.
//!
//! A client connects before any other work on the row. When all holders are there, each is told one time zero in a line
//! of JSON: `{"t0_ns": N}` on the monotonic clock. Nothing is said afterwards: the client closes when it is done, and
//! bench-serve closes when the server is gone. Either side's death closes the socket by itself.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::error::{Context, Error, Result};

/// The most bytes that the path of a Unix socket may have.
const MAX_PATH: usize = 107;

#[derive(Serialize, Deserialize)]
struct Go {
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
pub struct Offer {
    listener: UnixListener,
    path: PathBuf,
    folder: tempfile::TempDir,
}

impl Offer {
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
    pub async fn taken(self, holders: usize) -> Result<Lent> {
        let mut streams = Vec::with_capacity(holders);
        while streams.len() < holders {
            let (stream, _) = self.listener.accept().await.context("the lease's socket failed")?;
            streams.push(stream);
        }
        let go = serde_json::to_string(&Go { t0_ns: monotonic_ns()? }).context("cannot write the time zero")?;
        for stream in &mut streams {
            // A client that left meanwhile is seen as one that is done.
            let _ = stream.write_all(format!("{go}\n").as_bytes()).await;
        }
        Ok(Lent { streams, _folder: self.folder })
    }
}

/// A lease that is held. Dropping it tells the holders that the server is gone.
#[derive(Debug)]
pub struct Lent {
    streams: Vec<UnixStream>,
    _folder: tempfile::TempDir,
}

impl Lent {
    /// Waits until every holder has closed its side.
    pub async fn given_back(&mut self) {
        let mut rest = [0; 64];
        for stream in &mut self.streams {
            while matches!(stream.read(&mut rest).await, Ok(n) if n > 0) {}
        }
    }
}

/// The client's side: a lease that we hold until this is dropped.
#[derive(Debug)]
pub struct Held {
    stream: BufReader<UnixStream>,
    t0_ns: u64,
}

impl Held {
    /// Takes the lease at `path` and waits until all other holders have theirs.
    ///
    /// # Errors
    /// When nobody offers it: the server of that row is gone.
    pub async fn take(path: &Path) -> Result<Self> {
        let gone = || {
            Error::new(format!("the lease {} is not offered any more, so this row's server is gone", path.display()))
        };
        let stream = UnixStream::connect(path).await.map_err(|e| gone().because(e))?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        let read = stream.read_line(&mut line).await.map_err(|e| gone().because(e))?;
        if read == 0 {
            return Err(gone());
        }
        let go: Go = serde_json::from_str(&line).context("the lease does not say its time zero")?;
        Ok(Self { stream, t0_ns: go.t0_ns })
    }

    /// The time zero that all holders share, ns on the monotonic clock.
    #[must_use]
    pub fn t0_ns(&self) -> u64 {
        self.t0_ns
    }

    /// Returns when the server is gone.
    pub async fn lost(&mut self) {
        let mut rest = [0; 64];
        while matches!(self.stream.read(&mut rest).await, Ok(n) if n > 0) {}
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
            let offer = Offer::make().unwrap();
            let path = offer.path().to_path_buf();
            assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
            let (lent, one, two) = tokio::join!(offer.taken(2), Held::take(&path), Held::take(&path));
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
    fn the_client_sees_the_end() {
        block_on(async {
            let offer = Offer::make().unwrap();
            let path = offer.path().to_path_buf();
            let (lent, held) = tokio::join!(offer.taken(1), Held::take(&path));
            drop(lent.unwrap());
            held.unwrap().lost().await;
            assert!(Held::take(&path).await.is_err());
            assert!(!path.exists());
        });
    }
}
