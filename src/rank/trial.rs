//! A candidate at one load point, over its repeats.

use std::cmp::Ordering;

use super::by::Options;
use super::entry::{Entry, Keys};
use crate::schema::SlaTest;
use crate::sla;

/// Repeats of one run, folded: what was measured is their mean, what is gated is all their requests together.
#[derive(Debug, Clone)]
pub struct Trial {
    /// At least one, in the order of repeats.
    pub entries: Vec<Entry>,
    /// The SLA's answer over all of them.
    pub passed: Option<bool>,
    /// Too few requests behind a percentile.
    pub unconfirmed: bool,
    /// What decides its place.
    pub keys: Keys,
}

impl Trial {
    /// Folds repeats.
    ///
    /// # Panics
    /// Of nothing.
    #[must_use]
    pub fn of(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| a.repeat().cmp(&b.repeat()).then_with(|| a.line().cmp(b.line())));
        let first = entries.first().expect("a trial has an entry");
        let (mut passed, mut unconfirmed, mut keys) = (first.passed, first.unconfirmed, first.keys);
        if entries.len() > 1 {
            (passed, unconfirmed) = pooled(&entries);
            let mean = |get: fn(&Keys) -> Option<f64>| average(entries.iter().map(|entry| get(&entry.keys)));
            keys = Keys {
                by: mean(|keys| keys.by),
                output: mean(|keys| keys.output),
                ttft: mean(|keys| keys.ttft),
                tpot: mean(|keys| keys.tpot),
                ..keys
            };
        }
        Self { entries, passed, unconfirmed, keys }
    }

    /// Its first repeat, which stands for what all have in common.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entries[0]
    }

    /// A metric, the mean over its repeats.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        average(self.entries.iter().map(|entry| entry.metric(name)))
    }

    /// What is ranked by, repeat by repeat.
    #[must_use]
    pub fn values(&self) -> Vec<(u32, f64)> {
        self.entries.iter().filter_map(|entry| Some((entry.repeat(), entry.keys.by?))).collect()
    }

    /// The load point; of a search that it is its result.
    #[must_use]
    pub fn load(&self) -> String {
        let rates: Vec<f64> = self.entries.iter().filter_map(|entry| entry.rate).collect();
        let (least, most) =
            rates.iter().fold((f64::INFINITY, 0.0), |(a, b), rate| (f64::min(a, *rate), f64::max(b, *rate)));
        match self.is_search() && rates.len() > 1 && least < most {
            true => format!("{least} to {most} req/s"),
            false => self.entry().load(),
        }
    }

    /// It is what a search found.
    #[must_use]
    pub fn is_search(&self) -> bool {
        self.entry().own.as_ref().is_some_and(|own| own.chosen == Some(true))
    }

    /// The better one first: SLA, throughput, output tokens, TTFT, TPOT, GPUs; then names, so that the order is total. What was
    /// not measured is worst.
    #[must_use]
    pub fn compare(&self, other: &Self, options: &Options) -> Ordering {
        let high =
            |a: Option<f64>, b: Option<f64>| b.unwrap_or(f64::NEG_INFINITY).total_cmp(&a.unwrap_or(f64::NEG_INFINITY));
        let low = |a: Option<f64>, b: Option<f64>| a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY));
        let (a, b) = (&self.keys, &other.keys);
        let sure = |trial: &Self| options.confirmed_first && trial.unconfirmed;
        (other.passed == Some(true))
            .cmp(&(self.passed == Some(true)))
            .then_with(|| sure(self).cmp(&sure(other)))
            .then_with(|| high(a.by, b.by))
            .then_with(|| high(a.output, b.output))
            .then_with(|| low(a.ttft, b.ttft))
            .then_with(|| low(a.tpot, b.tpot))
            .then_with(|| low(a.gpus, b.gpus))
            .then_with(|| self.names().cmp(&other.names()))
    }

    fn names(&self) -> (&str, &str, &str) {
        let entry = self.entry();
        (&entry.framework, &entry.candidate_id, entry.line())
    }
}

impl Entry {
    /// From 0.
    #[must_use]
    pub fn repeat(&self) -> u32 {
        self.own.as_ref().map_or(0, |own| own.repeat)
    }
}

/// The mean of what is there.
#[allow(clippy::cast_precision_loss, reason = "counts of repeats")]
fn average(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The gate over all requests of all repeats: percentiles by how many of them are above the limit, other limits by the mean.
/// Where a row does not say what was tested, all of them have to pass.
fn pooled(entries: &[Entry]) -> (Option<bool>, bool) {
    let answers: Option<Vec<bool>> = entries.iter().map(|entry| entry.passed).collect();
    let Some(answers) = answers else { return (None, false) };
    if answers.iter().all(|passed| *passed) && entries.iter().all(|entry| !entry.unconfirmed) {
        return (Some(true), false);
    }
    let tests: Vec<Vec<SlaTest>> =
        entries.iter().map(|entry| entry.at("/sla").as_object().map(sla::tested).unwrap_or_default()).collect();
    if tests.iter().any(Vec::is_empty) {
        return (Some(answers.iter().all(|passed| *passed)), entries.iter().any(|entry| entry.unconfirmed));
    }
    let mut unconfirmed = false;
    let pass = tests[0].iter().all(|test| {
        let same: Vec<&SlaTest> = tests.iter().filter_map(|all| all.iter().find(|t| t.limit == test.limit)).collect();
        match sla::pooled(&same) {
            Some(confirmed) => {
                unconfirmed |= !confirmed;
                true
            }
            None => false,
        }
    });
    // What only some of them were tested for (a server that falls behind) fails them all.
    let lost = tests.iter().flatten().any(|test| !test.passed && tests[0].iter().all(|t| t.limit != test.limit));
    (Some(pass && !lost), pass && unconfirmed)
}
