//! Criteria of a ranking.

use crate::rows::words::Statistic;

/// A throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throughput {
    /// Successful requests per second.
    Requests,
    /// Requests per second that meet every SLA limit.
    Goodput,
    /// Output tokens per second.
    OutputTokens,
    /// Highest request rate that a search found to meet the SLA.
    MaxQps,
    /// Highest number of requests in flight that a search found to meet the SLA.
    MaxUsers,
}

/// The throughput to rank by, of all GPUs or per GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankBy {
    /// Which throughput.
    pub throughput: Throughput,
    /// Divided by the number of GPUs.
    pub per_gpu: bool,
}

impl RankBy {
    /// Successful requests per second, the source document's ranking metric.
    pub const REQUESTS: Self = Self { throughput: Throughput::Requests, per_gpu: false };

    /// The name of the metric without the division by GPUs.
    #[must_use]
    pub fn metric(self) -> &'static str {
        match self.throughput {
            Throughput::Requests => "request_throughput",
            Throughput::Goodput => "goodput",
            Throughput::OutputTokens => "output_token_throughput",
            Throughput::MaxQps => "max_qps",
            Throughput::MaxUsers => "max_users",
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
            (Throughput::MaxUsers, false) => "max users",
            (Throughput::MaxUsers, true) => "max users per GPU",
        }
    }
}

/// How to rank.
#[derive(Debug, Clone, PartialEq)]
pub struct RankOptions {
    /// The first criterion among candidates that meet the SLA.
    pub by: RankBy,
    /// Statistic by which TTFT and TPOT are compared.
    pub statistic: Statistic,
    /// Overrides of the rows' SLA limits, for one scenario or for all.
    pub sla: Vec<(Option<String>, String, f64)>,
    /// Among candidates tied with the leader, prefer fewer GPUs and then fewer changed flags.
    pub prefer_simple: bool,
    /// Rank confirmed verdicts before unconfirmed ones.
    pub confirmed_first: bool,
    /// Rank rows together even if settings differ that should be equal, and report the differences.
    pub allow_mixed: bool,
    /// Only candidates whose answers were checked and found to be right may win.
    pub require_check: bool,
    /// Weight of each scenario in the decision over all.
    pub weights: Vec<(String, f64)>,
    /// Requested frameworks of which nothing was started.
    pub never_started: Vec<String>,
    /// Standard deviation of the speed of nodes, on a logarithmic scale; 0 if it is not known.
    pub node_sd: f64,
}

impl RankOptions {
    /// The overridden limits of a scenario, by key; those for this scenario take precedence over those for all.
    pub fn overrides<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
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
            require_check: false,
            weights: Vec::new(),
            never_started: Vec::new(),
            node_sd: 0.0,
        }
    }
}
