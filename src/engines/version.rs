//! Versions of frameworks, and their order.

use std::cmp::Ordering;

use serde::Deserialize;

/// A version: `0.32.0`, `0.5.10.post1`, `1.3.0rc14`, `b11434`. Compared by its numbers, then by its stage:
/// `1.3.0.dev2` < `1.3.0rc2` < `1.3.0rc14` < `1.3.0` < `1.3.0.post1`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct FrameworkVersion {
    text: String,
    numbers: Vec<u64>,
    stage: ReleaseStage,
}

/// How a version relates to its release, each with its own number; in the order of PEP 440.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ReleaseStage {
    Development(u64),
    Alpha(u64),
    Beta(u64),
    Candidate(u64),
    Release,
    Post(u64),
}

impl ReleaseStage {
    /// The stage of a suffix such as `rc14`; a word that names no stage (`cu129`) describes the build of a release.
    fn of(suffix: &str) -> Self {
        let letters = suffix.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, rest) = suffix.split_at(letters);
        let number = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..number].parse().unwrap_or(0);
        match word.to_ascii_lowercase().as_str() {
            "dev" | "nightly" => Self::Development(number),
            "a" | "alpha" => Self::Alpha(number),
            "b" | "beta" => Self::Beta(number),
            "rc" | "c" | "pre" | "preview" => Self::Candidate(number),
            "post" => Self::Post(number),
            _ => Self::Release,
        }
    }
}

impl FrameworkVersion {
    /// Reads a version; `None` for text without a number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.trim().trim_start_matches(['v', 'b']);
        let mut numbers = Vec::new();
        let mut stage = ReleaseStage::Release;
        // The part after + describes the build.
        for part in bare.split('+').next()?.split(['.', '-']) {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            match number.parse() {
                Ok(number) => numbers.push(number),
                Err(_) if numbers.is_empty() => return None,
                Err(_) => {}
            }
            if !rest.is_empty() {
                stage = ReleaseStage::of(rest);
                break;
            }
        }
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        (!numbers.is_empty()).then(|| Self { text: text.trim().to_string(), numbers, stage })
    }

    /// Its original text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for FrameworkVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a version"))
    }
}

impl PartialEq for FrameworkVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for FrameworkVersion {}

impl PartialOrd for FrameworkVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FrameworkVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then(self.stage.cmp(&other.stage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let sorted = ["0.5.9", "0.5.10rc1", "0.5.10", "0.5.10.post1", "0.19.1", "0.32", "1.3.0rc2", "1.3"];
        let sorted: Vec<FrameworkVersion> =
            sorted.into_iter().map(|text| FrameworkVersion::parse(text).unwrap()).collect();
        assert!(sorted.is_sorted(), "{sorted:?}");
        let cmp = |a: &str, b: &str| FrameworkVersion::parse(a).unwrap().cmp(&FrameworkVersion::parse(b).unwrap());
        assert_eq!(cmp("0.32.0", "0.32"), Ordering::Equal);
        assert_eq!(cmp("v0.32.0+cpu", "0.32.0"), Ordering::Equal);
        assert_eq!(cmp("b11434", "11434"), Ordering::Equal);
        assert_eq!(FrameworkVersion::parse("latest"), None);
    }

    #[test]
    fn stages_before_and_after_a_release_are_ordered() {
        let sorted = [
            "1.2.1",
            "1.3.0.dev7",
            "1.3.0a1",
            "1.3.0b1",
            "1.3.0rc2",
            "1.3.0rc18",
            "1.3.0rc19",
            "1.3.0",
            "1.3.0.post1",
            "1.3.0.post2",
            "1.3.1rc1",
            "1.4.0rc1",
        ];
        let sorted: Vec<FrameworkVersion> =
            sorted.into_iter().map(|text| FrameworkVersion::parse(text).unwrap()).collect();
        assert!(sorted.windows(2).all(|pair| pair[0] < pair[1]), "{sorted:?}");
        let same = |a: &str, b: &str| FrameworkVersion::parse(a) == FrameworkVersion::parse(b);
        // A tag of an image: the word says how it was built.
        assert!(same("v0.5.19-cu129", "0.5.19") && same("1.3.0rc18+cuda13", "v1.3.0rc18"));
    }
}
