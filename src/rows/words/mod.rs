//! The vocabulary of the rows: every word that a program acts on is a variant here, and its text is only here.
//!
//! A word that is not here is an error with its place when it is read. The one exception is [`FailureClass`], which
//! keeps the classes of other versions and tools as they are.

mod arrivals;
mod cache;
mod check;
mod dataset;
mod doctor;
mod endpoint;
mod failure;
mod finding;
mod limit;
mod metric;
mod phase;
mod progress;
mod reach;
mod search;
mod server_state;
mod speculation;
mod status;
mod tokens;
mod unfinished;

pub use self::arrivals::Arrivals;
pub use self::cache::CachePolicy;
pub use self::check::{AnswerOutcome, CheckPart, CheckScope, CheckVerdict, Extract};
pub use self::dataset::DatasetKind;
pub use self::doctor::HealthState;
pub use self::endpoint::Endpoint;
pub use self::failure::FailureClass;
pub use self::finding::{FindingCode, FindingLevel};
pub use self::limit::{Basis, Limit};
pub use self::metric::{Latency, Statistic};
pub use self::phase::Phase;
pub use self::progress::ProgressEvent;
pub use self::reach::{Connections, ReachedBy};
pub use self::search::{LengthReason, SearchEndReason, SearchedLoad, SlotPart, Stage, Strategy, SweepEvent};
pub use self::server_state::{ServerState, StartKind};
pub use self::speculation::AcceptanceVerdict;
pub use self::status::{LoadMode, RequestStatus, Status, Verdict};
pub use self::tokens::{PromptForm, TokenSource};
pub use self::unfinished::UnfinishedReason;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// An enum whose variants are the words of a row: `as_str`, `ALL`, `Display`, `FromStr`, serde and JSON Schema from one
/// list.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident, $what:literal {
            $($(#[$word_attribute:meta])* $variant:ident = $text:literal),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        $visibility enum $name {
            $($(#[$word_attribute])* #[cfg_attr(test, schemars(rename = $text))] $variant),+
        }

        impl $name {
            /// All words, in this order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its text in rows, plans and messages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::rows::words::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::rows::words::UnknownWord::new($what, text, Self::ALL.iter().map(|word| word.as_str()))),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                source.deserialize_str($crate::rows::words::WordVisitor($what, std::marker::PhantomData))
            }
        }
    };
}
pub(crate) use words;

/// An unknown word, and the known ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    what: &'static str,
    word: String,
    known: Vec<&'static str>,
}

impl UnknownWord {
    /// `what` is the kind of word, for messages.
    pub fn new(what: &'static str, word: &str, known: impl Iterator<Item = &'static str>) -> Self {
        Self { what, word: word.chars().take(100).collect(), known: known.collect() }
    }
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {} {:?}", self.what, self.word)?;
        let distance = |known: &&str| strsim::damerau_levenshtein(known, &self.word);
        match self.known.iter().copied().min_by_key(distance).filter(|near| distance(near) <= 2) {
            Some(near) => write!(f, "; did you mean {near}?"),
            None => write!(f, "; known: {}", self.known.join(", ")),
        }
    }
}

impl std::error::Error for UnknownWord {}

/// Reads a word without copying its text.
pub struct WordVisitor<W>(pub &'static str, pub PhantomData<W>);

impl<W: FromStr<Err = UnknownWord>> serde::de::Visitor<'_> for WordVisitor<W> {
    type Value = W;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.0)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<W, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<W>(all: &[W])
    where
        W: Copy
            + PartialEq
            + std::fmt::Debug
            + ToString
            + serde::Serialize
            + serde::de::DeserializeOwned
            + std::str::FromStr,
    {
        for word in all {
            let text = serde_json::to_string(word).unwrap();
            assert_eq!(text, format!("{:?}", word.to_string()));
            assert_eq!(serde_json::from_str::<W>(&text).unwrap(), *word);
            assert_eq!(word.to_string().parse::<W>().ok(), Some(*word));
        }
        let unknown = serde_json::from_str::<W>("\"nope\"").unwrap_err().to_string();
        assert!(unknown.contains("unknown") && unknown.contains("nope"), "{unknown}");
    }

    #[test]
    fn words_are_read_as_they_are_written_and_others_are_refused() {
        check(Endpoint::ALL);
        check(Phase::ALL);
        check(ReachedBy::ALL);
        check(Strategy::ALL);
        check(SearchEndReason::ALL);
        check(SearchedLoad::ALL);
        check(LengthReason::ALL);
        check(Status::ALL);
        check(RequestStatus::ALL);
        check(LoadMode::ALL);
        check(Verdict::ALL);
        check(Statistic::ALL);
        check(Latency::ALL);
        check(Basis::ALL);
        check(FindingLevel::ALL);
        check(FindingCode::ALL);
        check(DatasetKind::ALL);
        check(CachePolicy::ALL);
        check(Connections::ALL);
        check(ServerState::ALL);
        check(PromptForm::ALL);
        check(TokenSource::ALL);
        check(CheckVerdict::ALL);
        check(CheckPart::ALL);
        check(CheckScope::ALL);
        check(Extract::ALL);
        check(AnswerOutcome::ALL);
    }

    #[test]
    fn a_typing_mistake_gets_the_nearest_word() {
        assert_eq!(
            "warmpu".parse::<Phase>().unwrap_err().to_string(),
            "unknown phase \"warmpu\"; did you mean warmup?"
        );
    }
}
