//! The effect of each knob: the change of throughput for another value of it.

use std::collections::{BTreeMap, BTreeSet};

use super::bars::{Bar, both_sides};
use super::chart::figure;
use super::scale::sane;
use super::trials::changed;
use crate::metrics::compare::SINGLE;
use crate::rank::{Group, RankOptions};

/// Maximum numbers of candidates to read and of effects to draw.
const READ: usize = 1000;
const MOST: usize = 12;

/// A value of a knob and its effect.
struct KnobEffect {
    name: String,
    percent: f64,
    /// Compared with its baseline, otherwise the numbers of candidates with it and without it.
    against: Option<(usize, usize)>,
}

type KnobChanges = Vec<(String, String)>;

fn mean(values: &[f64]) -> Option<f64> {
    let count = u32::try_from(values.len()).ok().filter(|n| *n > 0)?;
    Some(values.iter().sum::<f64>() / f64::from(count))
}

/// The effects of one framework's knobs.
fn effects(framework: &str, candidates: &[(KnobChanges, f64)]) -> Vec<KnobEffect> {
    let settings: BTreeSet<&(String, String)> = candidates.iter().flat_map(|(changes, _)| changes).collect();
    let of = |fits: &dyn Fn(&KnobChanges) -> bool| -> Vec<f64> {
        candidates.iter().filter(|(changes, _)| fits(changes)).map(|(_, value)| *value).collect()
    };
    let baseline = mean(&of(&KnobChanges::is_empty));
    let one = |setting: &(String, String)| {
        let alone = mean(&of(&|changes| changes.len() == 1 && changes[0] == *setting));
        let with = of(&|changes| changes.contains(setting));
        let without = of(&|changes| !changes.contains(setting));
        let (value, base, against) = match (alone, baseline) {
            (Some(alone), Some(baseline)) => (alone, baseline, None),
            _ => (mean(&with)?, mean(&without)?, Some((with.len(), without.len()))),
        };
        let percent = sane(Some((value / base - 1.0) * 100.0)).filter(|_| base > 0.0)?;
        Some(KnobEffect { name: format!("{framework} {}={}", setting.0, setting.1), percent, against })
    };
    settings.into_iter().filter_map(one).collect()
}

/// The plot; empty if no candidate with a changed knob can be compared.
pub fn plot(group: &Group, options: &RankOptions) -> String {
    let mut candidates: BTreeMap<&str, Vec<(KnobChanges, f64)>> = BTreeMap::new();
    for ranked in group.ranked.iter().take(READ) {
        let entry = ranked.best.entry();
        // A row that does not list its changed flags is not a baseline.
        let is_known = entry.changed().is_some();
        if let Some(value) = sane(ranked.best.keys().by).filter(|_| is_known) {
            candidates.entry(&entry.framework).or_default().push((changed(entry), value));
        }
    }
    let mut found: Vec<KnobEffect> = candidates.iter().flat_map(|(framework, of)| effects(framework, of)).collect();
    found.sort_by(|a, b| b.percent.abs().total_cmp(&a.percent.abs()).then_with(|| a.name.cmp(&b.name)));
    let all = found.len();
    if all == 0 {
        return String::new();
    }
    found.truncate(MOST);
    let bar = |effect: &KnobEffect| {
        let against = match effect.against {
            None => String::new(),
            Some((with, without)) => format!("{with} against {without}: "),
        };
        let caption = if effect.percent.abs() < 0.05 {
            "0.0 %".into()
        } else if effect.percent.abs() < 10_000.0 {
            format!("{:+.1} %", effect.percent).replace('-', "−")
        } else {
            "huge".into()
        };
        Bar {
            label: effect.name.clone(),
            value: Some(effect.percent),
            caption: format!("{against}{caption}"),
            bad: effect.percent < 0.0,
            heading: false,
        }
    };
    let bars: Vec<Bar> = found.iter().map(bar).collect();
    let desc: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.label, bar.caption)).collect();
    let svg =
        both_sides(&bars, "Effect of each knob on throughput in percent", &desc.join("; "), (SINGLE * 100.0, 1000.0));
    let more = if all > MOST { format!(" The {MOST} largest of {all}.") } else { String::new() };
    let means = if found.iter().any(|effect| effect.against.is_some()) {
        " Where it says “3 against 5”: the mean of the 3 candidates with that value against the mean of the 5 others, which may also differ in other knobs."
    } else {
        ""
    };
    let how = format!(
        "Change of {} against the baseline of the same framework when only this knob differs; hatched bars to the left are a loss. \
         It describes these runs and does not prove a cause; in single runs, less than {:.0} % is within noise.{means}{more}",
        options.by.unit(),
        SINGLE * 100.0
    );
    figure("plot", "Effect of each knob.", &how, &svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_goes_before_means() {
        let set = |name: &str| (name.to_string(), "1".to_string());
        let rows = [(vec![], 10.0), (vec![set("a")], 12.0), (vec![set("a"), set("b")], 20.0)];
        let found = effects("f", &rows);
        assert_eq!((found[0].name.as_str(), found[0].against), ("f a=1", None));
        assert!((found[0].percent - 20.0).abs() < 1e-9);
        assert_eq!(found[1].against, Some((1, 2)));
        assert!((found[1].percent - (20.0 / 11.0 - 1.0) * 100.0).abs() < 1e-9);
    }
}
