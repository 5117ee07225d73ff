//! What bench-load and bench-normalize say of a server, against what that server knows that it did.
//!
//! Counts, orders and statuses are exact. Of times two things are asked. No stamp may lie on the wrong side of the server's
//! own: that holds on any machine (see [`Seen::one_clock`]). And medians must be right in kind, within bounds that a busy
//! machine keeps: a role is no first token, tokens that never came are no divisor.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use serde_json::Value;

use crate::harness::{Running, program, rows_in, run, scratch};

/// True times, ms, in every mode.
const TTFT: f64 = 60.0;
const TPOT: f64 = 10.0;
/// What a median may be late on a busy machine, ms.
const LATE: f64 = 25.0;
/// From the last token to the end of a stream: more than that, so that no end is taken for a token.
const TAIL: &str = "60";
/// Measured requests of a mode, and their tokens in and out.
const REQUESTS: usize = 10;
/// Everything holds with one thread and with several.
const THREADS: [&str; 3] = ["1", "2", "4"];
const INPUT: u64 = 20;
const OUTPUT: u32 = 12;

/// What both sides say of one run, in the order of arrival, without probes and warm-up.
struct Seen {
    said: Vec<Value>,
    did: Vec<Value>,
    result: Value,
}

impl Seen {
    /// One run of `load` against a server with `flags`; once more if the programs say that this host was too busy to measure it.
    fn of(flags: &[&str], load: &[&str]) -> Self {
        let is_valid = |seen: &Self| seen.result["failure_class"] != "client_saturated";
        (0..4).map(|_| Self::once(flags, load)).find(is_valid).unwrap_or_else(|| Self::once(flags, load))
    }

    fn once(flags: &[&str], load: &[&str]) -> Self {
        let folder = scratch();
        let file = folder.path().join("truth.jsonl");
        let server = Running::truth(&[&["--spare", "1"], flags].concat(), &file);
        let args = ["--quiet", "--url", &server.url, "--warmup", "1", "--attempts", "1"];
        let done = run(program("bench-load").args(args).args(load), "").expect(0);
        let results = run(&mut program("bench-normalize"), &done.stdout).expect(0).records("result");
        let [result] = &results[..] else { panic!("{} results", results.len()) };
        let mut said = done.records("request");
        said.retain(|row| row["phase"] == "measured");
        said.sort_by_key(|row| row["sent_us"].as_u64());
        let mut did = rows_in(&file);
        did.retain(|row| row["asked"].as_u64() > Some(1));
        did.sort_by_key(|row| row["n"].as_u64());
        let warmup = did.remove(0);
        assert_eq!(warmup["did"], "ok", "the warm-up is spared: {warmup}");
        Self { said, did, result: result.clone() }
    }

    /// Whether all stamps fit on one clock. The client's begins at an unknown time of the server's: after every request,
    /// which was sent before it arrived, and before every answer, which was read after it was written. If not, then some
    /// stamp is of another moment than it says. Sorted, this holds whatever overtook what.
    fn one_clock(&self) -> Result<(), String> {
        let (lowest, highest) = self.beginning()?;
        (lowest <= highest).then_some(()).ok_or(format!(
            "by its answers the client's clock began after {lowest} µs, by its requests before {highest} µs"
        ))
    }

    /// The earliest and the latest time on the server's clock at which the client's may have begun.
    fn beginning(&self) -> Result<(i64, i64), String> {
        let arrived = pairs(&self.did, "arrived_us", &self.said, "sent_us")?;
        let highest = arrived.iter().map(|(did, said)| did - said).min().ok_or("nothing was sent")?;
        let mut lowest = i64::MIN;
        for key in ["first_token_us", "last_token_us", "end_us"] {
            // A stream that stalled was given up by the client alone.
            if key == "end_us" && self.did.iter().any(|row| row[key].is_null()) {
                continue;
            }
            // Rounding down on either side.
            let read = pairs(&self.did, key, &self.said, key)?;
            lowest = read.iter().map(|(did, said)| did - said - 1).max().unwrap_or(lowest).max(lowest);
        }
        Ok((lowest, highest + 1))
    }

    fn metric(&self, name: &str) -> Option<f64> {
        self.result["metrics"][name].as_f64()
    }

    fn count(&self, status: &str) -> usize {
        self.said.iter().filter(|row| row["status"] == status).count()
    }
}

/// The times of both sides, each sorted.
fn pairs(did: &[Value], did_key: &str, said: &[Value], said_key: &str) -> Result<Vec<(i64, i64)>, String> {
    let sorted = |rows: &[Value], key: &str| {
        let mut times: Vec<i64> = rows.iter().filter_map(|row| row[key].as_i64()).collect();
        times.sort_unstable();
        times
    };
    let (did, said) = (sorted(did, did_key), sorted(said, said_key));
    if did.len() != said.len() {
        return Err(format!(
            "{} times {did_key} on the server, {} times {said_key} in the rows",
            did.len(),
            said.len()
        ));
    }
    Ok(did.into_iter().zip(said).collect())
}

/// One mode, and what must be said of it.
struct Case {
    flags: &'static [&'static str],
    load: &'static [&'static str],
    /// The status of the answers that are no success, and how many of them there are.
    failed: Option<(&'static str, usize)>,
    /// Output tokens of a success.
    tokens: u32,
    /// Token-bearing chunks of a success.
    chunks: u32,
    source: &'static str,
    /// Of the successes, ms; `None` where there is none to tell.
    ttft: Option<f64>,
    tpot: Option<f64>,
    itl: bool,
}

const PLAIN: Case = Case {
    flags: &[],
    load: &[],
    failed: None,
    tokens: OUTPUT,
    chunks: OUTPUT,
    source: "usage",
    ttft: Some(TTFT),
    tpot: Some(TPOT),
    itl: true,
};
const CHAT: &[&str] = &["--endpoint", "/v1/chat/completions"];

fn cases() -> Vec<Case> {
    let plain = |flags| Case { flags, ..PLAIN };
    let chat = |flags| Case { flags, load: CHAT, ..PLAIN };
    let fifth = |flags, status| Case { failed: Some((status, 2)), ..plain(flags) };
    vec![
        plain(&["--mode", "plain"]),
        plain(&["--mode", "plain", "--burst", "1"]),
        chat(&["--mode", "plain"]),
        // The first chunk comes with the fourth token; gaps between chunks are not gaps between tokens.
        Case {
            ttft: Some(TTFT + 3.0 * TPOT),
            tpot: Some(8.0 * TPOT / 11.0),
            chunks: 3,
            itl: false,
            ..plain(&["--mode", "bundled"])
        },
        plain(&["--mode", "role-only"]),
        chat(&["--mode", "role-only"]),
        chat(&["--mode", "reasoning"]),
        Case { source: "chunks", tpot: None, ..plain(&["--mode", "no-usage"]) },
        plain(&["--mode", "continuous-usage"]),
        chat(&["--mode", "continuous-usage"]),
        Case { tokens: 6, chunks: 6, ..plain(&["--mode", "early-stop"]) },
        Case {
            failed: Some(("error_event", REQUESTS)),
            ttft: None,
            tpot: None,
            itl: false,
            ..chat(&["--mode", "in-band-error"])
        },
        fifth(&["--mode", "http500"], "http_5xx"),
        fifth(&["--mode", "http429"], "http_429"),
        fifth(&["--mode", "drop"], "truncated"),
        Case { load: &["--idle-timeout", "0.5"], ..fifth(&["--mode", "stall"], "timeout_idle") },
        plain(&["--mode", "split-utf8"]),
        chat(&["--mode", "split-utf8"]),
    ]
}

#[test]
fn every_mode_is_measured_right_or_said_to_be_none() {
    for threads in THREADS {
        let check = move |case| thread::spawn(move || check(&case, threads));
        let checked: Vec<_> = cases().into_iter().map(check).collect();
        let wrong: Vec<String> = checked.into_iter().filter_map(|check| check.join().unwrap().err()).collect();
        assert!(wrong.is_empty(), "{threads} threads: {}", wrong.join("\n"));
    }
}

fn check(case: &Case, threads: &str) -> Result<(), String> {
    let load = ["--concurrency", "1", "--num-prompts", "10", "--scenario", "s=20:12", "--threads", threads];
    let seen = Seen::of(&[&["--tail-ms", TAIL], case.flags].concat(), &[&load, case.load].concat());
    let wrong = |what: String| format!("{:?} {:?}: {what}\n{:#}", case.flags, case.load, seen.result);
    each(case, &seen).and_then(|()| seen.one_clock()).and_then(|()| whole(case, &seen)).map_err(wrong)
}

/// Says what is not as it must be.
fn must<T: PartialEq + std::fmt::Debug>(what: &str, said: T, true_one: T) -> Result<(), String> {
    if said == true_one { Ok(()) } else { Err(format!("{what} is {said:?} and not {true_one:?}")) }
}

/// Request by request: one at a time is under way, so that the n-th sent is the n-th that arrived.
fn each(case: &Case, seen: &Seen) -> Result<(), String> {
    must("the count of rows", seen.said.len(), REQUESTS)?;
    must("the count of arrivals", seen.did.len(), REQUESTS)?;
    for (said, did) in seen.said.iter().zip(&seen.did) {
        let failed = match did["did"].as_str().unwrap() {
            "ok" | "early_stop" => None,
            _ => case.failed.map(|(status, _)| status),
        };
        must("the status", &said["status"], &failed.unwrap_or("ok").into())?;
        must("the HTTP status", &said["http_status"], &did["status"])?;
        must("the count of chunks", said["chunks"].as_u64() == Some(0), did["first_token_us"].is_null())?;
        if failed.is_none() {
            must("the count of tokens", &said["output_tokens"], &did["tokens"])?;
            must("the count of tokens", &said["output_tokens"], &case.tokens.into())?;
            must("the count of chunks", &said["chunks"], &case.chunks.into())?;
            must("the source of counts", &said["token_source"], &case.source.into())?;
            let prompt = (case.source == "usage").then_some(INPUT);
            must("the count of prompt tokens", said["input_tokens"].as_u64(), prompt)?;
            must("the true count of prompt tokens", did["prompt_tokens"].as_u64(), Some(INPUT))?;
        }
    }
    Ok(())
}

/// The result row.
fn whole(case: &Case, seen: &Seen) -> Result<(), String> {
    let failed = case.failed.map_or(0, |(_, n)| n);
    let ok = REQUESTS - failed;
    must("the count of successes", seen.count("ok"), ok)?;
    must("completed", seen.metric("completed"), Some(ok as f64))?;
    must("failed", seen.metric("failed"), Some(failed as f64))?;
    must("success_rate", seen.metric("success_rate"), Some(ok as f64 / REQUESTS as f64))?;
    must("status", &seen.result["status"], &(if ok > 0 { "ok" } else { "failed" }).into())?;
    must("length_mismatch", seen.result["quality"]["length_mismatch"] == true, case.tokens < OUTPUT)?;
    must("whether ITL is told", seen.metric("p50_itl_ms").is_some(), case.itl)?;
    must("whether tokens per second are told", seen.metric("output_token_throughput").is_some(), {
        case.source == "usage" && ok > 0
    })?;
    // The last token comes TPOT × gaps after the first, whatever the count that TPOT divides by.
    let span = f64::from(case.tokens - 1) * TPOT;
    let e2e = case.ttft.map(|_| TTFT + span);
    within("p50_ttft_ms", seen.metric("p50_ttft_ms"), case.ttft, (1.0, LATE))?;
    within("p50_e2e_ms", seen.metric("p50_e2e_ms"), e2e, (1.0, LATE))?;
    let spread = LATE / f64::from(case.tokens - 1);
    within("p50_tpot_ms", seen.metric("p50_tpot_ms"), case.tpot, (spread, spread))?;
    within("p50_itl_ms", seen.metric("p50_itl_ms"), case.itl.then_some(TPOT), (TPOT / 2.0, TPOT / 2.0))
}

fn within(what: &str, said: Option<f64>, truth: Option<f64>, (below, above): (f64, f64)) -> Result<(), String> {
    let fits = match (said, truth) {
        (Some(said), Some(truth)) => truth - below <= said && said <= truth + above,
        (None, None) => true,
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{what} is {said:?}, and {truth:?} is true")) }
}

#[test]
fn a_server_that_stands_still_is_felt_by_all_who_were_due_meanwhile() {
    // Twenty a second, two seconds: those due in the first of them wait more than one. A client that sends the next when
    // the last is back would have felt it once.
    let flags = ["--mode", "freeze", "--freeze-ms", "2000", "--freeze-at-ms", "700"];
    let load = ["--rate", "20", "--arrivals", "constant", "--num-prompts", "70", "--scenario", "s=20:4"];
    for threads in THREADS {
        let seen = Seen::of(&flags, &[&load[..], &["--threads", threads]].concat());
        assert_eq!((seen.said.len(), seen.did.len(), seen.count("ok")), (70, 70, 70), "{:#}", seen.result);
        seen.one_clock().unwrap();
        let latency = |row: &&Value| row["first_token_us"].as_i64().unwrap() - row["due_us"].as_i64().unwrap();
        let felt = seen.said.iter().filter(|row| latency(row) > 1_000_000).count();
        assert!(felt >= 20, "{threads} threads: only {felt} of 70 waited for more than a second");
        let p99 = seen.metric("p99_ttft_ms").unwrap();
        assert!(p99 >= 1500.0, "{threads} threads: p99 is {p99} ms");
    }
}

#[test]
fn an_open_loop_sends_each_when_it_is_due_and_never_before() {
    for threads in THREADS {
        each_when_it_is_due(threads);
    }
}

fn each_when_it_is_due(threads: &str) {
    let load = ["--rate", "100", "--num-prompts", "150", "--scenario", "s=20:2", "--seed", "5", "--threads", threads];
    let seen = Seen::of(&["--ttft-ms", "30"], &load);
    assert_eq!((seen.said.len(), seen.did.len(), seen.count("ok")), (150, 150, 150), "{:#}", seen.result);
    seen.one_clock().unwrap();
    // By its answers alone the client's clock began at `beginning` or later: what arrived before its due time by that was
    // sent too early, whatever the rows say.
    let (beginning, _) = seen.beginning().unwrap();
    let due = pairs(&seen.did, "arrived_us", &seen.said, "due_us").unwrap();
    for (arrived, due) in due {
        assert!(arrived - beginning >= due, "due at {due} µs, and there at {} µs", arrived - beginning);
    }
    // A gap that is slept from request to request would let lateness add up.
    let late = seen.said.iter().map(|row| row["sent_us"].as_i64().unwrap() - row["due_us"].as_i64().unwrap());
    let mut late: Vec<i64> = late.collect();
    late.sort_unstable();
    assert!(late[0] >= 0, "sent {} µs too early", -late[0]);
    assert!(late[75] < 25_000, "half of the requests were sent {} µs late or more", late[75]);
}

#[test]
fn the_fixture_answers_whole_when_its_last_token_is_due() {
    // bench-load asks for streams only; other clients are measured against the same server.
    let folder = scratch();
    let file = folder.path().join("truth.jsonl");
    let server = Running::truth(&["--ttft-ms", "20", "--mode", "early-stop"], &file);
    let body = r#"{"prompt": "one two  three", "max_tokens": 8}"#;
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    write!(stream, "POST /v1/completions HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let whole: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(whole["choices"][0], serde_json::json!({"index": 0, "text": " a a a a", "finish_reason": "stop"}));
    let row: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let counts = (&whole["usage"]["prompt_tokens"], &whole["usage"]["completion_tokens"]);
    assert_eq!((counts, &row["tokens"]), ((&3.into(), &4.into()), &4.into()), "{row:#}");
    assert_eq!(row["first_token_us"], row["end_us"]);
    assert!(row["end_us"].as_u64().unwrap() - row["arrived_us"].as_u64().unwrap() >= 50_000, "{row:#}");
}

#[test]
fn thousands_at_once_are_stamped_when_they_leave_or_said_to_be_late() {
    for threads in ["1", "4"] {
        thousands_at_once(threads);
    }
}

fn thousands_at_once(threads: &str) {
    let load = ["--concurrency", "3000", "--num-prompts", "3000", "--scenario", "s=20:2", "--threads", threads];
    let seen = Seen::of(&["--ttft-ms", "1000"], &load);
    assert_eq!((seen.said.len(), seen.did.len(), seen.count("ok")), (3000, 3000, 3000));
    let median = |rows: &[Value], from: &str| {
        let span = |row: &Value| row["first_token_us"].as_i64().unwrap() - row[from].as_i64().unwrap();
        let mut spans: Vec<i64> = rows.iter().map(span).collect();
        spans.sort_unstable();
        spans[spans.len() / 2] / 1000
    };
    let (said, did) = (median(&seen.said, "sent_us"), median(&seen.did, "arrived_us"));
    let saturated = seen.result["quality"]["client_saturated"] == true;
    assert!(saturated || said - did < 100, "TTFT is {said} ms, and {did} ms after the request was there");
}

#[test]
fn the_number_of_threads_changes_nothing_but_times() {
    for (load, flags) in [
        (&["--rate", "150", "--scenario", "s=20:6"][..], &["--mode", "drop"][..]),
        (&["--burst", "--scenario", "s=20:6"], &["--mode", "reasoning"]),
        (&["--concurrency", "8", "--scenario", "s=20:6"], &["--mode", "bundled"]),
        (&["--rate", "150", "--scenario", "s=20:6", "--no-stream"], &["--mode", "early-stop"]),
        (&["--rate", "40", "--turns", "3", "--think", "0.02", "--scenario", "s=60:6"], &["--mode", "continuous-usage"]),
    ] {
        let rows = |threads| {
            let args = ["--num-prompts", "60", "--framework", "sim", "--threads", threads];
            let seen = Seen::of(&[flags, &["--ttft-ms", "5", "--tpot-ms", "1"]].concat(), &[load, &args].concat());
            let mut rows = seen.said;
            rows.sort_by_key(|row| row["i"].as_u64());
            for row in rows.iter_mut().filter_map(Value::as_object_mut) {
                // Which connection is free, and which chunks arrive together, depends on when things happen.
                let of_times = ["run_id", "reused_connection", "first_tokens"];
                row.retain(|key, _| !key.ends_with("_us") && !of_times.contains(&key.as_str()));
            }
            let statuses = rows.iter().map(|row| row["status"].as_str().unwrap().to_string()).collect();
            (rows, statuses)
        };
        let (one, mut of_one): (Vec<Value>, Vec<String>) = rows("1");
        of_one.sort();
        assert_eq!(one.len(), 60);
        for threads in ["2", "4"] {
            let (several, mut of_several) = rows(threads);
            of_several.sort();
            assert_eq!(of_one, of_several, "{load:?} with {threads} threads");
            if !flags.contains(&"drop") {
                assert_eq!(one, several, "{load:?} with {threads} threads");
            }
        }
    }
}
