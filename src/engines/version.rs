//! Versions of frameworks, and their order.

use std::cmp::Ordering;

use serde::Deserialize;

/// A version: `0.32.0`, `0.5.10.post1`, `1.3.0rc14`, `b11434`. Compared by its numbers; a pre-release sorts before its release.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct FrameworkVersion {
    text: String,
    numbers: Vec<u64>,
    /// True for a pre-release: `rc`, `dev` and so on.
    early: bool,
}

impl FrameworkVersion {
    /// Reads a version; `None` for text without a number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.trim().trim_start_matches(['v', 'b']);
        let mut numbers = Vec::new();
        let mut early = false;
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
                early = !rest.starts_with("post");
                break;
            }
        }
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        (!numbers.is_empty()).then(|| Self { text: text.trim().to_string(), numbers, early })
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
        self.numbers.cmp(&other.numbers).then_with(|| other.early.cmp(&self.early))
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
}
