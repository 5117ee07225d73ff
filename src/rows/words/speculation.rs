//! The words of speculative decoding.

use super::words;

words! {
    /// What the acceptance of drafted tokens in a run is worth.
    pub enum AcceptanceVerdict, "acceptance verdict" {
        /// Drafts for real prompts were accepted as the model does
        Real = "real",
        /// It was forced to the length that the plan gives
        Forced = "forced",
        /// It was forced, but the server accepted more or fewer
        Missed = "missed",
        /// It was forced, but the server does not say what it accepted
        Unknown = "unknown",
        /// Drafts for generated prompts: nothing follows for real ones
        MadeUp = "made_up",
    }
}

impl AcceptanceVerdict {
    /// True if a run with this verdict is not ranked.
    #[must_use]
    pub fn is_out(self) -> bool {
        match self {
            Self::Missed | Self::Unknown | Self::MadeUp => true,
            Self::Real | Self::Forced => false,
        }
    }
}
