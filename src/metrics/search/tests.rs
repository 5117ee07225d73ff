use super::*;
use crate::rows::kinds::{Qps, SlaTest, Users};
use crate::rows::words::{Basis, Latency, Statistic};
use proptest::prelude::*;

const QPS: Qps = Qps { lower: 0.5, upper: 16.0, tolerance: 0.01, max_rounds: 5, max_probes: 20, prune: false };

fn search(start: Option<f64>) -> LoadSearch {
    LoadSearch::new(QPS.into(), &Limits::default(), start)
}

/// A run that is as long as it needs to be, and clear.
fn clear(passed: bool) -> ProbeOutcome {
    of(passed, 1000, 25.0)
}

fn of(passed: bool, requests: u32, answers: f64) -> ProbeOutcome {
    ProbeOutcome::Judged(Evidence { passed, cut: false, tests: Vec::new(), requests, answers })
}

/// Runs a search against an oracle; the loads in the order of their measurement, and the end.
fn run(mut search: LoadSearch, mut oracle: impl FnMut(SearchProbe) -> ProbeOutcome) -> (Vec<f64>, SearchResult) {
    let mut values = Vec::new();
    while let Some(probe) = search.next() {
        assert!(values.len() < 100, "endless search: {values:?}");
        values.push(probe.value);
        search.record(probe, oracle(probe));
    }
    (values, search.ended())
}

#[test]
fn everything_passes() {
    let (rates, ended) = run(search(None), |_| clear(true));
    assert_eq!((rates.len(), rates[0], rates.last()), (8, 0.5, Some(&16.0)), "strides that double: {rates:?}");
    assert_eq!((ended.max_pass, ended.min_fail, ended.reason), (Some(16.0), None, SearchEndReason::NoFailureInRange));
}

#[test]
fn failing_twice_at_the_load_of_another_candidate_is_pruned() {
    let against = || LoadSearch::against(QPS.into(), &Limits::default(), 6.0);
    let (rates, ended) = run(against(), |_| clear(false));
    assert_eq!((rates.len(), ended.reason, ended.max_pass), (2, SearchEndReason::Pruned, None));
    assert!((rates[0] - 6.0).abs() < 0.1 && rates[0] == rates[1]);
    // One failure is not enough.
    let (rates, ended) = run(against(), |probe| clear(probe.value < 5.0 || probe.vote > 0));
    assert!(rates.len() > 2 && ended.reason != SearchEndReason::Pruned, "{rates:?}");
    // If it passes there, the search continues above.
    let (rates, ended) = run(against(), |probe| clear(probe.value <= 9.0));
    assert!(rates[1] > 6.0 && ended.max_pass > Some(8.0), "{rates:?} {ended:?}");
}

#[test]
fn a_challenger_goes_on_only_if_a_long_run_passes() {
    let limits = Limits::of([("max_p99_ttft_ms", 100.0)].into_iter());
    let challenge = || LoadSearch::challenge(QPS.into(), &limits, 5.0);
    // What is a little too much for a server shows in long runs only.
    let measure = |probe: SearchProbe, most: f64| {
        let requests = probe.need.requests.max(80);
        let passed = probe.value <= if requests >= 500 { most } else { 1.2 * most };
        let test = SlaTest {
            limit: Limit::Latency { statistic: Statistic::P99, latency: Latency::Ttft },
            threshold: 100.0,
            value: None,
            basis: Basis::AllScheduled,
            margin: None,
            passed,
            n: Some(requests),
            over: Some(if passed { 0 } else { requests / 10 }),
            needed: None,
            confirmed: None,
        };
        let answers = probe.need.answers - 1.0;
        ProbeOutcome::Judged(Evidence { passed, cut: !passed, tests: vec![test], requests, answers })
    };
    let (rates, ended) = run(challenge(), |probe| measure(probe, 5.2));
    assert_eq!((rates.len(), ended.reason, ended.max_pass), (2, SearchEndReason::Pruned, None), "{rates:?}");
    assert!((rates[0] - 5.5).abs() < 0.1 && rates[0] == rates[1], "{rates:?}");
    let (rates, ended) = run(challenge(), |probe| measure(probe, 4.0));
    assert_eq!((rates.len(), ended.reason), (2, SearchEndReason::Pruned), "two short runs fail: {rates:?}");
    let (rates, ended) = run(challenge(), |probe| measure(probe, 8.0));
    assert!(rates[2] > rates[1] && ended.reason == SearchEndReason::Resolved, "{rates:?} {ended:?}");
    assert!(ended.max_pass.is_some_and(|best| best > 7.6 && best <= 8.0), "{ended:?}");
}

#[test]
fn nothing_passes() {
    let (rates, ended) = run(search(Some(6.0)), |_| clear(false));
    assert_eq!((rates.len(), rates.last()), (7, Some(&0.5)), "{rates:?}");
    assert_eq!((ended.max_pass, ended.min_fail, ended.reason), (None, Some(0.5), SearchEndReason::NoPassInRange));
}

#[test]
fn a_threshold_is_bracketed_within_five_percent() {
    for threshold in [0.52, 0.9, 2.0, 5.3, 11.0, 15.9] {
        let (rates, ended) = run(search(Some(4.0)), |probe| clear(probe.value <= threshold));
        let (pass, fail) = (ended.max_pass.unwrap(), ended.min_fail.unwrap());
        assert!(pass <= threshold && threshold < fail && fail / pass < 1.055, "{rates:?} {ended:?}");
        assert_eq!(ended.reason, SearchEndReason::Resolved);
        assert!(rates.len() <= 14, "{rates:?}");
    }
}

#[test]
fn runs_get_longer_the_closer_the_bracket() {
    let limits = Limits::of([("max_p99_ttft_ms", 100.0)].into_iter());
    let mut needs = Vec::new();
    run(LoadSearch::new(QPS.into(), &limits, Some(4.0)), |probe| {
        needs.push((probe.need.requests, probe.need.answers));
        of(probe.value <= 5.3, probe.need.requests.max(80), probe.need.answers - 1.0)
    });
    assert_eq!((needs[0], needs.last()), ((30, 4.0), Some(&(500, 25.0))), "{needs:?}");
    assert!(needs.windows(2).all(|w| w[0].0 <= w[1].0), "{needs:?}");
    // A p90 takes a tenth of that.
    let limits = Limits::of([("max_p90_ttft_ms", 100.0)].into_iter());
    let (_, ended) = run(LoadSearch::new(QPS.into(), &limits, Some(4.0)), |probe| {
        assert!(probe.need.requests <= 50);
        of(probe.value <= 5.3, probe.need.requests.max(80), probe.need.answers - 1.0)
    });
    assert_eq!(ended.reason, SearchEndReason::Resolved);
}

#[test]
fn a_load_is_measured_until_there_is_enough_of_it() {
    // Runs of a tenth of the deciding answers.
    let (rates, ended) = run(search(Some(4.0)), |probe| of(probe.value <= 5.3, 100, 2.4));
    let at_best = rates.iter().filter(|rate| Some(**rate) == ended.max_pass).count();
    assert_eq!((ended.reason, at_best), (SearchEndReason::MaxProbes, 11), "{rates:?}");
}

#[test]
fn rounds_are_bounded() {
    let few = |max_rounds, max_probes| SearchRange { max_rounds, max_probes, ..QPS.into() };
    let (_, ended) = run(LoadSearch::new(few(1, 20), &Limits::default(), None), |probe| clear(probe.value <= 5.3));
    assert_eq!((ended.reason, ended.rounds), (SearchEndReason::MaxRounds, 1));
    let (_, ended) = run(LoadSearch::new(few(5, 3), &Limits::default(), None), |_| clear(true));
    assert_eq!((ended.max_pass, ended.reason, ended.probes), (Some(0.9057), SearchEndReason::MaxProbes, 3));
}

#[test]
fn an_infrastructure_failure_is_not_a_missed_sla() {
    let mut first = true;
    let (rates, ended) =
        run(
            search(None),
            |probe| {
                if std::mem::take(&mut first) { ProbeOutcome::Infra } else { clear(probe.value <= 1.0) }
            },
        );
    assert_eq!((rates[0], rates[1], rates[2] > 0.6), (0.5, 0.5, true));
    assert!(ended.max_pass > Some(0.95));
    let (rates, ended) = run(search(None), |_| ProbeOutcome::Infra);
    assert_eq!((rates.len(), ended.max_pass, ended.reason), (2, None, SearchEndReason::Aborted));
}

#[test]
fn the_most_requests_in_flight_are_found_to_the_request() {
    let users = Users { lower: 1, upper: 64, max_rounds: 8, max_probes: 20, prune: false };
    for most in [1, 2, 7, 13, 30] {
        let (values, ended) = run(LoadSearch::new(users.into(), &Limits::default(), Some(16.0)), |probe| {
            clear(probe.value <= f64::from(most))
        });
        let (pass, fail) = (ended.max_pass.unwrap(), ended.min_fail.unwrap());
        assert!(
            pass <= f64::from(most) && f64::from(most) < fail && fail - pass <= 2.0,
            "{most}: {values:?} {ended:?}"
        );
    }
}

proptest! {
    #[test]
    fn whatever_comes_it_ends_and_claims_only_what_passed(
        outcomes in proptest::collection::vec(0u8..5, 40),
        start in proptest::option::of(0.1f64..40.0),
    ) {
        let mut outcomes = outcomes.into_iter();
        let mut seen: Vec<(f64, ProbeOutcome)> = Vec::new();
        let (rates, ended) = run(search(start), |probe| {
            let outcome = match outcomes.next() {
                Some(0) => ProbeOutcome::Infra,
                Some(1) => of(true, 80, 4.0),
                Some(2) => of(false, 80, 4.0),
                Some(3) => clear(true),
                _ => clear(false),
            };
            seen.push((probe.value, outcome.clone()));
            outcome
        });
        prop_assert!(rates.len() <= 20 && rates.iter().all(|rate| (0.5..=16.0).contains(rate)));
        if let Some(max_pass) = ended.max_pass {
            let passes = |(rate, outcome): &(f64, ProbeOutcome)| {
                *rate == max_pass && matches!(outcome, ProbeOutcome::Judged(evidence) if evidence.passed)
            };
            prop_assert!(seen.iter().any(passes));
        }
        prop_assert!(ended.rounds <= ended.probes);
    }
}
