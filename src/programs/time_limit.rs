//! The time in which runs are to end, by the command line.

use crate::base::error::Result;
use crate::flags::fit::{FitArgs, FitTime};
use crate::system::clock;

/// The time from now; `None` if the command line says nothing, so that the plan decides.
///
/// # Errors
/// When `--until` is no time of day, or the time is not known.
pub fn from_now(args: &FitArgs) -> Result<Option<FitTime>> {
    match &args.until {
        Some(until) => clock::until(until).map(|time| Some(FitTime::Within(time))).map_err(|e| e.at("--until")),
        None => Ok(args.fit),
    }
}
