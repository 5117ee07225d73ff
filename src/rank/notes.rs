//! Caveats of a row, one bit each.

use super::fast::ResultSummary;
use crate::rows::words::{DatasetKind, FailureClass, ReachedBy, TokenSource};

/// A set of caveats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes(u32);

macro_rules! notes {
    ($($(#[$doc:meta])* $name:ident = $bit:literal),* $(,)?) => {
        impl Notes {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
        }
    };
}

notes! {
    /// A simulated engine.
    SIMULATED = 0,
    /// A smoke test.
    SMOKE = 1,
    /// Random prompts.
    RANDOM = 2,
    /// Outputs shorter than requested.
    LENGTHS = 3,
    /// Prompt tokens from a cache.
    CACHE = 4,
    /// Tokens were counted as chunks.
    CHUNKS = 5,
    /// Reached through a forwarded port.
    TUNNEL = 6,
    /// On another host.
    NETWORK = 7,
    /// Saturated: the server fell behind its load.
    SATURATED = 8,
    /// A GPU was slowed down.
    THROTTLED = 9,
    /// Thirds of the run differ.
    UNSTABLE = 10,
    /// The row's claim about its SLA contradicts its numbers.
    CLAIM = 11,
    /// Its client writes 0 for values that it did not measure.
    PLACEHOLDER = 12,
    /// Its client does not detect every failure or first token.
    BLIND = 13,
    /// The plan has caveats, substitutions or untested values.
    PLAN = 14,
    /// The user excluded it.
    EXCLUDED = 15,
    /// Its framework's search was stopped after failures.
    GAVE_UP = 16,
    /// Too short to tell whether the server keeps up.
    TOO_SHORT = 17,
    /// Many tokens of an answer arrived at once.
    BUFFERED = 18,
    /// It lost the first of two stages.
    OUTRACED = 19,
    /// It would have failed to start like another.
    FORESEEN = 20,
    /// Its acceptance length was forced.
    FORCED = 21,
}

impl Notes {
    /// True if all of `other` are in it.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds the caveats of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The caveats of a row.
pub fn of(row: &ResultSummary) -> Notes {
    let mut notes = Notes::default();
    let mut note = |yes: bool, note: Notes| {
        if yes {
            notes.insert(note);
        }
    };
    let workload = row.workload.as_ref();
    note(
        workload.is_some_and(|workload| workload.kind.as_deref() == Some(DatasetKind::Random.as_str())),
        Notes::RANDOM,
    );
    note(row.caveats.is_some() || row.substitutions.is_some() || row.candidate.is_some(), Notes::PLAN);
    let class = row.failure_class.as_deref().map(FailureClass::from);
    note(class == Some(FailureClass::Excluded), Notes::EXCLUDED);
    note(class == Some(FailureClass::Outraced), Notes::OUTRACED);
    note(class == Some(FailureClass::GaveUp), Notes::GAVE_UP);
    note(class == Some(FailureClass::Foreseen), Notes::FORESEEN);
    let Some(quality) = &row.quality else { return notes };
    note(quality.simulated, Notes::SIMULATED);
    note(quality.smoke, Notes::SMOKE);
    note(quality.length_mismatch, Notes::LENGTHS);
    note(quality.cache_contaminated, Notes::CACHE);
    note(quality.buffered, Notes::BUFFERED);
    note(quality.throttled, Notes::THROTTLED);
    let thirds = quality.stability.as_ref().is_some_and(|thirds| thirds.saturated);
    note(quality.saturated || thirds, Notes::SATURATED);
    // A smoke test is always too short.
    note(quality.too_short_to_tell && !quality.smoke, Notes::TOO_SHORT);
    note(quality.unstable, Notes::UNSTABLE);
    let forced = quality.drafts.as_ref().and_then(|drafts| drafts.forced_acceptance_length);
    note(forced.is_some(), Notes::FORCED);
    note(quality.placeholder_zero, Notes::PLACEHOLDER);
    note(quality.blind.is_some(), Notes::BLIND);
    note(quality.token_source.as_deref() == Some(TokenSource::Chunks.as_str()), Notes::CHUNKS);
    let reached = quality.reached_by.as_deref().and_then(|way| way.parse().ok());
    note(reached == Some(ReachedBy::Tunnel), Notes::TUNNEL);
    note(reached == Some(ReachedBy::Network), Notes::NETWORK);
    notes
}
