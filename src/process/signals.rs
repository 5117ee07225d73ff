//! Signals: the first asks for an orderly end, the second means at once. One that was ignored at the start stays so.

pub use nix::sys::signal::Signal;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, kill, raise, sigaction};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::{Context, Result};

const ASKED: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The signals that ask this program to end, as they come.
#[derive(Debug)]
pub struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    /// Listens from now on; needs a running tokio runtime.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn listen() -> Result<Self> {
        let (send, receive) = mpsc::unbounded_channel();
        for asked in ASKED {
            if is_ignored(asked)? {
                continue;
            }
            let mut stream = signal(SignalKind::from_raw(asked as i32)).context("cannot listen for signals")?;
            let send = send.clone();
            tokio::spawn(async move { while stream.recv().await.is_some() && send.send(asked).is_ok() {} });
        }
        Ok(Self(receive))
    }

    /// The next signal. Never returns when all are ignored.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// True when `signal` is ignored now. Asking means setting and setting back: there is no other way to ask safely.
fn is_ignored(signal: Signal) -> Result<bool> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: neither action runs any code of ours in a signal handler.
    #[allow(unsafe_code, reason = "sigaction has no safe form")]
    let before = unsafe { sigaction(signal, &ignore) }.context("cannot look at a signal")?;
    let ignored = matches!(before.handler(), SigHandler::SigIgn);
    if !ignored {
        // SAFETY: as above; this puts back what was there.
        #[allow(unsafe_code, reason = "sigaction has no safe form")]
        unsafe { sigaction(signal, &before) }.context("cannot look at a signal")?;
    }
    Ok(ignored)
}

/// Dies by `signal`, so that the shell sees what ended us. Returns only when the signal cannot kill.
pub fn die_by(signal: Signal) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    #[allow(unsafe_code, reason = "sigaction has no safe form")]
    let _ = unsafe { sigaction(signal, &default) };
    let mut set = SigSet::empty();
    set.add(signal);
    let _ = set.thread_unblock();
    let _ = raise(signal);
    let _ = kill(Pid::this(), signal);
}
