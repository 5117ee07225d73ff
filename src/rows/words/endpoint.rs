//! What a server is asked at.

use super::words;

words! {
    /// The path that requests go to.
    #[derive(Default)]
    pub enum Endpoint, "endpoint" {
        /// Text in, text out.
        #[default]
        Completions = "/v1/completions",
        /// Messages in, a message out.
        Chat = "/v1/chat/completions",
        /// SGLang's own: each event has the whole text so far.
        Generate = "/generate",
    }
}
