//! How candidates are chosen, and how a rate search ends.

use super::words;

words! {
    /// How candidates are made of a search space.
    #[derive(Default)]
    pub enum Strategy, "strategy" {
        /// All combinations in order, until the cap.
        #[default]
        BoundedProduct = "baseline_first_bounded_product",
        /// The plan's own list, in its order.
        Ordered = "ordered",
        /// Each value of each knob alone.
        OneAtATime = "one_at_a_time",
        /// Every pair of values at least once.
        Pairwise = "pairwise",
        /// Combinations drawn at random, by the plan's seed.
        Random = "random",
        /// No search: a server that was given by its URL.
        None = "none",
    }
}

impl Strategy {
    /// Those that a plan may name.
    pub const OF_PLANS: [Self; 5] =
        [Self::BoundedProduct, Self::Ordered, Self::OneAtATime, Self::Pairwise, Self::Random];
}

words! {
    /// Why a rate search ended.
    pub enum SearchEndReason, "end of a rate search" {
        /// The bracket is as narrow as asked.
        Resolved = "resolved",
        /// The maximum number of bisection steps was made.
        MaxRounds = "max_rounds",
        /// The maximum number of runs was made.
        MaxProbes = "max_probes",
        /// The highest rate allowed passes.
        NoFailureInRange = "no_failure_in_range",
        /// The lowest rate allowed fails.
        NoPassInRange = "no_pass_in_range",
        /// Worse than the best candidate so far.
        Pruned = "pruned",
        /// A run failed to give an answer.
        Aborted = "aborted",
        /// No time was left for another run.
        Budget = "budget",
        /// Stopped from outside.
        Interrupted = "interrupted",
        /// It never ended.
        Unfinished = "unfinished",
    }
}

impl SearchEndReason {
    /// True when something from outside ended it: nothing about the candidate follows from that.
    #[must_use]
    pub const fn is_cut(self) -> bool {
        matches!(self, Self::Budget | Self::Interrupted | Self::Unfinished)
    }

    /// True when the search is done: another attempt would find the same.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Resolved
            | Self::MaxRounds
            | Self::MaxProbes
            | Self::NoFailureInRange
            | Self::NoPassInRange
            | Self::Pruned => true,
            Self::Aborted | Self::Budget | Self::Interrupted | Self::Unfinished => false,
        }
    }
}
