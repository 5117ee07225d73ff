//! Secrets planted in every way, sought in everything that is written.

use std::path::Path;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Mark, Running, bash, fixtures, program, run, scratch};

/// Values that nobody would take for a secret by their looks, and one that is written differently by everybody.
const VALUES: [&str; 4] = ["correcthorse", "918273645546", "/run/secret", r#"p@ss w0rd/"x""#];

/// What must not stand anywhere: a value in each form.
fn forms(value: &str) -> Vec<String> {
    let json = serde_json::Value::from(value).to_string();
    let percent = |lower: bool| -> String {
        let one = |c: char| if lower { format!("%{:02x}", c as u32) } else { format!("%{:02X}", c as u32) };
        value.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { one(c) }).collect()
    };
    let basic = STANDARD.encode(format!("me:{value}"));
    vec![value.into(), json[1..json.len() - 1].into(), percent(true), percent(false), basic[4..].into()]
}

/// The text of every file in a folder, by its path.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(texts(&path)),
            path => {
                found.push((path.display().to_string(), String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into()))
            }
        }
    }
    found
}

#[track_caller]
fn hidden(folder: &Path, value: &str) -> Vec<(String, String)> {
    let texts = texts(folder);
    for (path, text) in &texts {
        for form in forms(value) {
            let line = text.lines().find(|line| line.contains(&form));
            assert!(line.is_none(), "{form} of {value} stands in {path}:\n{}", line.unwrap_or_default());
        }
    }
    texts
}

/// Runs `script` in a folder of its own for each value, all at once, with the value as a header, a key and a variable.
fn planted(script: &'static str, plan: &'static str, check: fn(&Path, &str, &[(String, String)])) {
    let each = VALUES.map(|value| {
        thread::spawn(move || {
            let (folder, mark) = (scratch(), Mark::new("planted"));
            std::fs::write(folder.path().join("plan.yaml"), plan).unwrap();
            let mut command = bash(script);
            command.current_dir(folder.path()).env("FIXTURES", fixtures()).env("XTEAM", value);
            command.env("BENCH_API_KEY", value).env("DB_PASSWORD", value);
            let done = run(mark.put(&mut command), "");
            std::fs::write(folder.path().join("said"), done.stdout + &done.stderr).unwrap();
            let texts = hidden(folder.path(), value);
            check(folder.path(), value, &texts);
        })
    });
    each.into_iter().for_each(|one| one.join().unwrap());
}

fn text<'a>(texts: &'a [(String, String)], name: &str) -> &'a str {
    texts.iter().find(|(path, _)| path.ends_with(name)).map_or_else(|| panic!("there is no {name}"), |(_, text)| text)
}

#[test]
fn a_server_that_repeats_what_it_was_sent_gives_nothing_away() {
    const PLAN: &str = "model: zoo\nhardware: {gpu_count: 1}\n\
         dataset: {num_prompts: 2, scenario_names: [s], input_len: [8], output_len: [3]}\n\
         benchmark: {max_concurrency: [2], warmup_requests: 1, headers: {X-Team: \"${XTEAM}\"}}\n\
         frameworks:\n\
         \x20 error: {definition: zoo, base_server_flags: {echoes: \"error,log,version\"}}\n\
         \x20 finish: {definition: zoo, base_server_flags: {echoes: \"finish,version\"}}\n\
         \x20 stream: {definition: zoo, base_server_flags: {echoes: stream}}\n\
         \x20 ready: {definition: zoo, base_server_flags: {echoes: ready}}\n";
    const SCRIPT: &str = r#"
        f="--frameworks $FIXTURES"
        bench-validate $f --no-preflight --format jsonl plan.yaml > plan.jsonl
        bench-expand $f plan.jsonl | bench-serve $f --artifacts logs --ready-timeout 2 | bench-load $f > raw.jsonl
        bench-normalize raw.jsonl > results.jsonl
        for format in md table csv jsonl html; do bench-rank --format $format results.jsonl > report.$format; done; true"#;
    planted(SCRIPT, PLAN, |_, _, texts| {
        let raw = text(texts, "raw.jsonl");
        for part in [
            "you sent",
            "not_ready",
            "\"finish_reason\":\"Bearer [REDACTED",
            "\"framework_version\":\"Bearer [REDACTED",
        ] {
            assert!(raw.contains(part), "{part} is not in\n{raw}");
        }
        assert!(texts.iter().any(|(path, text)| path.ends_with("server.log") && text.contains("[REDACTED")));
        assert!(text(texts, "report.md").contains("# "));
    });
}

#[test]
fn a_program_of_the_chain_form_gives_nothing_away() {
    const PLAN: &str = "model: zoo\nhardware: {gpu_count: 1}\n\
         dataset: {num_prompts: 2, scenario_names: [s], input_len: [8], output_len: [3]}\n\
         benchmark: {max_concurrency: [2], headers: {X-Team: \"${XTEAM}\"}}\nframeworks:\n\
         \x20 zoo: {base_server_flags: {}}\n";
    const SCRIPT: &str = r#"
        client='cat; json=$(printf %s "$XTEAM" | sed "s/\"/\\\\\"/g"); echo "{\"status\": \"$json\", \"n\": 7}"
                echo "{\"record\": \"other\", \"said\": \"$json\"}"; echo "stdout $XTEAM"; echo "stderr $XTEAM" >&2
                echo "{\"record\": \"result\", \"model\": \"$json\", \"framework\": \"zoo\"}"; echo "{\"$json\": 1}"
                case $XTEAM in [0-9]*) echo "{\"number\": $XTEAM}";; esac; printf "bar $DB_PASSWORD\r no end $XTEAM" >&2'
        bench-expand --frameworks $FIXTURES plan.yaml | bench-serve --frameworks $FIXTURES --artifacts logs -- sh -c "$client" > raw.jsonl"#;
    planted(SCRIPT, PLAN, |_, _, texts| {
        let (raw, said) = (text(texts, "raw.jsonl"), text(texts, "/said"));
        assert!(raw.contains(r#""payload":{"status":"[REDACTED:value]","n":7}"#), "{raw}");
        assert!(raw.contains(r#""said":"[REDACTED:value]""#), "{raw}");
        assert!(raw.contains(r#""model":"[REDACTED:value]","framework":"zoo""#), "{raw}");
        assert!(raw.contains(r#""payload":{"[REDACTED:value]":1}"#), "{raw}");
        for part in ["stdout [REDACTED", "stderr [REDACTED", "bar [REDACTED", "no end [REDACTED"] {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
    });
}

#[test]
fn headers_of_the_command_line_and_files_of_other_clients_give_nothing_away() {
    for value in VALUES {
        let (folder, server) = (scratch(), Running::zoo(&["--echoes", "error"]));
        let file = serde_json::json!({"date": "20260101-000000", "backend": "vllm", "model_id": "m", "tokenizer_id": "m",
            "num_prompts": 4, "request_rate": 1.0, "max_concurrency": 2, "duration": 2.0, "completed": 4,
            "total_input_tokens": 40, "total_output_tokens": 40, "request_throughput": 2.0, "output_throughput": 20.0,
            "label": value, "errors": [format!("sent {value}")]});
        std::fs::write(folder.path().join("vllm.json"), file.to_string()).unwrap();
        let mut command = bash(
            "bench-load --url \"$URL\" --scenario s=8:3 --concurrency 2 --num-prompts 2 --header 'X-Team: ${XTEAM}' > raw.jsonl\n\
             bench-load --url \"$URL\" --scenario \"$DB_PASSWORD\"\nbench-rank \"$DB_PASSWORD\"\n\
             bench-normalize raw.jsonl | tee results.jsonl | bench-rank > report.md\n\
             bench-normalize vllm.json --set run.run_id=r --set framework=vllm > other.jsonl; true",
        );
        command.current_dir(folder.path()).env("URL", &server.url).env("XTEAM", value).env("DB_PASSWORD", value);
        let done = run(&mut command, "");
        std::fs::remove_file(folder.path().join("vllm.json")).unwrap();
        std::fs::write(folder.path().join("said"), &done.stderr).unwrap();
        let texts = hidden(folder.path(), value);
        assert!(text(&texts, "raw.jsonl").contains("you sent"), "{}", done.stderr);
    }
}

#[test]
fn what_a_sweep_writes_is_for_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, mark) = (scratch(), Mark::new("modes"));
    let plan = "model: sim\nhardware: {gpu_count: 1}\n\
                dataset: {num_prompts: 2, scenario_names: [s], input_len: [8], output_len: [3]}\n\
                benchmark: {max_concurrency: [2]}\nframeworks: {sim: {base_server_flags: {load_ms: 20}}}\n";
    std::fs::write(folder.path().join("plan.yaml"), plan).unwrap();
    for (umask, most) in [("000", 0o640), ("077", 0o600)] {
        let script = format!("umask {umask}; bench-sweep plan.yaml --out {umask}");
        run(mark.put(bash(&script).current_dir(folder.path())), "").expect(0);
        let mut artifacts = 0;
        for (path, _) in texts(&folder.path().join(umask)) {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let is_artifact = path.contains("/logs/") || path.contains("/help/");
            artifacts += usize::from(is_artifact);
            let wanted = if is_artifact { 0o600 } else { most };
            assert_eq!(mode, wanted, "{mode:o} {path}, umask {umask}");
        }
        assert!(artifacts >= 2, "{artifacts}");
    }
}

#[test]
fn an_argument_that_a_program_refuses_is_repeated_without_secrets() {
    for value in VALUES {
        let mut command = program("bench-load");
        let done = run(command.env("DB_PASSWORD", value).args(["--scenario", value]), "").expect(2);
        assert!(done.stderr.contains("[REDACTED:value]") && !done.stderr.contains(value), "{}", done.stderr);
    }
}

#[test]
fn what_is_in_a_file_with_a_key_is_a_secret() {
    let folder = scratch();
    std::fs::write(folder.path().join("token"), "quietkeyfile\n").unwrap();
    let mut command = program("bench-load");
    command.env("HF_TOKEN_PATH", folder.path().join("token")).args(["--scenario", "quietkeyfile"]);
    let done = run(&mut command, "").expect(2);
    assert!(done.stderr.contains("[REDACTED:value]"), "{}", done.stderr);
}
