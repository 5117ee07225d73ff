//! What a ranking goes by.

use crate::rows::words::Statistic;

/// A throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throughput {
    /// Successful requests per second.
    Requests,
    /// Requests per second within every SLA limit.
    Goodput,
    /// Output tokens per second.
    OutputTokens,
    /// The highest rate that a search found to keep the SLA.
    MaxQps,
}

/// What a ranking goes by: a throughput, of all GPUs or of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankBy {
    /// Which.
    pub throughput: Throughput,
    /// Over the number of GPUs.
    pub per_gpu: bool,
}

impl RankBy {
    /// Successful requests per second: what the source document ranks by.
    pub const REQUESTS: Self = Self { throughput: Throughput::Requests, per_gpu: false };

    /// The metric's name, of all GPUs.
    #[must_use]
    pub fn metric(self) -> &'static str {
        match self.throughput {
            Throughput::Requests => "request_throughput",
            Throughput::Goodput => "goodput",
            Throughput::OutputTokens => "output_token_throughput",
            Throughput::MaxQps => "max_qps",
        }
    }

    /// Its unit.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match (self.throughput, self.per_gpu) {
            (Throughput::Requests, false) => "req/s",
            (Throughput::Requests, true) => "req/s per GPU",
            (Throughput::Goodput, false) => "good req/s",
            (Throughput::Goodput, true) => "good req/s per GPU",
            (Throughput::OutputTokens, false) => "output tok/s",
            (Throughput::OutputTokens, true) => "output tok/s per GPU",
            (Throughput::MaxQps, false) => "max req/s",
            (Throughput::MaxQps, true) => "max req/s per GPU",
        }
    }
}

/// How to rank.
#[derive(Debug, Clone, PartialEq)]
pub struct RankOptions {
    /// What decides first among those that keep the SLA.
    pub by: RankBy,
    /// What TTFT and TPOT are compared by.
    pub statistic: Statistic,
    /// Limits in the place of the rows' own, of one scenario or of all.
    pub sla: Vec<(Option<String>, String, f64)>,
    /// Among those that are tied with the leader, fewer GPUs and then fewer changed flags come first.
    pub prefer_simple: bool,
    /// A verdict with enough requests behind it comes before one without.
    pub confirmed_first: bool,
    /// Rows that differ in what should be equal stand in one ranking, and the differences are told.
    pub allow_mixed: bool,
    /// What each scenario counts in the decision over all.
    pub weights: Vec<(String, f64)>,
}

impl RankOptions {
    /// The limits that were given for a scenario, by key; what is given for it alone stands behind what is given for all.
    pub fn given<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let of = move |alone: bool| {
            let fits = move |of: &Option<String>| of.is_some() == alone && of.as_ref().is_none_or(|of| of == scenario);
            self.sla.iter().filter(move |(of, ..)| fits(of)).map(|(_, key, value)| (key.as_str(), *value))
        };
        of(false).chain(of(true))
    }
}

impl Default for RankOptions {
    fn default() -> Self {
        Self {
            by: RankBy::REQUESTS,
            statistic: Statistic::Mean,
            sla: Vec::new(),
            prefer_simple: false,
            confirmed_first: false,
            allow_mixed: false,
            weights: Vec::new(),
        }
    }
}
