//! The time in which the runs are to end.

use std::time::Duration;

use clap::Args;

use crate::base::span::span;

/// The time in which the runs are to end, as the command line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitTime {
    /// Whatever the plan says, there is no limit.
    Unlimited,
    /// What is not likely to end within this time is left out.
    Within(Duration),
}

impl FitTime {
    /// Reads `8h`, or `none`.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Unlimited);
        }
        span(text).map(Self::Within).map_err(|why| format!("{why}; or none"))
    }

    /// The time, if there is a limit.
    #[must_use]
    pub const fn limit(self) -> Option<Duration> {
        match self {
            Self::Unlimited => None,
            Self::Within(time) => Some(time),
        }
    }
}

/// The options for it.
#[derive(Debug, Clone, Default, Args)]
pub struct FitArgs {
    /// End within this time, such as 8h: leave out repeats, runs at given loads, the last candidates of each framework and runs of
    /// searches, in this order, until the rest is likely to end in time. Several plans share it. Overrides search.fit of the plan; none:
    /// no limit
    #[arg(long, value_name = "TIME", value_parser = FitTime::parse)]
    pub fit: Option<FitTime>,
    /// End by this time of day, such as 07:00: as --fit
    #[arg(long, value_name = "HH:MM", conflicts_with = "fit")]
    pub until: Option<String>,
}
