//! The numeric columns of a ranking: one table from which Markdown, terminal, CSV and HTML are made.

use super::text::{number, percent};
use crate::rank::{Ranking, Trial};
use crate::rows::words::{Latency, Limit, Statistic};

/// A numeric column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The value it shows.
    pub figure: Figure,
    /// Its heading: `p99 TTFT`.
    pub heading: String,
    /// Its short heading, for terminals.
    pub short: String,
    /// Its unit; empty if the heading has it.
    pub unit: &'static str,
    /// On a narrow terminal the columns with the highest number are dropped first. Columns that the SLA names have 0.
    pub priority: u8,
}

/// The value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// A throughput or a count, by its key in `metrics`.
    Metric(&'static str),
    /// A share, by its key in `metrics`.
    Share(&'static str),
    /// A statistic of a latency, ms. Mean ITL replaces a missing mean TPOT, and is marked.
    Latency(Latency, Statistic),
    /// Output tokens per second as one user sees them: 1000 / mean TPOT.
    PerUser,
}

/// The default columns: figure, heading, short heading, unit, priority.
const COLUMNS: [(Figure, &str, &str, &str, u8); 8] = [
    (Figure::Metric("request_throughput"), "req/s", "req/s", "", 0),
    (Figure::Metric("output_token_throughput"), "Output tok/s", "out tok/s", "", 5),
    (Figure::Latency(Latency::Ttft, Statistic::Mean), "Mean TTFT", "TTFT ms", "ms", 1),
    (Figure::Latency(Latency::Ttft, Statistic::P99), "p99 TTFT", "p99 TTFT", "ms", 4),
    (Figure::Latency(Latency::Tpot, Statistic::Mean), "Mean TPOT", "TPOT ms", "ms", 2),
    (Figure::Latency(Latency::Tpot, Statistic::P99), "p99 TPOT", "p99 TPOT", "ms", 6),
    (Figure::PerUser, "tok/s/user", "tok/s/user", "", 7),
    (Figure::Share("success_rate"), "Success", "ok", "", 3),
];

/// The columns of the CSV file.
const CSV: [Figure; 15] = [
    Figure::Metric("request_throughput"),
    Figure::Metric("goodput"),
    Figure::Metric("output_token_throughput"),
    Figure::Metric("total_token_throughput"),
    Figure::Share("success_rate"),
    Figure::Share("slo_attainment"),
    Figure::Latency(Latency::Ttft, Statistic::Mean),
    Figure::Latency(Latency::Ttft, Statistic::P50),
    Figure::Latency(Latency::Ttft, Statistic::P99),
    Figure::Latency(Latency::Tpot, Statistic::Mean),
    Figure::Latency(Latency::Tpot, Statistic::P99),
    Figure::Latency(Latency::Itl, Statistic::Mean),
    Figure::Latency(Latency::E2e, Statistic::Mean),
    Figure::Latency(Latency::E2e, Statistic::P99),
    Figure::PerUser,
];

/// The limits of a ranking that name a statistic of a latency, in a fixed order.
fn named(ranking: &Ranking) -> impl Iterator<Item = Figure> {
    ranking.limited.iter().filter_map(|limit| match limit {
        Limit::Latency { statistic, latency } => Some(Figure::Latency(*latency, *statistic)),
        Limit::SuccessRate | Limit::Attainment | Limit::InFlight => None,
    })
}

/// The columns of a ranking: the default ones, and those that its SLA names.
#[must_use]
pub fn columns(ranking: &Ranking) -> Vec<Column> {
    let named: Vec<Figure> = named(ranking).collect();
    let usual = COLUMNS.iter().map(|(figure, heading, short, unit, priority)| Column {
        figure: *figure,
        heading: (*heading).into(),
        short: (*short).into(),
        unit,
        priority: if named.contains(figure) { 0 } else { *priority },
    });
    let is_usual = |figure: &Figure| COLUMNS.iter().any(|(usual, ..)| usual == figure);
    let mut all: Vec<Column> = usual.collect();
    // Before the success rate, which is last.
    let at = all.len() - 1;
    let more = named.iter().filter(|figure| !is_usual(figure)).map(|figure| figure.column());
    all.splice(at..at, more.collect::<Vec<_>>());
    all
}

/// The figures of a CSV line: the default ones, and those that the SLA names.
#[must_use]
pub fn csv_figures(ranking: &Ranking) -> Vec<Figure> {
    let more: Vec<Figure> = named(ranking).filter(|figure| !CSV.contains(figure)).collect();
    CSV.into_iter().chain(more).collect()
}

impl Column {
    /// Heading and unit, joined by `between`.
    #[must_use]
    pub fn title(&self, between: &str) -> String {
        if self.unit.is_empty() { self.heading.clone() } else { format!("{}{between}{}", self.heading, self.unit) }
    }
}

impl Figure {
    /// A column for a figure that is not among the default ones.
    fn column(self) -> Column {
        let heading = match self {
            Self::Latency(latency, statistic) => format!("{} {}", statistic.title(), latency.title()),
            Self::Metric(key) | Self::Share(key) => key.to_string(),
            Self::PerUser => "tok/s/user".into(),
        };
        let unit = if matches!(self, Self::Latency(..)) { "ms" } else { "" };
        Column { figure: self, short: heading.clone(), heading, unit, priority: 0 }
    }

    /// Its key: that of its metric, if it is a metric.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Metric(key) | Self::Share(key) => key,
            Self::Latency(latency, statistic) => latency.key(statistic),
            Self::PerUser => "output_tokens_per_s_per_user",
        }
    }

    /// Its value; `metrics` returns metrics by their keys.
    #[must_use]
    pub fn value(self, metric: impl Fn(&str) -> Option<f64>) -> Option<f64> {
        match self {
            Self::Metric(_) | Self::Share(_) | Self::Latency(..) => metric(self.key()),
            Self::PerUser => {
                let tpot = metric(Latency::Tpot.key(Statistic::Mean)).filter(|tpot| *tpot > 0.0)?;
                Some(1000.0 / tpot)
            }
        }
    }

    /// The mean ITL that replaces a missing mean TPOT.
    fn stand_in(self, trial: &Trial) -> Option<f64> {
        let is_tpot = self == Self::Latency(Latency::Tpot, Statistic::Mean);
        let missing = is_tpot && trial.metric(self.key()).is_none();
        missing.then(|| trial.metric(Latency::Itl.key(Statistic::Mean))).flatten()
    }

    /// Its number and its text, for a trial.
    #[must_use]
    pub fn shown(self, trial: &Trial) -> (Option<f64>, String) {
        if let Some(itl) = self.stand_in(trial) {
            return (Some(itl), format!("{} (ITL)", number(Some(itl))));
        }
        let value = self.value(|key| trial.metric(key));
        let text = if matches!(self, Self::Share(_)) { percent(value) } else { number(value) };
        (value, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{Intake, rank};
    use serde_json::json;

    fn ranking(sla: serde_json::Value) -> Ranking {
        let row = json!({"framework": "vllm", "candidate_id": "a", "status": "ok", "workload": {"scenario": "chat"}, "sla": sla,
            "metrics": {"request_throughput": 1.0, "mean_itl_ms": 9.0, "p999_ttft_ms": 77.0}});
        let mut intake = Intake::default();
        let entry = intake.line(&row.to_string()).unwrap().unwrap();
        rank(vec![entry], &intake)
    }

    #[test]
    fn what_the_sla_names_is_a_column_and_stays() {
        let ranking = ranking(json!({"max_p999_ttft_ms": 100, "max_p99_tpot_ms": 50, "min_success_rate": 0.9}));
        let columns = columns(&ranking);
        let [new, usual] = ["p99.9 TTFT", "p99 TPOT"].map(|name| columns.iter().find(|c| c.heading == name).unwrap());
        assert_eq!((new.title(" ").as_str(), new.priority, usual.priority), ("p99.9 TTFT ms", 0, 0));
        assert!(columns.iter().filter(|column| column.priority > 0).count() > 3);
        let trial = &ranking.groups[0].ranked[0].best;
        assert_eq!(new.figure.shown(trial), (Some(77.0), "77.00".into()));
        assert!(csv_figures(&ranking).contains(&new.figure));
    }

    #[test]
    fn itl_stands_in_for_tpot_and_says_so() {
        let ranking = ranking(json!({}));
        let trial = &ranking.groups[0].ranked[0].best;
        let tpot = Figure::Latency(Latency::Tpot, Statistic::Mean);
        assert_eq!(tpot.shown(trial), (Some(9.0), "9.00 (ITL)".into()));
        assert_eq!(Figure::PerUser.shown(trial).1, "-");
    }
}
