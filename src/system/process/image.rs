//! Container images: pulled before a server is started or asked for its help, with progress on standard error.

use std::cell::RefCell;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::capture::{cannot_execute, output, too_slow};
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::base::shell;
use crate::engines::launcher::ImagePull;

/// Maximum time to find out whether an image is present.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// Maximum time to pull an image: those of servers have tens of gigabytes.
const PULL_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// The part of a pull's output that is kept to explain its failure, bytes.
const KEPT: usize = 1 << 14;

/// Pulls an image unless it is present.
///
/// # Errors
/// It cannot be pulled: which image, why, and what to do.
pub fn ensure(image: &ImagePull, notice: &Notice) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(ensured(image, notice))
}

/// True if an image is present.
///
/// # Errors
/// When the command cannot be run.
pub fn is_present(image: &ImagePull) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    Ok(runtime.block_on(has(image)))
}

async fn has(image: &ImagePull) -> bool {
    !image.has.is_empty() && output(&image.has, &[], LOOK_LIMIT).await.is_ok_and(|done| done.status.success())
}

/// As [`ensure`], without blocking the runtime. The pull is killed when the future is dropped.
///
/// # Errors
/// As above.
pub async fn ensured(image: &ImagePull, notice: &Notice) -> Result<()> {
    if has(image).await {
        return Ok(());
    }
    notice.say(format!("pulling image {}: {}", image.image, shell::join(&image.pull)));
    let printed = RefCell::new(String::new());
    match tokio::time::timeout(PULL_LIMIT, pull(&image.pull, notice, &printed)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(Error::new(image.failure(&printed.borrow()))),
        Ok(Err(e)) => Err(Error::new(image.failure(&e.to_string()))),
        Err(_) => Err(Error::new(image.failure(&too_slow(PULL_LIMIT).to_string()))),
    }
}

/// Runs the command and passes on what it prints; whether it succeeded.
async fn pull(argv: &[String], notice: &Notice, printed: &RefCell<String>) -> Result<bool> {
    let [program, arguments @ ..] = argv else { return Err(Error::new("no command")) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| cannot_execute(program, e))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (status, (), ()) = tokio::join!(child.wait(), relay(out, notice, printed), relay(err, notice, printed));
    Ok(status.context("cannot wait for the command")?.success())
}

async fn relay(stream: Option<impl AsyncRead + Unpin>, notice: &Notice, printed: &RefCell<String>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 1 << 13];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let piece = String::from_utf8_lossy(&buffer[..read]);
        notice.relay(&piece);
        let mut printed = printed.borrow_mut();
        printed.push_str(&piece);
        let mut excess = printed.len().saturating_sub(KEPT);
        while !printed.is_char_boundary(excess) {
            excess += 1;
        }
        printed.drain(..excess);
    }
}
