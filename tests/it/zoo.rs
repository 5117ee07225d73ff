//! The whole pipe against servers that answer in every wrong way that real ones have been seen to: each with its rows.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Mark, bash, candidates, fixtures, run, scratch, zoo_plan};

/// Everything that serve, load and normalize write about a server with these habits.
fn piped(flags: &str, plan: impl FnOnce(String) -> String, args: &str) -> Vec<Value> {
    let (folder, mark) = (scratch(), Mark::new("zoo"));
    let script = format!(
        "bench-serve --frameworks '{0}' --artifacts '{1}' --ready-timeout 5 --grace 1 | \
         bench-load --frameworks '{0}' --quiet --ttft-timeout 0.5 --idle-timeout 0.5 {args} | tee /dev/fd/3 3>&1 >'{1}.jsonl' | cat; \
         bench-normalize '{1}.jsonl'",
        fixtures().display(),
        folder.path().join("logs").display(),
    );
    let done = run(mark.put(&mut bash(&script)), &candidates(&plan(zoo_plan(flags))));
    assert_eq!(done.code, Some(0), "{flags}: {}", done.stderr);
    // After each there is nothing left.
    mark.gone_within(Duration::from_secs(2));
    done.rows()
}

fn of<'a>(rows: &'a [Value], record: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["record"] == record).collect()
}

fn measured(rows: &[Value]) -> Vec<&Value> {
    // Of the first attempt: on a busy machine the client may have measured its run again.
    let first = |row: &&Value| !row["run_id"].as_str().unwrap().contains("/attempt-");
    of(rows, "request").into_iter().filter(|row| row["phase"] == "measured").filter(first).collect()
}

#[test]
fn a_bad_answer_is_never_a_good_request() {
    for (manner, status, said) in [
        ("reset", "truncated", "reset by peer"),
        ("cut", "truncated", ""),
        ("bad-utf8", "parse", ""),
        ("no-finish", "truncated", "finish"),
        ("error-event", "error_event", "fell over"),
        ("abort", "error_event", "the engine gave the request up"),
        ("error-name", "error_event", "the engine fell over"),
        ("error-line", "error_event", "the engine fell over"),
        ("odd-finish", "error_event", "banana"),
        ("filter", "error_event", "a filter ended the answer"),
        ("json-error", "error_event", "the engine fell over"),
        ("empty", "no_token", ""),
        ("shed", "http_5xx", "no"),
        ("limit", "http_429", ""),
        ("huge", "parse", ""),
        ("slow-head", "timeout_ttft", ""),
        ("redirect", "http_3xx", "no"),
        ("gzip", "parse", "compressed (gzip)"),
        ("stalls", "timeout_idle", ""),
    ] {
        let rows = piped(&format!("{{answers: {manner}}}"), |plan| plan, "");
        let requests = measured(&rows);
        assert_eq!(requests.len(), 4, "{manner}");
        for request in requests {
            let error = request["error"].as_str().unwrap_or_default();
            assert_eq!(request["status"], status, "{manner}: {request}");
            assert!(error.contains(said), "{manner}: {error}");
        }
        let [result] = of(&rows, "result")[..] else { panic!("{manner}: {rows:#?}") };
        assert_eq!(
            (&result["status"], &result["metrics"]["success_rate"]),
            (&"failed".into(), &0.0.into()),
            "{manner}"
        );
    }
}

#[test]
fn a_server_whose_definition_nobody_gave_is_not_asked_as_another() {
    let (folder, mark) = (scratch(), Mark::new("nodef"));
    let script = format!(
        "bench-serve -q --frameworks '{}' --artifacts '{}' --grace 1 | bench-load -q; echo \"${{PIPESTATUS[1]}}\"",
        fixtures().display(),
        folder.path().join("logs").display(),
    );
    let done = run(mark.put(&mut bash(&script)), &candidates(&zoo_plan("{}")));
    assert!(done.stderr.contains("unknown framework definition \"zoo\": pass --frameworks"), "{}", done.stderr);
    assert!(done.stdout.ends_with("2\n") && !done.stdout.contains("\"record\":\"request\""), "{}", done.stdout);
    mark.gone_within(Duration::from_secs(2));
}

#[test]
fn a_server_that_closes_behind_an_answer_loses_no_answer() {
    let rows = piped("{answers: closes}", |plan| plan, "");
    // Its definition keeps connections, so a request may meet one that is being closed: then it was not answered at all.
    let all = measured(&rows);
    let of = |status: &str| all.iter().filter(|request| request["status"] == status).count();
    assert!(of("ok") > 0 && of("ok") + of("connect") == all.len(), "{all:#?}");
    let [result] = self::of(&rows, "result")[..] else { panic!("{rows:#?}") };
    assert_eq!(result["metrics"]["completed"].as_f64(), u32::try_from(of("ok")).ok().map(f64::from), "{result:#}");
}

#[test]
fn an_odd_answer_that_is_whole_counts() {
    for manner in [
        "well",
        "no-done",
        "done-unended",
        "torn-done",
        "no-usage",
        "usage-every",
        "odd-usage",
        "role-first",
        "one-chunk",
        "reasoning",
        "almost-json",
        "http10",
    ] {
        let rows = piped(&format!("{{answers: {manner}}}"), |plan| plan, "");
        for request in measured(&rows) {
            assert_eq!(request["status"], "ok", "{manner}: {request}");
        }
        let [result] = of(&rows, "result")[..] else { panic!("{manner}: {rows:#?}") };
        assert_eq!((&result["status"], &result["metrics"]["success_rate"]), (&"ok".into(), &1.0.into()), "{manner}");
        let metrics = &result["metrics"];
        match manner {
            // Chunks are not tokens: what cannot be known is not said.
            "no-usage" => assert!(metrics.get("output_token_throughput").is_none_or(Value::is_null), "{metrics:#}"),
            // A role is no token: the first one came 100 ms later.
            "role-first" => assert!(metrics["mean_ttft_ms"].as_f64().unwrap() > 100.0, "{metrics:#}"),
            _ => assert!(metrics["output_token_throughput"].as_f64().unwrap() > 0.0, "{manner}: {metrics:#}"),
        }
    }
}

#[test]
fn what_makes_rows_incomparable_is_marked() {
    for (manner, quality) in [("short", "length_mismatch"), ("cached", "cache_contaminated")] {
        let rows = piped(&format!("{{answers: {manner}}}"), |plan| plan, "");
        assert_eq!(of(&rows, "result")[0]["quality"][quality], true, "{manner}");
    }
}

#[test]
fn a_cache_is_emptied_before_each_run_or_the_run_is_not_done() {
    let reset = |plan: String| plan.replace("warmup_requests: 1", "warmup_requests: 1, cache: reset");
    let rows = piped("{}", reset, "");
    assert_eq!((&of(&rows, "run")[0]["cache"], &of(&rows, "result")[0]["status"]), (&"reset".into(), &"ok".into()));
    assert_eq!(of(&rows, "result")[0]["fingerprint"]["cache"], "reset");
    let rows = piped("{keeps_cache: true}", reset, "");
    let result = of(&rows, "result")[0];
    assert_eq!(result["failure_class"], "cache_not_reset", "{result:#}");
    assert!(
        result["failure_reason"].as_str().unwrap().contains("POST /reset did not reset the cache: it answered 404"),
        "{result:#}"
    );
    assert!(measured(&rows).is_empty());
}

#[test]
fn a_server_that_has_only_chat_is_ready_and_loaded() {
    let chat = |plan: String| plan.replace("{max_conc", "{endpoint: /v1/chat/completions, max_conc");
    let rows = piped("{only_chat: true}", chat, "");
    assert_eq!(of(&rows, "result")[0]["status"], "ok", "{rows:#?}");
}

#[test]
fn what_the_server_itself_counted_in_a_run_stands_in_its_result() {
    let rows = piped("{}", |plan| plan, "");
    let result = of(&rows, "result")[0];
    // The warm-up and the probes came before.
    assert_eq!(result["phase_metrics"], serde_json::json!({"asked": 4.0, "mean_wait_ms": 1000.0}), "{result:#}");
    assert!(result.get("cache").is_none());
}
