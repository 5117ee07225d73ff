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
    /// The stage of a sweep that a row is of, where a plan has stages.
    pub enum Stage, "stage" {
        /// Every candidate, shortly: which of them are worth a search.
        Screen = "screen",
        /// The best candidates of each framework, fully.
        Search = "search",
        /// The finalists, several times.
        Repeat = "repeat",
    }
}

words! {
    /// The part of a slot check that a candidate row is of.
    pub enum SlotPart, "slot check" {
        /// The baseline, while nothing else runs.
        Alone = "alone",
        /// The same baseline in every slot at the same time.
        Beside = "beside",
    }
}

words! {
    /// What a sweep tells the command of `--on-event`.
    pub enum SweepEvent, "event" {
        /// A stage begins.
        Stage = "stage",
        /// A candidate failed.
        Failure = "failure",
        /// The sweep has ended, and its report is written.
        End = "end",
    }
}

words! {
    /// What a search looks for the highest value of.
    #[derive(Default)]
    pub enum SearchedLoad, "searched load" {
        /// Requests per second, open loop.
        #[default]
        Rate = "rate",
        /// Requests in flight, closed loop.
        Concurrency = "concurrency",
    }
}

impl SearchedLoad {
    /// The metric that its highest value is.
    #[must_use]
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Rate => "max_qps",
            Self::Concurrency => "max_users",
        }
    }

    /// The unit of its values, as in `4 requests per second`.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Rate => "requests per second",
            Self::Concurrency => "requests in flight",
        }
    }
}

words! {
    /// Why a run has as many requests as it has.
    pub enum LengthReason, "reason for the length of a run" {
        /// `num_prompts`.
        NumPrompts = "num_prompts",
        /// `duration_s`.
        Duration = "duration_s",
        /// The ramp, and enough answers after it.
        Answers = "answers",
        /// The rows of the data set that are left.
        DataSet = "data_set",
        /// What a percentile takes near the result of a search.
        Evidence = "evidence",
    }
}

words! {
    /// Why a search ended.
    pub enum SearchEndReason, "end of a rate search" {
        /// The bracket is as narrow as asked.
        Resolved = "resolved",
        /// The maximum number of bisection steps was reached.
        MaxRounds = "max_rounds",
        /// The maximum number of runs was reached.
        MaxProbes = "max_probes",
        /// The highest load allowed passes.
        NoFailureInRange = "no_failure_in_range",
        /// The lowest load allowed fails.
        NoPassInRange = "no_pass_in_range",
        /// Worse than the best candidate so far.
        Pruned = "pruned",
        /// The first of two stages: told from the best candidate of its framework, as well as short runs can.
        Screened = "screened",
        /// The first of two stages: it failed where another candidate of its framework meets the SLA.
        Outraced = "outraced",
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
            | Self::Pruned
            | Self::Screened
            | Self::Outraced => true,
            Self::Aborted | Self::Budget | Self::Interrupted | Self::Unfinished => false,
        }
    }
}
