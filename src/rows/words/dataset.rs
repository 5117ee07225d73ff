//! Kinds of datasets.

use super::words;

words! {
    /// Where the prompts of a scenario come from, in the words of a plan.
    #[derive(Default)]
    pub enum DatasetKind, "dataset kind" {
        /// Generated, with nothing in common.
        #[default]
        Random = "random",
        /// Generated, in groups with a shared prefix.
        SharedPrefix = "shared_prefix",
        /// Generated conversations.
        MultiTurn = "multi_turn",
        /// A JSONL file.
        Jsonl = "jsonl",
        /// A JSONL file of vLLM's custom format.
        Custom = "custom",
        /// A file of the canonical format.
        Canonical = "canonical",
        /// A ShareGPT file.
        ShareGpt = "sharegpt",
        /// A file of message lists.
        Messages = "messages",
        /// A Mooncake trace.
        Mooncake = "mooncake",
        /// A trace.
        Trace = "trace",
        /// A file of any known format, named by `bench-load --dataset`.
        File = "file",
    }
}

impl DatasetKind {
    /// The kinds that a plan may name.
    pub fn of_plans() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|kind| *kind != Self::File)
    }

    /// True if prompts are generated; all other kinds are read from a file.
    #[must_use]
    pub const fn is_generated(self) -> bool {
        matches!(self, Self::Random | Self::SharedPrefix | Self::MultiTurn)
    }
}
