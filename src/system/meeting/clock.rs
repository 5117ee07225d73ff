//! The offset of two clocks, from round trips between them.

use crate::rows::kinds::ClockOffset;

/// One round trip, ns: when this client asked and had the answer, by its own clock, and when the other one received and answered, by its
/// own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RoundTrip {
    pub asked: u64,
    pub received: u64,
    pub sent: u64,
    pub answered: u64,
}

impl RoundTrip {
    /// The time on the way there and back, ns.
    pub fn on_the_way(self) -> u64 {
        self.answered.saturating_sub(self.asked).saturating_sub(self.sent.saturating_sub(self.received))
    }

    /// The other clock minus this one, ns, if there and back took equally long; it is wrong by at most half of [`Self::on_the_way`].
    pub fn offset(self) -> i64 {
        let there = i128::from(self.received) - i128::from(self.asked);
        let back = i128::from(self.sent) - i128::from(self.answered);
        i64::try_from((there + back) / 2).unwrap_or_default()
    }
}

/// The offset of the round trip that took the shortest time, which bounds the error best. D. Mills, RFC 5905, section 8: offset
/// ((T2 − T1) + (T3 − T4)) / 2, delay (T4 − T1) − (T3 − T2).
pub(super) fn best(trips: &[RoundTrip]) -> Option<RoundTrip> {
    trips.iter().copied().min_by_key(|trip| trip.on_the_way())
}

/// As a row has it.
pub(super) fn in_row(trip: RoundTrip) -> ClockOffset {
    let ms = |ns: f64| ns / 1e6;
    ClockOffset { offset_ms: ms(trip.offset() as f64), uncertainty_ms: ms(trip.on_the_way() as f64 / 2.0) }
}

/// A time on the other clock on this one, ns.
pub(super) fn here(there: u64, offset: i64) -> u64 {
    u64::try_from(i128::from(there) - i128::from(offset)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_true_offset_is_within_the_uncertainty(
            offset in -1_000_000_000_000_i64..1_000_000_000_000,
            trips in proptest::collection::vec((0_u64..5_000_000, 0_u64..5_000_000, 0_u64..1_000_000), 1..20),
        ) {
            let base = 10_000_000_000_000_u64;
            let made: Vec<RoundTrip> = trips.iter().enumerate().map(|(i, (there, back, stay))| {
                let asked = base + i as u64 * 20_000_000;
                let on = |own: u64| u64::try_from(i128::from(own) + i128::from(offset)).unwrap();
                RoundTrip {
                    asked,
                    received: on(asked + there),
                    sent: on(asked + there + stay),
                    answered: asked + there + stay + back,
                }
            }).collect();
            let best = best(&made).unwrap();
            let shortest = trips.iter().map(|(there, back, _)| there + back).min().unwrap();
            prop_assert_eq!(best.on_the_way(), shortest);
            let error = (best.offset() - offset).unsigned_abs();
            prop_assert!(error <= best.on_the_way() / 2 + 1, "{} {}", error, best.on_the_way());
            prop_assert!((here(best.received, offset) as i128 - (i128::from(best.received) - i128::from(offset))).abs() < 2);
        }
    }

    #[test]
    fn the_row_says_ms() {
        let trip = RoundTrip { asked: 1_000_000, received: 6_500_000, sent: 6_600_000, answered: 2_100_000 };
        assert_eq!(trip.on_the_way(), 1_000_000);
        let row = in_row(trip);
        assert_eq!((row.offset_ms, row.uncertainty_ms), (5.0, 0.5));
        assert_eq!(here(7_000_000, trip.offset()), 2_000_000);
    }
}
