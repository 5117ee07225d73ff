//! Whether nodes are equally fast, by their calibrations.

use std::collections::BTreeMap;

use super::sample::{mean, spread};
use crate::rows::kinds::{NodeFigure, NodeRow};

/// Nodes that differ from the others by more than this share are ranked apart: the brackets of a search are as narrow.
pub const NODE_BAND: f64 = 0.05;

/// How fast each node is, relative to the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeSpeeds {
    ratios: BTreeMap<String, f64>,
}

impl NodeSpeeds {
    /// The speeds by node rows, of which the latest figure of a node and framework counts. A node's figure is compared with the upper
    /// median of all nodes that measured the same baseline at the same load; over several frameworks its ratio is their geometric mean.
    #[must_use]
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a NodeRow>) -> Self {
        let mut latest: BTreeMap<(&str, &str), &NodeFigure> = BTreeMap::new();
        for row in rows {
            for (framework, figure) in row.figures.iter().filter(|(_, figure)| figure.request_throughput.is_some()) {
                let known = latest.entry((framework, &row.node)).or_insert(figure);
                if figure.started_at > known.started_at {
                    *known = figure;
                }
            }
        }
        let mut alike: BTreeMap<_, Vec<(&str, f64)>> = BTreeMap::new();
        for ((framework, node), figure) in latest {
            let of = (framework, &figure.candidate_id, &figure.scenario, figure.concurrency);
            if let Some(value) = figure.request_throughput.filter(|value| *value > 0.0) {
                alike.entry(of).or_default().push((node, value));
            }
        }
        let mut logs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for nodes in alike.into_values().filter(|nodes| nodes.len() > 1) {
            let mut values: Vec<f64> = nodes.iter().map(|(_, value)| *value).collect();
            values.sort_by(f64::total_cmp);
            let usual = values[values.len() / 2];
            nodes.iter().for_each(|(node, value)| logs.entry(*node).or_default().push((value / usual).ln()));
        }
        let typical = |logs: Vec<f64>| mean(&logs).map_or(1.0, f64::exp);
        Self { ratios: logs.into_iter().map(|(node, logs)| (node.to_string(), typical(logs))).collect() }
    }

    /// The nodes that are compared, each with its speed relative to the usual one.
    #[must_use]
    pub fn ratios(&self) -> &BTreeMap<String, f64> {
        &self.ratios
    }

    /// The nodes outside the band, each with its ratio.
    pub fn apart(&self) -> impl Iterator<Item = (&str, f64)> {
        self.ratios.iter().filter(|(_, ratio)| is_outside(**ratio)).map(|(node, ratio)| (node.as_str(), *ratio))
    }

    /// The ratio of a node outside the band; `None` for any other.
    #[must_use]
    pub fn apart_by(&self, node: &str) -> Option<f64> {
        self.ratios.get(node).copied().filter(|ratio| is_outside(*ratio))
    }

    /// Standard deviation of the logarithms of the ratios within the band; 0 with fewer than two nodes.
    #[must_use]
    pub fn sd(&self) -> f64 {
        let within = self.ratios.values().filter(|ratio| !is_outside(**ratio));
        let mut logs: Vec<f64> = within.map(|ratio| ratio.ln()).collect();
        logs.sort_by(f64::total_cmp);
        spread(&logs).and_then(|spread| spread.sd).unwrap_or(0.0)
    }
}

fn is_outside(ratio: f64) -> bool {
    (ratio - 1.0).abs() > NODE_BAND
}

/// How a node differs, in words: `8.0 % slower`.
#[must_use]
pub fn in_words(ratio: f64) -> String {
    let share = (ratio - 1.0).abs() * 100.0;
    format!("{share:.1} % {}", if ratio < 1.0 { "slower" } else { "faster" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: &str, of: &[(&str, f64)], at: &str) -> NodeRow {
        let figure =
            |value| NodeFigure { request_throughput: Some(value), started_at: at.into(), ..NodeFigure::default() };
        let figures = of.iter().map(|(framework, value)| ((*framework).to_string(), figure(*value))).collect();
        NodeRow { node: node.into(), figures, ..NodeRow::default() }
    }

    #[test]
    fn a_slow_node_is_found_and_the_others_are_not() {
        let rows = [
            row("a", &[("x", 100.0), ("y", 50.0)], "1"),
            row("b", &[("x", 101.0), ("y", 50.5)], "1"),
            row("c", &[("x", 92.0), ("y", 46.5)], "1"),
            row("d", &[("x", 100.5), ("y", 49.5)], "1"),
        ];
        let speeds = NodeSpeeds::of(&rows);
        let apart: Vec<(&str, String)> = speeds.apart().map(|(node, ratio)| (node, in_words(ratio))).collect();
        assert_eq!(apart, [("c", "7.7 % slower".to_string())]);
        assert!(speeds.sd() > 0.0 && speeds.sd() < 0.02, "{}", speeds.sd());
        // It was repaired and measured again.
        let again = row("c", &[("x", 100.0), ("y", 50.0)], "2");
        assert_eq!(NodeSpeeds::of(rows.iter().chain([&again])).apart().count(), 0);
        assert_eq!(NodeSpeeds::of([&again].into_iter().chain(&rows)).apart().count(), 0);
    }

    #[test]
    fn of_two_nodes_the_slower_one_differs_and_one_alone_does_not() {
        let rows = [row("a", &[("x", 100.0)], "1"), row("b", &[("x", 90.0)], "1")];
        let speeds = NodeSpeeds::of(&rows);
        assert_eq!(speeds.apart().map(|(node, _)| node).collect::<Vec<_>>(), ["b"]);
        assert!(speeds.apart_by("b").is_some() && speeds.apart_by("a").is_none() && speeds.sd() == 0.0);
        assert_eq!(NodeSpeeds::of(&rows[..1]).ratios().len(), 0);
    }
}
