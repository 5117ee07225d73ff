//! The phase of a run that a request belongs to.

use super::words;

words! {
    /// The phase of a run that a request belongs to.
    #[derive(Default)]
    pub enum Phase, "phase" {
        /// Before the measured requests.
        Warmup = "warmup",
        /// Measured.
        #[default]
        Measured = "measured",
        /// Keeps the load running until the last measured request ends.
        Tail = "tail",
        /// Part of the pilot burst that finds the starting rate of a search.
        Pilot = "sounding",
    }
}
