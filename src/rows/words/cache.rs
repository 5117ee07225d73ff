//! How runs avoid hits in the prefix cache.

use super::words;

words! {
    /// How prompts avoid hits in the prefix cache between runs. Every candidate has a fresh server.
    #[derive(Default)]
    pub enum CachePolicy, "cache policy" {
        /// No prompt is sent twice to one server.
        #[default]
        UniquePrompts = "unique_prompts",
        /// The framework's reset endpoint is also called before each run; if that fails, the run is skipped.
        Reset = "reset",
    }
}

impl CachePolicy {
    /// True for the default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
