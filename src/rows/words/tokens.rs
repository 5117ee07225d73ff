//! How prompts are sent, and where token counts come from.

use super::words;

words! {
    /// How prompts are sent.
    pub enum PromptForm, "prompt form" {
        /// A list of token ids.
        TokenIds = "token_ids",
        /// Text, or messages.
        Text = "text",
        /// No request was sent: the run ended before it was known what the server accepts.
        Unknown = "unknown",
    }
}

words! {
    /// Source of a token count.
    pub enum TokenSource, "token source" {
        /// The server's `usage`.
        Usage = "usage",
        /// Token ids in the stream.
        TokenIds = "token_ids",
        /// Chunks were counted: a lower bound, not used for TPOT or tokens per second.
        Chunks = "chunks",
    }
}
