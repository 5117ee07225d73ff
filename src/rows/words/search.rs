//! How candidates are generated, and how a rate search ends.

use super::words;

words! {
    /// How candidates are generated from a search space.
    #[derive(Default)]
    pub enum Strategy, "strategy" {
        /// All combinations in order, up to the maximum number.
        #[default]
        BoundedProduct = "baseline_first_bounded_product",
        /// The plan's own list, in its order.
        Ordered = "ordered",
        /// Each value of each knob by itself.
        OneAtATime = "one_at_a_time",
        /// Every pair of values at least once.
        Pairwise = "pairwise",
        /// Random combinations, drawn with the plan's seed.
        Random = "random",
        /// No search: the server was given by its URL.
        None = "none",
    }
}

impl Strategy {
    /// The strategies that a plan may name.
    pub const OF_PLANS: [Self; 5] =
        [Self::BoundedProduct, Self::Ordered, Self::OneAtATime, Self::Pairwise, Self::Random];
}

words! {
    /// Why a rate search ended.
    pub enum SearchEndReason, "end of a rate search" {
        /// The bracket is as narrow as requested.
        Resolved = "resolved",
        /// The maximum number of bisection steps was reached.
        MaxRounds = "max_rounds",
        /// The maximum number of runs was reached.
        MaxProbes = "max_probes",
        /// The highest allowed rate passed.
        NoFailureInRange = "no_failure_in_range",
        /// The lowest allowed rate failed.
        NoPassInRange = "no_pass_in_range",
        /// Worse than the best candidate so far.
        Pruned = "pruned",
        /// Too many runs in a row were inconclusive.
        Aborted = "aborted",
        /// The time budget left no time for another run.
        Budget = "budget",
        /// Interrupted.
        Interrupted = "interrupted",
        /// It never ended.
        Unfinished = "unfinished",
    }
}

impl SearchEndReason {
    /// True if it was interrupted from outside, so that nothing about the candidate follows from it.
    #[must_use]
    pub const fn is_cut(self) -> bool {
        matches!(self, Self::Budget | Self::Interrupted | Self::Unfinished)
    }

    /// True if the search is complete: another attempt would give the same result.
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
