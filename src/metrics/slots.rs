//! How much servers in slots disturb each other: a baseline alone, and the same in every slot at the same time.

use std::collections::BTreeMap;

use super::compare::compare;
use super::sample::mean;
use crate::rows::kinds::{NodeRow, Slot, SlotChange, SlotCheck};

/// Rows that were measured beside others are not ranked if a metric is worse by more than this share, beyond noise.
pub const SLOT_BAND: f64 = 0.03;
/// The metrics that are compared, and whether more is better.
pub const METRICS: [(&str, bool); 4] =
    [("request_throughput", true), ("mean_ttft_ms", false), ("mean_tpot_ms", false), ("mean_e2e_ms", false)];
/// Fewest runs of each kind.
pub const RUNS: usize = 3;
/// A check that cannot exclude that the throughput is worse by so much says nothing.
const NOISE: f64 = 0.10;

/// How a metric changes from the repeats alone to those beside others, (repeat, value) each; `None` without values.
#[must_use]
pub fn change(alone: &[(u32, f64)], beside: &[(u32, f64)], more_is_better: bool) -> Option<SlotChange> {
    let values = |of: &[(u32, f64)]| mean(&of.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    let found = compare(beside, alone)?;
    let worse = |ratio: f64| if more_is_better { 1.0 - ratio } else { ratio - 1.0 };
    let ends = found.interval.map(|(low, high)| (worse(low).min(worse(high)), worse(low).max(worse(high))));
    Some(SlotChange {
        alone: values(alone)?,
        beside: values(beside)?,
        worse: worse(found.ratio),
        least: ends.map(|(least, _)| least),
        most: ends.map(|(_, most)| most),
        within_noise: found.tied(),
    })
}

/// The metric that is worse by most; one beyond noise comes first.
#[must_use]
pub fn worst(check: &SlotCheck) -> Option<(&str, &SlotChange)> {
    let order = |(_, change): &(&String, &SlotChange)| (!change.within_noise && change.worse > 0.0, change.worse);
    let all = check.metrics.iter().max_by(|a, b| {
        let (a, b) = (order(a), order(b));
        a.0.cmp(&b.0).then_with(|| a.1.total_cmp(&b.1))
    });
    all.map(|(name, change)| (name.as_str(), change))
}

/// How a metric changes, in words: `request_throughput 5.2 % worse (95 % interval 4.1 to 6.3 %)`.
#[must_use]
pub fn in_words(metric: &str, change: &SlotChange) -> String {
    let share = 100.0 * change.worse;
    let how = if share < 0.0 { format!("{:.1} % better", -share) } else { format!("{share:.1} % worse") };
    let interval = change.least.zip(change.most);
    let interval = interval.map(|(least, most)| format!("95 % interval {:.1} to {:.1} %", 100.0 * least, 100.0 * most));
    let noise = change.within_noise.then(|| "within noise".to_string());
    let more: Vec<String> = noise.into_iter().chain(interval).collect();
    if more.is_empty() { format!("{metric} {how}") } else { format!("{metric} {how} ({})", more.join(", ")) }
}

/// Why rows that were measured beside others in such a slot on this node are not ranked; `None` if they are.
#[must_use]
pub fn refusal(nodes: &[NodeRow], node: &str, slot: &Slot) -> Option<String> {
    if slot.alone {
        return None;
    }
    let all = nodes.iter().filter(|row| row.node == node).flat_map(|row| &row.slots);
    let checks: Vec<&SlotCheck> = all.filter(|check| check.slots == slot.slots).collect();
    refused(&slot.slots, &checks).map(|why| format!("measured beside others: {why}"))
}

/// Why servers must not be measured beside others in `slots`, by these checks of them, of which the latest of a framework
/// counts.
#[must_use]
pub fn refused(slots: &str, checks: &[&SlotCheck]) -> Option<String> {
    let is_latest = |check: &&&SlotCheck| {
        let later = |other: &&&SlotCheck| other.framework == check.framework && other.started_at > check.started_at;
        !checks.iter().any(|other| later(&other))
    };
    let latest: Vec<&&SlotCheck> = checks.iter().filter(is_latest).collect();
    if latest.is_empty() {
        return Some(format!(
            "how much servers in slots {slots} disturb each other was not measured (bench-expand --slot-check)"
        ));
    }
    if let Some((check, why)) = latest.iter().find_map(|check| Some((check, check.failure.as_ref()?))) {
        return Some(format!("how much servers in slots {slots} disturb {} is unknown: {why}", check.framework));
    }
    let disturbed = latest.iter().filter_map(|check| Some((check, worst(check)?)));
    let mut over = disturbed.filter(|(_, (_, change))| !change.within_noise && change.worse > SLOT_BAND);
    over.next().map(|(check, (metric, change))| {
        format!(
            "servers in slots {slots} disturb each other: the baseline of {} had {}; the limit is {:.0} %",
            check.framework,
            in_words(metric, change),
            100.0 * SLOT_BAND
        )
    })
}

/// Why a check with these changes cannot tell anything: its runs differ too much among themselves.
#[must_use]
pub fn noise(metrics: &BTreeMap<String, SlotChange>) -> Option<String> {
    let (metric, _) = METRICS[0];
    let change = metrics.get(metric)?;
    (change.within_noise && change.most.is_none_or(|most| most > NOISE))
        .then(|| format!("{}: repeat the check on a quiet host", in_words(metric, change)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of: &[(&str, f64, &[f64])], at: &str) -> SlotCheck {
        let one = |(name, alone, beside): &(&str, f64, &[f64])| {
            let base: Vec<(u32, f64)> = (0..3).map(|r| (r, alone * (1.0 + 0.002 * f64::from(r)))).collect();
            let other: Vec<(u32, f64)> = base.iter().zip(*beside).map(|((r, v), share)| (*r, v * share)).collect();
            let more = METRICS.iter().any(|(metric, more)| metric == name && *more);
            ((*name).to_string(), change(&base, &other, more).unwrap())
        };
        SlotCheck {
            slots: "0,1".into(),
            framework: "f".into(),
            metrics: of.iter().map(one).collect(),
            started_at: at.into(),
            ..SlotCheck::default()
        }
    }

    fn nodes(checks: Vec<SlotCheck>) -> Vec<NodeRow> {
        vec![NodeRow { node: "n".into(), slots: checks, ..NodeRow::default() }]
    }

    fn slot(alone: bool) -> Slot {
        Slot { slots: "0,1".into(), of: 2, index: Some(1), gpus: None, cpus: None, alone }
    }

    #[test]
    fn more_than_three_percent_beyond_noise_is_refused_with_the_number() {
        let why = |of: &[(&str, f64, &[f64])]| refusal(&nodes(vec![check(of, "1")]), "n", &slot(false));
        let none = [1.0, 1.001, 0.999];
        assert_eq!(why(&[("request_throughput", 10.0, &none)]), None);
        assert_eq!(why(&[("request_throughput", 10.0, &[0.975, 0.976, 0.975])]), None, "2.5 %");
        assert_eq!(why(&[("request_throughput", 10.0, &[1.05, 1.051, 1.05])]), None, "better is no disturbance");
        let slower = why(&[("request_throughput", 10.0, &[0.94, 0.941, 0.94])]).unwrap();
        assert!(slower.contains("f had request_throughput 6.0 % worse (95 % interval 5."), "{slower}");
        let later = why(&[("request_throughput", 10.0, &none), ("mean_ttft_ms", 50.0, &[1.08, 1.081, 1.08])]).unwrap();
        assert!(later.contains("mean_ttft_ms 8.0 % worse"), "{later}");
        assert_eq!(why(&[("mean_ttft_ms", 50.0, &[0.9, 1.3, 1.0])]), None, "within noise");
        let noisy = check(&[("request_throughput", 10.0, &[0.8, 1.2, 1.0])], "1");
        assert!(noise(&noisy.metrics).is_some_and(|why| why.contains("within noise")), "{noisy:?}");
        assert_eq!(noise(&check(&[("request_throughput", 10.0, &none)], "1").metrics), None);
    }

    #[test]
    fn what_was_not_measured_is_refused_and_what_ran_alone_is_not() {
        let far = [0.8, 0.801, 0.8];
        let bad = nodes(vec![check(&[("request_throughput", 10.0, &far)], "1")]);
        assert_eq!(refusal(&bad, "n", &slot(true)), None);
        for (nodes, part) in [
            (vec![], "was not measured"),
            (nodes(vec![SlotCheck { failure: Some("x".into()), ..check(&[], "1") }]), "unknown: x"),
        ] {
            let why = refusal(&nodes, "n", &slot(false)).unwrap();
            assert!(why.contains(part), "{why}");
        }
        let why = refusal(&bad, "another", &slot(false)).unwrap();
        assert!(why.contains("was not measured"), "{why}");
        // It was repaired and measured again.
        let good = check(&[("request_throughput", 10.0, &[1.0, 1.001, 1.0])], "2");
        let both = [bad, nodes(vec![good])].concat();
        assert_eq!(refusal(&both, "n", &slot(false)), None);
    }
}
