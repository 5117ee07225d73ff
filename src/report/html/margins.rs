//! SLA headroom: the distance of each framework's best candidate from its limits.

use super::bars::{Bar, both_sides};
use super::chart::figure;
use super::escape;
use super::trials::name;
use crate::rank::{Group, RankOptions, Trial};
use crate::report::text::number;
use crate::rows::kinds::SlaTest;

/// Maximum number of frameworks to draw.
const MOST: usize = 6;

/// A limit over all repeats: means of the measured values and of the margins, in %.
fn limits(trial: &Trial, options: &RankOptions) -> Vec<(SlaTest, Option<f64>)> {
    let all: Vec<Vec<SlaTest>> = trial.entries().take(50).map(|entry| entry.all_tests(options)).collect();
    let mean = |values: Vec<Option<f64>>| -> Option<f64> {
        let count = u32::try_from(values.len()).ok().filter(|n| *n > 0)?;
        let values: Option<Vec<f64>> = values.into_iter().collect();
        Some(values?.iter().sum::<f64>() / f64::from(count))
    };
    let own = all.first().cloned().unwrap_or_default();
    own.into_iter()
        .map(|mut test| {
            let same: Vec<&SlaTest> =
                all.iter().filter_map(|tests| tests.iter().find(|t| t.limit == test.limit)).collect();
            let margin = mean(same.iter().map(|t| t.margin).collect()).filter(|margin| margin.is_finite());
            test.value = mean(same.iter().map(|t| t.value).collect());
            test.passed = margin.map_or(same.iter().all(|t| t.passed), |margin| margin >= 0.0);
            (test, margin.map(|margin| margin * 100.0))
        })
        .collect()
}

/// The plot; empty if nothing was tested.
pub fn plot(group: &Group, options: &RankOptions) -> String {
    let mut bars = Vec::new();
    let best = group.best_of_frameworks();
    for ranked in best.iter().take(MOST) {
        let limits = limits(&ranked.best, options);
        if limits.is_empty() {
            continue;
        }
        let rank = group.ranked.iter().position(|other| std::ptr::eq(other, *ranked)).unwrap_or(0);
        bars.push(Bar {
            label: name(rank, ranked.best.entry()),
            value: None,
            caption: String::new(),
            bad: false,
            heading: true,
        });
        for (test, margin) in limits {
            let bad = !test.passed;
            let value = test.value.map_or("not measured".to_string(), |value| number(Some(value)));
            let mark = if bad { "✗ " } else { "✓ " };
            let caption = match margin {
                Some(margin) if margin.abs() < 1000.0 => format!("{mark}{margin:+.0} %").replace('-', "−"),
                Some(margin) if margin < 0.0 => format!("{mark}far over"),
                Some(_) => format!("{mark}far within"),
                None => format!("{mark}not measured"),
            };
            let label = format!("{}: {value}", escape::limit(test.limit.key(), test.threshold));
            bars.push(Bar { label, value: margin, caption, bad, heading: false });
        }
    }
    if bars.is_empty() {
        return String::new();
    }
    let desc: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.label, bar.caption)).collect();
    let svg = both_sides(&bars, "SLA headroom: distance from each limit in percent", &desc.join("; "), (0.0, 100.0));
    let more =
        if best.len() > MOST { format!(" The first {MOST} of {} frameworks.", best.len()) } else { String::new() };
    let how = format!(
        "For the best candidate of each framework: the distance to each limit, in % of the limit. Bars to the right meet it; hatched \
         bars to the left, marked ✗, miss it. A short bar means little headroom. Bars end at 100 %.{more}"
    );
    figure("plot", "SLA headroom.", &how, &svg)
}
