//! Kinds of data sets.

use super::words;

words! {
    /// What the prompts of a scenario are made of, as plans name it.
    #[derive(Default)]
    pub enum DatasetKind, "data set kind" {
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
    }
}

impl DatasetKind {
    /// True for prompts that are generated; all other kinds are read from a file.
    #[must_use]
    pub const fn is_generated(self) -> bool {
        matches!(self, Self::Random | Self::SharedPrefix | Self::MultiTurn)
    }
}
