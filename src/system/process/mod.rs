//! Processes and signals: the guard, process groups, short commands, `/proc`, and how a program ends.

pub mod affinity;
pub mod bound;
pub mod capture;
pub mod cgroup;
pub mod copies;
pub mod group;
pub mod guard;
pub mod host;
pub mod image;
pub mod kernel_log;
pub mod pipeline;
pub mod proc;
pub mod signals;

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::{Receiver, channel};

/// Returns when the reader of `pipe` has closed it, without writing to it; never for a file or a terminal.
pub async fn reader_left(pipe: &impl AsFd) {
    while !has_reader_left(pipe) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// True if the reader of `pipe` has closed it; never for a file or a terminal.
pub fn has_reader_left(pipe: &impl AsFd) -> bool {
    let mut watched = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    poll(&mut watched, PollTimeout::ZERO).is_ok()
        && watched[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// Moves a blocking iterator to a thread of its own, so that signals and sockets can be watched meanwhile.
pub fn feed<T: Send + 'static>(items: impl Iterator<Item = T> + Send + 'static) -> Receiver<T> {
    let (send, receive) = channel(1);
    std::thread::spawn(move || {
        for item in items {
            if send.blocking_send(item).is_err() {
                break;
            }
        }
    });
    receive
}
