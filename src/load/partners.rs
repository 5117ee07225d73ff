//! The other clients of a shared load, on this host or on others: all begin each run together.

use serde_json::json;

use super::options::LoadOptions;
use super::stop::StopReason;
use crate::base::digest;
use crate::base::notice::Notice;
use crate::rows::kinds::{ClockOffset, Run};
use crate::system::lease::ClientLease;
use crate::system::meeting::{Meeting, MeetingFailure};

/// With whom a client shares its loads.
#[derive(Debug, Clone, Copy)]
pub enum Partners<'a> {
    /// With nobody.
    None,
    /// With other holders of the server's lease.
    Lease(&'a ClientLease),
    /// With clients on other hosts.
    Meeting(&'a Meeting),
}

/// Clocks that may differ by more are named, ms.
const MOST_UNCERTAIN_MS: f64 = 5.0;

impl<'a> Partners<'a> {
    /// Those of a server with this lease.
    #[must_use]
    pub fn of(options: &'a LoadOptions, lease: Option<&'a ClientLease>) -> Self {
        match (options.shard, &options.meeting, lease) {
            (Some(_), Some(meeting), _) => Self::Meeting(meeting),
            (Some(_), None, Some(lease)) => Self::Lease(lease),
            (Some(_), None, None) | (None, _, _) => Self::None,
        }
    }

    /// How this client's clock differs from that of the first one on another host.
    ///
    /// # Errors
    /// When that one has left.
    pub async fn compare_clocks(self, notice: &Notice) -> Result<Option<ClockOffset>, StopReason> {
        let Self::Meeting(meeting) = self else { return Ok(None) };
        let clock = meeting.compare_clocks().await.map_err(|failure| reason(meeting, failure, notice))?;
        if let Some(clock) = clock.filter(|clock| clock.uncertainty_ms > MOST_UNCERTAIN_MS) {
            let ms = clock.uncertainty_ms;
            notice.warn(format!(
                "the clocks of the clients may differ by {ms:.1} ms, and so may the times at which they begin"
            ));
        }
        Ok(clock)
    }

    /// Waits until all are ready for a run; its time zero, ns on the monotonic clock. `None` for a client alone, and if the
    /// server has stopped.
    ///
    /// # Errors
    /// When another client is missing.
    pub async fn meet(self, run: &Run, notice: &Notice) -> Result<Option<u64>, StopReason> {
        match self {
            Self::None => Ok(None),
            // A lost server is noticed by its requests.
            Self::Lease(lease) => Ok(lease.meet(&run.run_id).await),
            Self::Meeting(meeting) => {
                meeting.meet(&name(run)).await.map(Some).map_err(|failure| reason(meeting, failure, notice))
            }
        }
    }
}

/// A run, and a digest of what all of its clients have to have in common.
fn name(run: &Run) -> String {
    let Run { workload, load, seed, warmup_s, .. } = run;
    let common = digest::short(&json!([workload.sha256, workload.num_prompts, load, seed, warmup_s]));
    format!("{} ({common})", run.run_id)
}

/// Why a run ends if others are missing.
fn reason(meeting: &Meeting, failure: MeetingFailure, notice: &Notice) -> StopReason {
    match failure {
        MeetingFailure::ServerOver => StopReason::ServerLost,
        MeetingFailure::Missing(why) => {
            meeting.report(notice, why);
            StopReason::ClientMissing
        }
    }
}
