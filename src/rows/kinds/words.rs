//! Words of rows that decide what is done: one that nobody knows is refused, with the words that there are.

use serde::{Deserialize, Deserializer, de};

/// The endpoints that can be asked.
pub const ENDPOINTS: [&str; 3] = ["/v1/completions", "/v1/chat/completions", "/generate"];
/// Phases of a run that requests belong to.
pub const PHASES: [&str; 3] = ["warmup", "measured", "tail"];
/// How a client reaches a server; `url` of one that was given by its address.
pub const WAYS: [&str; 4] = ["same_host", "tunnel", "network", "url"];
/// Why a search ended.
pub const ENDS: [&str; 9] = [
    "resolved",
    "max_rounds",
    "max_probes",
    "no_pass_in_range",
    "no_failure_in_range",
    "aborted",
    "pruned",
    "budget",
    "interrupted",
];

fn one_of<'de, D: Deserializer<'de>>(source: D, known: &[&str]) -> Result<String, D::Error> {
    let word = String::deserialize(source)?;
    match known.contains(&word.as_str()) {
        true => Ok(word),
        false => Err(de::Error::custom(format!("{word:?} is not one of {}", known.join(", ")))),
    }
}

/// Reads one of [`ENDPOINTS`].
pub fn endpoint<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    one_of(source, &ENDPOINTS)
}

/// Reads one of [`PHASES`].
pub fn phase<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    one_of(source, &PHASES)
}

/// Reads one of [`WAYS`].
pub fn way<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    one_of(source, &WAYS)
}

/// Reads one of [`ENDS`].
pub fn end<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    one_of(source, &ENDS)
}
