//! The image of a container: whether it is present, how to pull it, and what to do if that fails.

use serde::Deserialize;

use crate::base::pattern::ascii;

/// What to do if an image cannot be pulled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFailure {
    /// A regular expression for what the command prints.
    pub pattern: String,
    /// What is wrong, in a few words.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// The commands for the image of one server, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePull {
    /// Its name.
    pub image: String,
    /// Succeeds if it is present.
    pub has: Vec<String>,
    /// Pulls it.
    pub pull: Vec<String>,
    /// What to do if that fails.
    pub failures: Vec<ImageFailure>,
}

impl ImagePull {
    /// Why the image is missing, in one line: which, what the command printed last, what to do. `printed` is all that the
    /// command printed, or why it could not be executed.
    #[must_use]
    pub fn failure(&self, printed: &str) -> String {
        let known = self.failures.iter().find(|known| ascii(&known.pattern).is_ok_and(|regex| regex.is_match(printed)));
        let said = printed.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
        let (what, advice) = known
            .map_or(("cannot be pulled", "check the image's name and that its registry can be reached"), |known| {
                (known.what.as_str(), known.advice.as_str())
            });
        format!("image {}: {what} ({said}): {advice}", self.image)
    }
}
