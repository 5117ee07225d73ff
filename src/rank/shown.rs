//! The members of a result row that one line of CSV shows, read in one pass without a tree of values. As in the ranking, a
//! member of an unexpected type counts as missing.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{Text, number, object, word, yes_or_no};
use super::numbers::Numbers;
use crate::base::shell;
use crate::rows::kinds::Members;

/// What a line shows of a row, apart from what decides its rank.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShownRow<'a> {
    #[serde(borrow, deserialize_with = "word")]
    status: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "word")]
    failure_class: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "word")]
    failure_reason: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "word")]
    launch_command: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "word")]
    server_command: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "word")]
    benchmark_command: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    metrics: Option<Numbers<'a>>,
    #[serde(deserialize_with = "object")]
    quality: Option<ShownQuality>,
    #[serde(borrow, deserialize_with = "object")]
    candidate: Option<ShownCandidate<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownQuality {
    #[serde(deserialize_with = "yes_or_no")]
    simulated: Option<bool>,
    #[serde(deserialize_with = "yes_or_no")]
    smoke: Option<bool>,
    #[serde(deserialize_with = "object")]
    drafts: Option<ShownDrafts>,
    #[serde(deserialize_with = "object")]
    answers: Option<ShownAnswers>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownAnswers {
    #[serde(deserialize_with = "number")]
    agreement: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownDrafts {
    #[serde(deserialize_with = "number")]
    forced_acceptance_length: Option<f64>,
    #[serde(deserialize_with = "number")]
    acceptance_length: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownCandidate<'a> {
    #[serde(borrow)]
    changed: Option<&'a RawValue>,
}

fn or_empty<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_deref().unwrap_or_default()
}

impl<'a> ShownRow<'a> {
    /// Reads the line of a row that was ranked.
    #[must_use]
    pub fn read(line: &'a str) -> Self {
        serde_json::from_str(line).unwrap_or_default()
    }

    /// A metric that was measured, by its key.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.as_ref()?.get(name)
    }

    /// `ok`, `failed`, …; empty if the row does not have it.
    #[must_use]
    pub fn status(&self) -> &str {
        or_empty(&self.status)
    }

    /// Class and reason of a failure; each empty if the row does not have it.
    #[must_use]
    pub fn failure(&self) -> [&str; 2] {
        [or_empty(&self.failure_class), or_empty(&self.failure_reason)]
    }

    /// `quality.simulated` and `quality.smoke`, if the row has them.
    #[must_use]
    pub fn simulated_and_smoke(&self) -> [Option<bool>; 2] {
        self.quality.as_ref().map_or([None, None], |quality| [quality.simulated, quality.smoke])
    }

    /// Output tokens per step, forced and counted, of a candidate that drafts tokens.
    #[must_use]
    pub fn acceptance(&self) -> [Option<f64>; 2] {
        let drafts = self.quality.as_ref().and_then(|quality| quality.drafts.as_ref());
        drafts.map_or([None, None], |drafts| [drafts.forced_acceptance_length, drafts.acceptance_length])
    }

    /// Share of its greedy answers that equals its baseline's.
    #[must_use]
    pub fn agreement(&self) -> Option<f64> {
        self.quality.as_ref()?.answers.as_ref()?.agreement
    }

    /// The launcher's command, the server's own and the client's; each empty if the row does not have it.
    #[must_use]
    pub fn commands(&self) -> [&str; 3] {
        let [launch, server, client] =
            [&self.launch_command, &self.server_command, &self.benchmark_command].map(or_empty);
        // Rows of other tools use this key for the server's command.
        if server.is_empty() { ["", launch, client] } else { [launch, server, client] }
    }

    /// The flags that its candidate changes; `baseline` for none, empty if the row does not list them.
    #[must_use]
    pub fn changes(&self) -> String {
        let changed = self.candidate.as_ref().and_then(|candidate| candidate.changed);
        match changed.and_then(|changed| serde_json::from_str::<Members>(changed.get()).ok()) {
            None => String::new(),
            Some(changed) if changed.is_empty() => "baseline".into(),
            Some(changed) => shell::settings(&changed),
        }
    }
}
