//! A container of a manifest as the `docker run` that starts the same.

use serde_json::Value;

use crate::base::shell;

/// A container of a manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ManifestContainer {
    /// The `docker run` that starts the same.
    pub line: String,
    /// What of it a plan cannot have, as sentences.
    pub notes: Vec<String>,
}

/// One container on the way to its line.
#[derive(Default)]
pub(super) struct RunLine {
    pub words: Vec<String>,
    pub notes: Vec<String>,
}

impl RunLine {
    /// Adds an option with its value.
    pub fn option(&mut self, option: &str, value: impl Into<String>) {
        self.words.extend([option.to_string(), value.into()]);
    }

    /// `entry` in place of the image's entry point, and `arguments` for it.
    pub fn finish(mut self, image: &str, entry: Vec<String>, arguments: Vec<String>) -> ManifestContainer {
        let mut entry = entry.into_iter();
        if let Some(first) = entry.next() {
            self.option("--entrypoint", first);
        }
        let words = ["docker".to_string(), "run".to_string()].into_iter().chain(self.words);
        let words: Vec<String> = words.chain([image.to_string()]).chain(entry).chain(arguments).collect();
        ManifestContainer { line: shell::join(&words), notes: self.notes }
    }
}

/// The items of a list, or the only one.
pub(super) fn each(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}
