//! A meeting: clients on several hosts that share a load, over TCP.
//!
//! The first client listens, all others connect, and both sides prove that they know the same secret (`hello`). Before each run a client
//! compares its clock with that of the first one (`clock`), says which run it is ready for, and gets the time zero of that run. The
//! first client goes on only with all others: one that leaves, or that does not come within the time limit, ends the run of all.
//!
//! Lines of JSON: `{"ping": N}` and its answer `{"pong": N, "received_ns": …, "sent_ns": …}`; `{"run": ID, "round_trip_ns": …}` and its
//! answer `{"t0_ns": …}` on the clock of the first client; `{"done": SERVER_ID}` from both, once the server is no longer needed.

mod clock;
mod guest;
mod hello;
mod host;
mod settings;
mod wire;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use self::guest::Guest;
use self::host::Host;
pub use self::settings::{MeetingFailure, MeetingSettings};
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::base::redact;
use crate::rows::kinds::ClockOffset;

/// A client's place in a meeting that all have joined.
#[derive(Debug)]
pub struct Meeting {
    /// A name that no other meeting has.
    pub id: String,
    place: MeetingRole,
    is_reported: AtomicBool,
}

#[derive(Debug)]
enum MeetingRole {
    /// The first client.
    Host(Host),
    /// Any other.
    Guest(Guest),
}

impl Meeting {
    /// Waits until all clients have joined. Signals end the process meanwhile.
    ///
    /// # Errors
    /// A secret that cannot be used, an address that cannot be, or a client that does not come within the limit.
    pub fn join(settings: &MeetingSettings, notice: &Notice) -> Result<Self> {
        let secret = secret(&settings.secret)?;
        let (id, place) = if settings.shard.index == 0 {
            let (id, host) = Host::wait(settings, &secret, notice)?;
            (id, MeetingRole::Host(host))
        } else {
            let (id, guest) = Guest::connect(settings, &secret)?;
            (id, MeetingRole::Guest(guest))
        };
        Ok(Self { id, place, is_reported: AtomicBool::new(false) })
    }

    /// Compares this client's clock with that of the first one, which has nothing to compare.
    ///
    /// # Errors
    /// When the first client has left.
    pub async fn compare_clocks(&self) -> Result<Option<ClockOffset>, MeetingFailure> {
        match &self.place {
            MeetingRole::Host(_) => Ok(None),
            MeetingRole::Guest(guest) => guest.compare_clocks().await.map(Some),
        }
    }

    /// Waits until all clients are ready for a run; its time zero, ns on the monotonic clock of this host.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub async fn meet(&self, run_id: &str) -> Result<u64, MeetingFailure> {
        match &self.place {
            MeetingRole::Host(host) => host.meet(run_id).await,
            MeetingRole::Guest(guest) => guest.meet(run_id).await,
        }
    }

    /// Says that this client no longer needs a server, and waits until none needs it.
    ///
    /// # Errors
    /// When another client has left.
    pub async fn done(&self, server_id: &str) -> Result<(), MeetingFailure> {
        match &self.place {
            MeetingRole::Host(host) => host.done(server_id).await,
            MeetingRole::Guest(guest) => guest.done(server_id).await,
        }
    }

    /// Reports why this meeting is over, once.
    pub fn report(&self, notice: &Notice, why: String) {
        if !self.is_reported.swap(true, SeqCst) {
            notice.error(&Error::new(why));
        }
    }

    /// Leaves the meeting: all others notice it at once.
    pub fn leave(&self) {
        match &self.place {
            MeetingRole::Host(host) => host.leave(),
            MeetingRole::Guest(guest) => guest.leave(),
        }
    }

    /// Returns when another client has left; why.
    pub async fn broken(&self) -> String {
        match &self.place {
            MeetingRole::Host(host) => host.broken().await,
            MeetingRole::Guest(guest) => guest.broken().await,
        }
    }
}

/// The secret of a file that only its owner may read.
fn secret(path: &Path) -> Result<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt;
    let at = |e: Error| e.at(path.display().to_string());
    let found = std::fs::metadata(path).context("cannot read the secret").map_err(at)?;
    if found.permissions().mode() & 0o077 != 0 {
        return Err(at(Error::new("others may read the secret of the meeting: chmod 600")));
    }
    let text = std::fs::read_to_string(path).context("cannot read the secret").map_err(at)?;
    let secret = text.trim();
    if secret.len() < 16 {
        return Err(at(Error::new("the secret of a meeting has at least 16 characters: openssl rand -hex 32")));
    }
    redact::hide([secret.to_string()]);
    Ok(secret.as_bytes().to_vec())
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
