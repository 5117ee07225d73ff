//! What a request belongs to.

use super::words;

words! {
    /// What a request belongs to.
    #[derive(Default)]
    pub enum Phase, "phase" {
        /// Before the measured requests.
        Warmup = "warmup",
        /// Counted.
        #[default]
        Measured = "measured",
        /// Keeps the load up until the last measured request is done.
        Tail = "tail",
        /// Part of the pilot burst of a rate search, which finds where to begin.
        Pilot = "sounding",
    }
}
