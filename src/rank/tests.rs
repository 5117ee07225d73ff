//! The order of a ranking: examples by hand, and laws.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn row(id: &str, passed: Option<bool>, metrics: Value) -> Value {
    json!({"framework": "f", "candidate_id": id, "model": "m", "status": "ok", "sla": {"passed": passed},
           "workload": {"scenario": "chat", "request_rate": 4.0}, "hardware": {"gpu_count": 1}, "metrics": metrics})
}

fn ranked_with(rows: &[Value], options: RankOptions) -> Ranking {
    let mut intake = Intake::new(options);
    let entries = rows.iter().filter_map(|row| intake.line(&row.to_string()).unwrap()).collect();
    rank(entries, &intake)
}

fn ranked(rows: &[Value]) -> Ranking {
    ranked_with(rows, RankOptions::default())
}

fn ids(group: &Group) -> Vec<String> {
    group.ranked.iter().map(|ranked| ranked.best.entry().candidate_id.to_string()).collect()
}

#[test]
fn the_source_documents_order() {
    let rows = [
        row("fast-but-fails", Some(false), json!({"request_throughput": 99.0})),
        row(
            "slow-ttft",
            Some(true),
            json!({"request_throughput": 5.0, "output_token_throughput": 9.0, "mean_ttft_ms": 70.0}),
        ),
        row(
            "good-ttft",
            Some(true),
            json!({"request_throughput": 5.0, "output_token_throughput": 9.0, "mean_ttft_ms": 60.0}),
        ),
        row("no-throughput", Some(true), json!({"mean_ttft_ms": 1.0})),
        row("more-requests", Some(true), json!({"request_throughput": 6.0})),
    ];
    let wanted = ["more-requests", "good-ttft", "slow-ttft", "no-throughput", "fast-but-fails"];
    assert_eq!(ids(&ranked(&rows).groups[0]), wanted);
}

#[test]
fn nobody_passed() {
    let mut near = row("near", Some(false), json!({"request_throughput": 1.0, "p99_ttft_ms": 114.0}));
    near["sla"]["max_p99_ttft_ms"] = 100.into();
    let far = row("far", Some(false), json!({"request_throughput": 9.0}));
    let ranking = ranked(&[far, near]);
    assert!(ranking.nothing_passed());
    let Decision::None { nearest, limit, by: Some(by) } = &ranking.groups[0].decision else { panic!("a winner") };
    assert_eq!((ids(&ranking.groups[0])[*nearest].as_str(), limit.as_str()), ("near", "max_p99_ttft_ms"));
    assert!((by - 0.14).abs() < 1e-9);
    assert_eq!(ranking.rejected.len(), 2);
}

#[test]
fn modes_and_simulations_are_apart_and_what_says_less_is_not() {
    let mut closed = row("b", None, json!({}));
    closed["workload"] = json!({"scenario": "chat", "max_concurrency": 4});
    let mut simulated = row("c", None, json!({}));
    simulated["quality"] = json!({"simulated": true});
    let mut less = row("d", None, json!({}));
    less["model"] = Value::Null;
    let rows = [row("a", None, json!({})), closed, simulated, less];
    let ranking = ranked(&rows);
    assert_eq!(ranking.groups.iter().map(ids).collect::<Vec<_>>(), [vec!["b"], vec!["a", "d"], vec!["c"]]);
    assert_eq!(ranking.assumed, ["model: unspecified, m"]);
    let mixed = ranked_with(&rows, RankOptions { allow_mixed: true, ..RankOptions::default() });
    assert_eq!(mixed.groups.len(), 2);
    assert!(mixed.groups[1].mixed.contains(&"engine: real, simulated".to_string()), "{:?}", mixed.groups[1].mixed);
}

fn run(id: &str, repeat: u32, rate: f64, throughput: f64, over: u32) -> Value {
    let mut row = row(id, Some(over == 0), json!({"request_throughput": throughput}));
    row["record"] = "result".into();
    row["workload"]["request_rate"] = rate.into();
    row["sla"]["tested"] = json!({"max_p90_ttft_ms": {"threshold": 1, "value": 1, "basis": "all_scheduled", "margin": 0,
                                  "passed": over == 0, "n": 20, "over": over, "needed": 29, "confirmed": false}});
    row["verdict"] = if over == 0 { "pass_unconfirmed" } else { "fail" }.into();
    row["run"] =
        json!({"repeat": repeat, "unit": format!("{id}-{rate}-{repeat}"), "server_id": "s", "started_at": "2026"});
    row["units"] = json!([format!("{id}-{rate}-{repeat}")]);
    row
}

#[test]
fn repeats_are_one_trial_and_load_points_stand_beneath() {
    let rows =
        [run("a", 0, 4.0, 3.0, 0), run("a", 1, 4.0, 5.0, 0), run("a", 0, 8.0, 7.0, 20), run("b", 0, 4.0, 3.5, 0)];
    let ranking = ranked(&rows);
    let group = &ranking.groups[0];
    assert_eq!(ids(group), ["a", "b"]);
    let a = &group.ranked[0];
    assert_eq!((a.best.repeats(), a.best.keys().by, a.others.len()), (2, Some(4.0), 1));
    // 40 requests of both repeats without a miss are enough for a p90; 20 were not.
    assert_eq!((a.best.passed(), a.best.unconfirmed(), group.ranked[1].best.unconfirmed()), (Some(true), false, true));
    // A repeat that barely fails is outvoted by the requests of the others; one that clearly fails is not.
    let votes =
        |over: u32| ranked(&[run("a", 0, 4.0, 3.0, 0), run("a", 1, 4.0, 3.0, over)]).groups[0].ranked[0].best.passed();
    assert_eq!((votes(3), votes(10)), (Some(true), Some(false)));
}

#[test]
fn limits_can_be_given_anew() {
    let rows = [
        row("a", Some(true), json!({"request_throughput": 9.0, "p99_ttft_ms": 900.0})),
        row("b", Some(true), json!({"request_throughput": 5.0, "p99_ttft_ms": 100.0})),
    ];
    let sla = vec![(None, "max_p99_ttft_ms".to_string(), 500.0)];
    let ranking = ranked_with(&rows, RankOptions { sla, ..RankOptions::default() });
    assert_eq!(ids(&ranking.groups[0]), ["b", "a"]);
    let of_another = vec![(Some("code".to_string()), "max_p99_ttft_ms".to_string(), 500.0)];
    assert_eq!(
        ids(&ranked_with(&rows, RankOptions { sla: of_another, ..RankOptions::default() }).groups[0]),
        ["a", "b"]
    );
}

#[test]
fn a_claim_that_the_numbers_do_not_bear_out_is_no_claim() {
    let mut lies = row("lies", Some(true), json!({"request_throughput": 9.0, "p99_ttft_ms": 900.0}));
    lies["sla"]["max_p99_ttft_ms"] = 500.into();
    let ranking = ranked(&[lies, row("honest", Some(true), json!({"request_throughput": 5.0}))]);
    assert_eq!(ids(&ranking.groups[0]), ["honest", "lies"]);
    assert_eq!(ranking.claims.1, 1);
}

#[test]
fn ties_name_the_simpler_one() {
    let mut rows = vec![
        row("many-gpus", Some(true), json!({"request_throughput": 10.0})),
        row("few-gpus", Some(true), json!({"request_throughput": 9.5})),
        row("slow", Some(true), json!({"request_throughput": 5.0})),
    ];
    rows[0]["hardware"]["gpu_count"] = 8.into();
    let ranking = ranked(&rows);
    let ties = &ranking.groups[0].ties;
    assert_eq!((&ties.members, ties.simpler), (&vec![0, 1], Some(1)));
    let simple = ranked_with(&rows, RankOptions { prefer_simple: true, ..RankOptions::default() });
    assert_eq!(ids(&simple.groups[0]), ["few-gpus", "many-gpus", "slow"]);
}

#[test]
fn rows_with_odd_members_are_read_all_the_same() {
    let odd = json!({"framework": "f", "candidate_id": 7, "status": "ok", "hardware": {"gpu_count": "8"}, "workload": [],
                     "sla": null, "metrics": {"request_throughput": "fast", "mean_ttft_ms": 1}, "quality": {"smoke": "no"}});
    let ranking = ranked(&[odd, json!({"framework": "f", "metrics": null}), json!({"record": "plan"})]);
    assert_eq!((ids(&ranking.groups[0]), ranking.groups.len()), (vec!["7".to_string()], 1));
}

/// The source document's order, implemented a second time and independently.
fn reference(rows: &[Value]) -> Vec<String> {
    let number = |row: &Value, pointer: &str, none: f64| row.pointer(pointer).and_then(Value::as_f64).unwrap_or(none);
    let worst = f64::INFINITY;
    let key = |row: &Value| {
        let tpot = number(row, "/metrics/mean_tpot_ms", number(row, "/metrics/mean_itl_ms", worst));
        [
            if row.pointer("/sla/passed") == Some(&true.into()) { 0.0 } else { 1.0 },
            -number(row, "/metrics/request_throughput", 0.0),
            -number(row, "/metrics/output_token_throughput", 0.0),
            number(row, "/metrics/mean_ttft_ms", worst),
            tpot,
            number(row, "/hardware/gpu_count", worst),
        ]
    };
    let mut sorted: Vec<&Value> = rows.iter().filter(|row| row["status"] == "ok").collect();
    sorted.sort_by(|a, b| {
        key(a).partial_cmp(&key(b)).unwrap().then_with(|| a["candidate_id"].as_str().cmp(&b["candidate_id"].as_str()))
    });
    sorted.into_iter().map(|row| row["candidate_id"].as_str().unwrap().to_string()).collect()
}

fn any_row() -> impl Strategy<Value = Value> {
    let few = || prop::option::weighted(0.7, 0u8..3);
    let numbers = (few(), few(), few(), few(), few(), few());
    (
        numbers,
        prop::option::of(any::<bool>()),
        prop::sample::select(vec!["ok", "ok", "ok", "oom", "skipped"]),
        any::<[bool; 4]>(),
    )
        .prop_map(|((requests, output, ttft, tpot, itl, gpus), passed, status, missing)| {
            let mut row = json!({"framework": "f", "status": status, "metrics": {}});
            let mut put = |pointer: &str, value: Option<u8>| {
                let (block, key) = pointer.split_once('/').unwrap();
                if let Some(value) = value {
                    row[block][key] = value.into();
                }
            };
            put("metrics/request_throughput", requests);
            put("metrics/output_token_throughput", output);
            put("metrics/mean_ttft_ms", ttft);
            put("metrics/mean_tpot_ms", tpot);
            put("metrics/mean_itl_ms", itl);
            if !missing[0] {
                put("hardware/gpu_count", gpus);
            }
            if !missing[1] {
                row["sla"] = json!({"passed": passed});
            }
            if !missing[2] {
                row["workload"] = json!({"scenario": null});
            }
            if missing[3] && row["metrics"] == json!({}) {
                row["metrics"] = Value::Null;
            }
            row
        })
}

proptest! {
    #[test]
    fn the_order_is_the_source_documents(rows in prop::collection::vec(any_row(), 1..12), turn: prop::sample::Index) {
        let mut rows: Vec<Value> = rows.into_iter().enumerate().map(|(i, mut row)| {
            row["candidate_id"] = format!("c{i:02}").into();
            row
        }).collect();
        let ranking = ranked(&rows);
        let order: Vec<String> = ranking.groups.iter().flat_map(ids).collect();
        prop_assert_eq!(&order, &reference(&rows));
        // The order of the input does not matter.
        let n = rows.len();
        rows.rotate_left(turn.index(n));
        prop_assert_eq!(ranked(&rows).groups.iter().flat_map(ids).collect::<Vec<_>>(), order);
    }
}

#[test]
fn limits_at_rank_time_bring_the_floor_of_success_to_runs_without_one() {
    let mut own = run("a", 0, 4.0, 3.0, 0);
    own["sla"] = json!({"passed": null});
    own["metrics"] = json!({"request_throughput": 3.0, "mean_ttft_ms": 1.0, "success_rate": 0.5});
    let mut other = row("b", None, own["metrics"].clone());
    other["record"] = "result".into();
    let sla = vec![(None, "max_mean_ttft_ms".to_string(), 500.0)];
    let ranking = ranked_with(&[own, other], RankOptions { sla, ..RankOptions::default() });
    let passed: Vec<_> = ranking.groups[0].ranked.iter().map(|ranked| ranked.best.passed()).collect();
    assert_eq!((ids(&ranking.groups[0]), passed), (vec!["b".into(), "a".into()], vec![Some(true), Some(false)]));
}

/// A row of a candidate whose answers have this verdict.
fn answered(id: &str, throughput: f64, verdict: &str) -> String {
    let sla = r#"{"passed":true,"max_p99_ttft_ms":500}"#;
    format!(
        r#"{{"record":"result","framework":"f","candidate_id":"{id}","status":"ok","sla":{sla},
            "workload":{{"scenario":"chat","max_concurrency":8}},
            "metrics":{{"request_throughput":{throughput},"p99_ttft_ms":100}},
            "quality":{{"answers":{{"verdict":"{verdict}","reason":"200 questions"}}}}}}"#
    )
    .replace('\n', "")
}

#[test]
fn wrong_answers_never_win_however_fast() {
    let rows = |all: &[(&str, f64, &str)]| -> Vec<String> {
        all.iter().map(|(id, throughput, verdict)| answered(id, *throughput, verdict)).collect()
    };
    let mixed =
        rows(&[("a", 90.0, "worse"), ("b", 80.0, "cross_talk"), ("c", 10.0, "undetermined"), ("d", 9.0, "same")]);
    let order = |options: RankOptions| {
        let mut intake = Intake::new(options);
        let entries = mixed.iter().filter_map(|row| intake.line(row).unwrap()).collect();
        let ranking = rank(entries, &intake);
        let how: Vec<_> = ranking.rejected.iter().map(|rejected| rejected.how.clone()).collect();
        assert_eq!(how.iter().filter(|how| *how == "wrong answers").count(), 2, "{how:?}");
        assert_eq!(ranking.groups[0].decision, Decision::Winner);
        ids(&ranking.groups[0])
    };
    assert_eq!(order(RankOptions::default()), ["c", "d", "a", "b"]);
    assert_eq!(order(RankOptions { require_check: true, ..RankOptions::default() }), ["d", "c", "a", "b"]);
    let mut intake = Intake::default();
    let entries = rows(&[("a", 90.0, "worse")]).iter().filter_map(|row| intake.line(row).unwrap()).collect();
    let ranking = rank(entries, &intake);
    assert!(ranking.nothing_passed() && matches!(ranking.groups[0].decision, Decision::None { .. }));
    assert!(intake.line(&answered("x", 1.0, "fine")).is_err());
}

#[test]
fn rows_of_a_slow_node_are_ranked_apart_and_give_way_to_those_of_others() {
    let node = |name: &str, rate: f64| {
        json!({"record": "node", "node": name, "figures": {"f": {"candidate_id": "b", "scenario": "chat",
               "request_throughput": rate, "mean_e2e_ms": 1.0, "started_at": "1"}}})
    };
    let on = |id: &str, node: &str, unit: &str, at: &str, rate: f64| {
        let mut row = row(id, Some(true), json!({"request_throughput": rate}));
        row["hardware"]["node"] = node.into();
        row["units"] = json!([unit]);
        row["run"] = json!({"run_id": at, "server_id": at, "unit": unit, "started_at": at});
        row
    };
    let nodes = [node("n1", 100.0), node("n2", 99.0), node("n3", 92.0)];
    let rows = [
        on("a", "n1", "u1", "2026-01-01T00:00:01Z", 10.0),
        // Both measured b, the slow node later.
        on("b", "n2", "u2", "2026-01-01T00:00:02Z", 9.0),
        on("b", "n3", "u2", "2026-01-01T00:00:03Z", 8.0),
        on("c", "n3", "u3", "2026-01-01T00:00:04Z", 8.5),
    ];
    let of = |rows: &[Value]| {
        let ranking = ranked(rows);
        ranking.groups.iter().map(|group| (group.key.rest[10].clone(), ids(group))).collect::<Vec<_>>()
    };
    let all: Vec<Value> = nodes.iter().chain(&rows).cloned().collect();
    let (others, slow) = (vec!["a".to_string(), "b".to_string()], vec!["c".to_string()]);
    assert_eq!(of(&all), [("n3".to_string(), slow), ("the others".to_string(), others)]);
    // Within the band, or without a calibration, nothing is apart.
    let alike: Vec<Value> = [node("n1", 100.0), node("n3", 97.0)].iter().chain(&rows).cloned().collect();
    assert_eq!(of(&alike).len(), 1);
    assert_eq!(of(&rows).len(), 1);
}
