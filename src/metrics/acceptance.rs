//! What the acceptance of drafted tokens in a run is worth. An acceptance length is the mean number of output tokens per step, the
//! model's own token included: 1 + accepted / drafts.

use crate::rows::words::AcceptanceVerdict;

/// A forced length is met within this share of it.
pub const TOLERANCE: f64 = 0.03;

/// The verdict on a run that forced a length, or none, and counted another, or none; and why it is not ranked, if it is not.
#[must_use]
pub fn acceptance(forced: Option<f64>, counted: Option<f64>, is_made_up: bool) -> (AcceptanceVerdict, Option<String>) {
    let (verdict, why) = match (forced, counted) {
        (None, _) if is_made_up => (
            AcceptanceVerdict::MadeUp,
            "the drafts of generated prompts are accepted as those of no real prompt: use a data set, or give benchmark.acceptance_length"
                .into(),
        ),
        (None, _) => (AcceptanceVerdict::Real, String::new()),
        (Some(forced), None) => (
            AcceptanceVerdict::Unknown,
            format!(
                "an acceptance length of {forced} was forced, but the server counted no drafts: it made none, or its counters are off"
            ),
        ),
        (Some(forced), Some(counted)) => {
            let off = counted / forced - 1.0;
            match off.abs() <= TOLERANCE {
                true => (AcceptanceVerdict::Forced, String::new()),
                false => (
                    AcceptanceVerdict::Missed,
                    format!(
                        "an acceptance length of {forced} was forced, but the server counted {counted:.2} ({:+.1} %, {:.0} % are allowed)",
                        100.0 * off,
                        100.0 * TOLERANCE
                    ),
                ),
            }
        }
    };
    (verdict, verdict.is_out().then_some(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_length_is_met_within_three_percent() {
        use AcceptanceVerdict::{Forced, MadeUp, Missed, Real, Unknown};
        for (forced, counted, made_up, wanted, said) in [
            (None, Some(2.1), false, Real, ""),
            (None, None, false, Real, ""),
            (None, Some(1.1), true, MadeUp, "use a data set"),
            (Some(3.0), Some(3.08), true, Forced, ""),
            (Some(3.0), Some(2.92), false, Forced, ""),
            (Some(3.0), Some(3.1), true, Missed, "3 was forced, but the server counted 3.10 (+3.3 %, 3 % are allowed)"),
            (Some(3.5), Some(2.0), true, Missed, "3.5 was forced, but the server counted 2.00 (-42.9 %"),
            (Some(3.0), None, true, Unknown, "it made none, or its counters are off"),
        ] {
            let (verdict, why) = acceptance(forced, counted, made_up);
            assert_eq!((verdict, why.is_some()), (wanted, verdict.is_out()), "{forced:?} {counted:?}");
            assert!(why.unwrap_or_default().contains(said), "{forced:?} {counted:?}");
        }
    }
}
