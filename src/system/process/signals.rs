//! Signals: the first requests an orderly end, the second ends the program at once. A signal that was ignored at the start
//! stays ignored. A service manager sends SIGTERM to all processes, and bench-sweep forwards its own: the same signal
//! again within half a second does not count as the second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use nix::sys::signal::Signal;
use signal_hook::{flag, iterator, low_level};
use tokio::sync::mpsc;

use super::proc::SWEEP_MARK;
use crate::base::error::{Context, Result};

const STOP_SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The same SIGTERM or SIGHUP counts once within this time. SIGINT always counts, because the user pressed Ctrl-C twice; but
/// not in a program that bench-sweep runs, which then forwards the second one later.
pub const REPEAT: Duration = Duration::from_millis(500);

/// The signals that ask this program to end, in the order of their arrival.
#[derive(Debug)]
pub struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> Result<Self> {
        let (send, receive) = mpsc::unbounded_channel();
        let handled = heeded();
        let is_swept = std::env::var_os(SWEEP_MARK).is_some();
        let counts_at_once = move |signal: Signal| signal == Signal::SIGINT && !is_swept;
        let seen = Arc::new(AtomicBool::new(false));
        // Before the flags, which alone would swallow a signal.
        let numbers = handled.iter().map(|signal| *signal as i32);
        let mut signals = iterator::Signals::new(numbers).context("cannot listen for signals")?;
        for signal in &handled {
            // In this order: the first signal finds the flag down and raises it, the second finds it raised.
            let number = *signal as i32;
            flag::register_conditional_default(number, seen.clone()).context("cannot listen for signals")?;
            if counts_at_once(*signal) {
                flag::register(number, seen.clone()).context("cannot listen for signals")?;
            }
        }
        std::thread::spawn(move || {
            let mut first = None;
            for signal in signals.forever().filter_map(|number| Signal::try_from(number).ok()) {
                if first == Some(signal) && !counts_at_once(signal) {
                    continue;
                }
                if first.replace(signal).is_none() && !counts_at_once(signal) {
                    let seen = seen.clone();
                    std::thread::spawn(move || {
                        std::thread::sleep(REPEAT);
                        seen.store(true, Ordering::Relaxed);
                    });
                }
                if send.send(signal).is_err() {
                    break;
                }
            }
        });
        Ok(Self(receive))
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// The signals that ask this program to end: those that were not ignored at its start.
#[must_use]
pub fn heeded() -> Vec<Signal> {
    let ignored = ignored();
    STOP_SIGNALS.into_iter().filter(|signal| !is_in(ignored, *signal)).collect()
}

/// The signals that are ignored now, one bit each from signal 1 up. Read from `/proc`, which changes nothing.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, signal: Signal) -> bool {
    mask >> (signal as i32 - 1) & 1 == 1
}

/// Dies by `signal`, so that the parent process sees it. Returns only if the signal does not end a process.
pub fn die_by(signal: Signal) {
    let _ = low_level::emulate_default_handler(signal as i32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_begins_at_signal_1() {
        assert!(is_in(0b10, Signal::SIGINT) && !is_in(0b10, Signal::SIGHUP) && is_in(1, Signal::SIGHUP));
        // The Rust runtime ignores SIGPIPE.
        assert!(is_in(ignored(), Signal::SIGPIPE));
    }
}
