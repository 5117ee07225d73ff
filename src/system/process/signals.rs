//! Signals: the first asks for an orderly end, the second ends the program at once. One that was ignored at the start
//! stays ignored. A service manager sends SIGTERM to all processes, and scripts/sweep hands its own on: the same one again
//! within a moment is no second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use nix::sys::signal::Signal;
use signal_hook::{flag, iterator, low_level};
use tokio::sync::mpsc;

use crate::base::error::{Context, Result};

const ASKED: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// How long the same SIGTERM or SIGHUP may come again. Not so SIGINT: whoever types Ctrl-C twice means it.
const SAME: Duration = Duration::from_millis(500);

/// The signals that ask this program to end, as they come.
#[derive(Debug)]
pub struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn listen() -> Result<Self> {
        let (send, receive) = mpsc::unbounded_channel();
        let ignored = ignored();
        let asked: Vec<Signal> = ASKED.into_iter().filter(|signal| !is_in(ignored, *signal)).collect();
        let came = Arc::new(AtomicBool::new(false));
        for signal in &asked {
            // In this order: the first signal finds the flag down and raises it, the second finds it raised.
            let number = *signal as i32;
            flag::register_conditional_default(number, came.clone()).context("cannot listen for signals")?;
            if *signal == Signal::SIGINT {
                flag::register(number, came.clone()).context("cannot listen for signals")?;
            }
        }
        let numbers = asked.iter().map(|signal| *signal as i32);
        let mut signals = iterator::Signals::new(numbers).context("cannot listen for signals")?;
        std::thread::spawn(move || {
            let mut first = None;
            for signal in signals.forever().filter_map(|number| Signal::try_from(number).ok()) {
                if first == Some(signal) && signal != Signal::SIGINT {
                    continue;
                }
                if first.replace(signal).is_none() && signal != Signal::SIGINT {
                    let came = came.clone();
                    std::thread::spawn(move || {
                        std::thread::sleep(SAME);
                        came.store(true, Ordering::Relaxed);
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

/// The signals that are ignored now, a bit each from the lowest: what `/proc` says, so nothing is changed by asking.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, signal: Signal) -> bool {
    mask >> (signal as i32 - 1) & 1 == 1
}

/// Dies by `signal`, so that the shell sees what ended us. Returns only when the signal cannot kill.
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
