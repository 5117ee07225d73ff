//! bench-load --check against a server that knows the answers, and gives them well or badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Output, bash, program, run, scratch, write_plan};

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// Right.
    Right,
    /// Right, after a pause.
    Slow,
    /// Every tenth answer is wrong.
    Wrong,
    /// Of 64 answers one is that of the request before it, while others are in flight.
    Previous,
    /// Every answer is cut after one character, as by a token limit.
    Cut,
    /// One token, over and over.
    Stuck,
    /// Words that have nothing to do with the question.
    Words,
    /// Right, with half a character in every twentieth.
    BadUtf8,
    /// The chat endpoint is missing.
    NoChat,
}

/// Lengths of texts that only one answer has: a nonce, and the code of a record.
const NONCES: [usize; 2] = [14, 9];

/// What all connections share.
struct TruthServer {
    truth: Truth,
    count: AtomicUsize,
    /// Answers that came after one with a nonce.
    nonces: AtomicUsize,
    last: Mutex<String>,
}

/// Starts a server on a free port, for the rest of the test; its URL.
fn serve(truth: Truth) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::new(TruthServer {
        truth,
        count: AtomicUsize::new(0),
        nonces: AtomicUsize::new(0),
        last: Mutex::default(),
    });
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let server = Arc::clone(&server);
            thread::spawn(move || server.answer(stream));
        }
    });
    url
}

/// The right answer to a question of bench-load.
fn solve(prompt: &str) -> String {
    let numbers = |text: &str| -> Vec<i64> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    if let Some((_, nonce)) = prompt.split_once("nothing else: ") {
        return nonce.trim_end_matches("\nAnswer:").into();
    }
    if let Some((records, name)) = prompt.split_once("What is the code of record ") {
        let name = name.split('?').next().unwrap();
        let line = records.lines().find(|line| line.starts_with(&format!("Record {name} "))).unwrap();
        return line.rsplit(' ').next().unwrap().trim_end_matches('.').into();
    }
    if let Some(list) = prompt.strip_prefix("Sort these numbers from smallest to largest: ") {
        let mut all = numbers(list);
        all.sort_unstable();
        return all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    }
    if let Some(sum) = prompt.strip_prefix("What is ") {
        let [a, b] = numbers(sum)[..] else { panic!("{prompt}") };
        let answer = match sum.split(' ').nth(1) {
            Some("+") => a + b,
            Some("-") => a - b,
            _ => a * b,
        };
        return answer.to_string();
    }
    format!("It is well known: {prompt}")
}

fn is_nonce(text: &str) -> bool {
    NONCES.contains(&text.len()) && text.contains('-')
}

impl TruthServer {
    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line).unwrap();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, body) = self.reply(line.split(' ').nth(1).unwrap_or_default(), &body);
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // The client may have left.
        let _ = reader.get_mut().write_all(&[head.as_bytes(), &body].concat());
    }

    fn reply(&self, path: &str, body: &[u8]) -> (u32, Vec<u8>) {
        if path == "/v1/models" {
            return (200, json!({"data": [{"id": "m"}]}).to_string().into_bytes());
        }
        let chat = path == "/v1/chat/completions";
        if chat && self.truth == Truth::NoChat {
            return (404, b"no".to_vec());
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        if (&body["temperature"], &body["stream"]) != (&json!(0), &json!(false)) {
            return (400, b"a question is greedy and has its answer in one piece".to_vec());
        }
        let prompt = if chat { &body["messages"][0]["content"] } else { &body["prompt"] };
        let right = solve(prompt.as_str().unwrap());
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let before = std::mem::replace(&mut *self.last.lock().unwrap(), right.clone());
        let (text, finish) = match self.truth {
            Truth::Slow => {
                thread::sleep(Duration::from_millis(5));
                (right, "stop")
            }
            Truth::Wrong if n % 10 == 3 => ("I do not know".into(), "stop"),
            // Of about 164 answers with a nonce these are four: one in 64 of all.
            Truth::Previous if is_nonce(&before) && self.nonces.fetch_add(1, Ordering::Relaxed) % 41 == 5 => {
                (before, "stop")
            }
            Truth::Cut => (right.chars().take(1).collect(), "length"),
            Truth::Stuck => ("the ".repeat(60), "length"),
            // No digits: one in some thousand of them would be the right answer.
            Truth::Words => {
                let word = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>();
                (format!("river {word} of the moon"), "stop")
            }
            Truth::BadUtf8 if n % 20 == 3 => (format!("{right} \u{1}"), "stop"),
            Truth::Right | Truth::Wrong | Truth::Previous | Truth::BadUtf8 | Truth::NoChat => (right, "stop"),
        };
        let choice = match chat {
            true => json!({"message": {"role": "assistant", "content": text}, "finish_reason": finish}),
            false => json!({"text": text, "finish_reason": finish}),
        };
        let answer = json!({"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 4}}).to_string();
        // Half of a two-byte character.
        let bytes = answer.replace("\\u0001", "\u{e9}").into_bytes();
        let bytes = if answer.contains("\\u0001") { bytes.into_iter().filter(|b| *b != 0xa9).collect() } else { bytes };
        (200, bytes)
    }
}

/// The check of a server; with a reference, compared with that file.
fn check(url: &str, more: &[&str]) -> Output {
    run(program("bench-load").args(["--check", "--url", url]).args(more), "").expect(0)
}

/// What bench-normalize makes of rows is compared in the pipeline's own tests: here it is what the row of the answers says.
fn verdict(done: &Output) -> (String, String) {
    let rows = done.records("check");
    let own = |row: &&Value| row["reference"] != true && row["part"] == "answers";
    let row = rows.iter().find(own).unwrap_or_else(|| panic!("{}", done.stderr));
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
    (text("verdict"), text("reason"))
}

#[test]
fn every_way_to_answer_has_its_verdict() {
    let folder = scratch();
    let file = folder.path().join("reference.jsonl");
    let alone = check(&serve(Truth::Right), &["--concurrency", "1"]);
    std::fs::write(&file, &alone.stdout).unwrap();
    assert_eq!(verdict(&alone).0, "same", "{}", alone.stderr);
    let reference = ["--reference", file.to_str().unwrap()];
    for (truth, wanted, said) in [
        (Truth::Right, "same", "200 questions, 0 lost, 0 won against its baseline (p = 1)"),
        (Truth::Slow, "same", "0 lost"),
        (Truth::BadUtf8, "same", "0 lost"),
        (Truth::Wrong, "worse", "lost, 0 won"),
        (Truth::Previous, "cross_talk", "the nonce of another request"),
        (Truth::Cut, "undetermined", "raise check.max_tokens"),
        (Truth::Stuck, "worse", "200 lost, 0 won"),
        (Truth::Words, "worse", "200 lost, 0 won"),
    ] {
        let done = check(&serve(truth), &reference);
        let (verdict, reason) = verdict(&done);
        assert_eq!(verdict, wanted, "{truth:?}: {reason}");
        assert!(reason.contains(said), "{truth:?}: {reason}");
        let warned = done.stderr.contains("invalid UTF-8");
        assert_eq!(warned, truth == Truth::BadUtf8, "{truth:?}: {}", done.stderr);
    }
    // Another endpoint has another template: its answers are not compared with that reference.
    let done = check(&serve(Truth::NoChat), &reference);
    assert!(done.stderr.contains("another endpoint"), "{}", done.stderr);
    assert_eq!(verdict(&done).0, "", "a verdict needs a reference");
}

#[test]
fn a_server_is_its_own_reference_and_words_are_undetermined() {
    let done = check(&serve(Truth::Words), &["--check-questions", "40"]);
    let rows = done.records("check");
    let parts: Vec<_> = rows.iter().map(|row| (row["reference"] == true, row["part"].as_str().unwrap())).collect();
    let wanted = [
        (true, "answers"),
        (true, "shape"),
        (true, "agreement"),
        (false, "cross_talk"),
        (false, "answers"),
        (false, "shape"),
        (false, "agreement"),
    ];
    assert_eq!(parts, wanted, "{}", done.stderr);
    assert_eq!(verdict(&done).0, "undetermined");
    assert!(done.stderr.contains("repeated only 0 of 64 nonces"), "{}", done.stderr);
    assert!(rows.iter().all(|row| row["in_flight"] == if row["reference"] == true { 1 } else { 16 }));
}

#[test]
fn questions_of_the_user_are_asked_and_wrong_ones_are_refused_with_their_line() {
    let folder = scratch();
    let file = folder.path().join("questions.jsonl");
    let rows = [
        r#"{"prompt":"What is 2 + 3? Say it.","answer":"5","extract":"number"}"#,
        r#"{"question":"What is 4 * 5?","answer":"4 * 5 = 20\n#### 20"}"#,
        r#"{"prompt":"What is 7 - 4?","answer":"4","extract":"exact"}"#,
    ];
    std::fs::write(&file, rows.join("\n")).unwrap();
    let done = check(&serve(Truth::Right), &["--check-file", file.to_str().unwrap()]);
    let answers: Vec<Value> = done.records("check").into_iter().filter(|row| row["part"] == "answers").collect();
    assert!(answers.iter().all(|row| row["outcomes"] == "++-" && row["asked"] == 3), "{answers:?}");
    std::fs::write(&file, format!("{}\n{{\"prompt\":\"x\",\"answer\":\"y\"}}\n", rows[0])).unwrap();
    let args = ["--check", "--url", &serve(Truth::Right), "--check-file", file.to_str().unwrap()];
    let done = run(program("bench-load").args(args), "").expect(2);
    assert!(done.stderr.contains("questions.jsonl:2") && done.stderr.contains("extract is missing"), "{}", done.stderr);
}

/// A plan with two candidates of bench-sim.
const PLAN: &str = "
schema_version: 1
model: sim
hardware: {gpu_count: 1}
dataset: {kind: random, num_prompts: 12, scenario_names: [chat], input_len: [64], output_len: [16]}
benchmark: {warmup_requests: 1, max_concurrency: [4]}
check: {candidates: CANDIDATES, questions: 12, max_tokens: 16}
frameworks:
  sim:
    base_server_flags: {max_model_len: 4096, step_base_us: STEP, max_num_seqs: 8}
    search_space: {step_base_us: [1000, 100]}
";

#[test]
fn a_plan_checks_its_candidates_after_their_runs() {
    // The servers, and whose answers were checked, the reference apart.
    let sweep = |candidates: &str, step: &str, flags: &str| {
        let folder = scratch();
        let plan = write_plan(folder.path(), &PLAN.replace("CANDIDATES", candidates).replace("STEP", step));
        let script = format!("bench-expand {} | bench-serve | bench-load {flags}", plan.display());
        let done = run(bash(&script).current_dir(folder.path()), "").expect(0);
        let servers: Vec<String> =
            done.records("server").iter().map(|row| row["server_id"].as_str().unwrap().to_string()).collect();
        let rows = done.records("check");
        let own = |server: &&String| {
            let of = |row: &Value| row["server_id"] == server.as_str() && row["part"] == "answers";
            rows.iter().any(|row| of(row) && row["reference"] != true)
        };
        let checked: Vec<usize> = (0..servers.len()).filter(|i| own(&&servers[*i])).collect();
        let references = rows.iter().filter(|row| row["reference"] == true && row["part"] == "answers").count();
        let results = run(&mut program("bench-normalize"), &done.stdout).expect(0).records("result");
        let verdicts: Vec<Value> = results.iter().map(|row| row["quality"]["answers"]["verdict"].clone()).collect();
        // Of each server that was measured some greedy answers are compared, unless nothing is checked.
        let compared = |row: &Value| row["quality"]["answers"]["agreement"].is_number();
        assert!(results.iter().all(|row| compared(row) != row["quality"].get("answers").is_none()), "{results:#?}");
        (servers.len(), checked, references, verdicts)
    };
    let words = |all: &[&str]| all.iter().map(|word| json!(word)).collect::<Vec<_>>();
    // The words of bench-sim answer nothing.
    let both = words(&["undetermined", "undetermined"]);
    assert_eq!(sweep("all", "1000", ""), (2, vec![0, 1], 1, both.clone()));
    // The second is faster than the baseline, so both were the best when they ran.
    assert_eq!(sweep("winners", "1000", ""), (2, vec![0, 1], 1, both));
    // The second is far slower.
    let first = words(&["undetermined", "not_checked"]);
    assert_eq!(sweep("winners", "100", ""), (2, vec![0], 1, first));
    assert_eq!(sweep("all", "1000", "--check none"), (2, vec![], 0, vec![Value::Null, Value::Null]));
}

#[test]
fn a_baseline_that_answered_in_an_earlier_pipe_is_not_asked_again() {
    let folder = scratch();
    let plan = PLAN.replace("CANDIDATES", "all").replace("STEP", "1000");
    std::fs::write(folder.path().join("plan.yaml"), plan).unwrap();
    let script = "bench-expand -q plan.yaml > all && sed -n 1p all | bench-serve -q | bench-load -q > raw1.jsonl && \
        sed -n 2p all | bench-serve -q | bench-load FLAGS > raw2.jsonl && cat raw1.jsonl raw2.jsonl";
    let pipes = |flags: &str| run(bash(&script.replace("FLAGS", flags)).current_dir(folder.path()), "").expect(0);
    let answers = |done: &Output| -> Vec<(bool, String)> {
        let rows = done.records("check").into_iter().filter(|row| row["part"] == "answers");
        rows.map(|row| (row["reference"] == true, row["reason"].as_str().unwrap_or_default().to_string())).collect()
    };
    let done = pipes("--earlier raw1.jsonl");
    let rows = answers(&done);
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [true, false, false], "{}", done.stderr);
    assert!(rows[2].1.contains("against its baseline"), "{}", done.stderr);
    assert!(!done.stderr.contains("no check of its baseline"), "{}", done.stderr);
    // Without it only bench-normalize knows.
    assert!(pipes("").stderr.contains("no check of its baseline"));
    // The baseline again: its answers are there already.
    let again = script.replace("sed -n 2p", "sed -n 1p").replace("FLAGS", "--earlier raw1.jsonl");
    let rows = answers(&run(bash(&again).current_dir(folder.path()), "").expect(0));
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [true, false, false]);
    // A row that was cut, or is wrong, is said with its place.
    let bad = "sed -i 's/\"outcomes\":\"./\"outcomes\":\"x/' raw1.jsonl; sed -n 2p all | bench-serve -q | bench-load --earlier raw1.jsonl";
    let done = run(bash(bad).current_dir(folder.path()), "");
    assert!(done.stderr.contains("raw1.jsonl:") && done.stderr.contains("unknown outcome 'x'"), "{}", done.stderr);
}
