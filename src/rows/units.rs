//! Units: the type names the unit in code, the suffix of the key in rows. All conversions are here.

use serde::{Deserialize, Serialize};

/// Microseconds on the monotonic clock, from the start of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Micros(pub u64);

/// Milliseconds: every latency that a result row holds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Millis(pub f64);

impl Micros {
    /// Time since `earlier`; 0 if `earlier` is later.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "2^52 µs are 142 years")]
    pub fn since(self, earlier: Micros) -> Millis {
        Millis(self.0.saturating_sub(earlier.0) as f64 / 1000.0)
    }

    /// In seconds.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "2^52 µs are 142 years")]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// From seconds, rounded to the nearest microsecond; negative values give 0.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1e6).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts() {
        assert_eq!(Micros(1_500).since(Micros(500)), Millis(1.0));
        assert_eq!(Micros(1).since(Micros(2)), Millis(0.0));
        assert_eq!(Micros::from_seconds(-1.0), Micros(0));
        assert_eq!(Micros::from_seconds(1.25), Micros(1_250_000));
    }
}
