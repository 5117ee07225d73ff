//! The endpoints that requests are sent to.

use super::words;

words! {
    /// The path that requests are sent to.
    #[derive(Default)]
    pub enum Endpoint, "endpoint" {
        /// Completions: text in, text out.
        #[default]
        Completions = "/v1/completions",
        /// Chat completions: messages in, a message out.
        Chat = "/v1/chat/completions",
        /// SGLang's own: each event repeats the whole text so far.
        Generate = "/generate",
    }
}
