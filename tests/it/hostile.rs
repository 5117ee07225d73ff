//! Hostile and absurd input: a message that names the limit, in bounded time and memory.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{bash, finish, program, run, scratch, write_plan};

const PROGRAMS: [&str; 8] = [
    "bench-validate",
    "bench-expand",
    "bench-serve",
    "bench-load",
    "bench-normalize",
    "bench-rank",
    "bench-sim",
    "bench-sweep",
];

const PLAN: &str = "model: sim\nhardware: {gpu_count: 1}\n\
     dataset: {num_prompts: 2, scenario_names: [s], input_len: [8], output_len: [3]}\n\
     benchmark: {max_concurrency: [2]}\nframeworks: {sim: {base_server_flags: {}}}\n";

#[test]
fn an_argument_that_is_not_text_is_a_usage_error() {
    for name in PROGRAMS {
        let folder = scratch();
        let mut command = program(name);
        command.arg(OsStr::from_bytes(b"--\xff\xfe")).arg(OsStr::from_bytes(b"\xff\xfe")).current_dir(folder.path());
        let done = run(&mut command, "");
        assert_eq!((done.code, done.signal), (Some(2), None), "{name}: {}", done.stderr);
        assert!(!done.stderr.contains("panicked"), "{name}: {}", done.stderr);
    }
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for name in PROGRAMS {
        for flag in ["--help", "--version"] {
            let done = run(&mut bash(&format!("{name} {flag} > /dev/full")), "").expect(2);
            assert!(done.stderr.contains("cannot write to standard output: No space left"), "{name}: {}", done.stderr);
            // A reader that has read enough is none.
            run(&mut bash(&format!("{name} {flag} | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}")), "").expect(0);
        }
    }
}

#[test]
fn what_never_ends_is_no_plan_and_no_data_set() {
    let folder = scratch();
    run(bash("mkfifo pipe").current_dir(folder.path()), "").expect(0);
    for (path, why) in [("pipe", "this is a named pipe or a socket"), ("/dev/zero", "this is a device")] {
        let with_file = PLAN.replace("num_prompts: 2", &format!("kind: sharegpt, path: {path}, num_prompts: 2"));
        let with_file = with_file.replace("input_len: [8], ", "").replace("scenario_names: [s], ", "");
        let plan = write_plan(folder.path(), &with_file);
        for (name, file) in [
            ("bench-validate", path),
            ("bench-expand", path),
            ("bench-validate", plan.to_str().unwrap()),
            ("bench-expand", plan.to_str().unwrap()),
        ] {
            if path == "pipe" && name == "bench-expand" && file == path {
                // Rows may come through a pipe.
                continue;
            }
            let mut command = program(name);
            let child = command.arg(file).current_dir(folder.path()).stdin(Stdio::null());
            let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let done = finish(child, Duration::from_secs(20));
            assert!(matches!(done.code, Some(1 | 2)), "{name} {file}: {done:?}");
            assert!(format!("{}{}", done.stdout, done.stderr).contains(why), "{name} {file}: {done:?}");
        }
    }
    write_plan(folder.path(), PLAN);
    let script = "bench-validate --no-preflight <(cat plan.yaml) > /dev/null && bench-validate --no-preflight - < plan.yaml > /dev/null";
    run(bash(script).current_dir(folder.path()), "").expect(0);
}

fn findings(plan: &str) -> String {
    let folder = scratch();
    let path = write_plan(folder.path(), plan);
    let done = run(program("bench-validate").arg("--no-preflight").arg(&path), "").expect(1);
    done.stdout + &done.stderr
}

#[test]
fn a_name_that_leads_out_of_a_folder_is_refused() {
    for name in ["../../evil", "/tmp/evil", "a b", ".."] {
        let plan = PLAN.replace("{sim: {base", &format!("{{\"{name}\": {{definition: sim, base"));
        assert!(findings(&plan).contains(&format!("a framework cannot be called {name:?}")), "{}", findings(&plan));
    }
    let folder = scratch();
    let definition = std::fs::read_to_string(crate::harness::fixtures().join("zoo.yaml")).unwrap();
    let definition = definition.replacen("name: zoo", "name: ../zoo", 1);
    std::fs::write(folder.path().join("evil.yaml"), definition).unwrap();
    let plan = write_plan(folder.path(), PLAN);
    let done = run(program("bench-validate").arg("--frameworks").arg(folder.path()).arg(plan), "").expect(2);
    assert!(done.stderr.contains("name: \"../zoo\" becomes a part of file names, so it must be"), "{}", done.stderr);
}

#[test]
fn numbers_that_do_not_fit_into_memory_are_refused_by_their_limit() {
    for (from, to, limit) in [
        ("num_prompts: 2", "num_prompts: 4000000000", "at least 1 and at most 1000000"),
        ("input_len: [8]", "input_len: [4000000000]", "at least 1 and at most 10000000"),
        ("output_len: [3]", "output_len: [4000000000]", "at least 1 and at most 262144"),
    ] {
        let said = findings(&PLAN.replace(from, to));
        assert!(said.contains(limit), "{said}");
    }
    let many: Vec<String> = (1..=1999).map(|n| n.to_string()).collect();
    let knobs = ["max_num_seqs", "max_num_batched_tokens", "step_base_us", "load_ms"]
        .map(|knob| format!("{knob}: [{}]", many.join(", ")));
    let plan = PLAN.replace(
        "{base_server_flags: {}}",
        &format!("{{base_server_flags: {{}}, search_space: {{{}}}}}", knobs.join(", ")),
    );
    let said = findings(&format!("{plan}search: {{strategy: pairwise}}\n"));
    assert!(
        said.contains("have 23976006 pairs, and strategy pairwise takes at most 1000000"),
        "{}",
        &said[..said.len().min(2000)]
    );
    for (flags, limit) in [
        (["--scenario", "s=8:3", "--num-prompts", "4000000000"], "1..=1000000"),
        (["--scenario", "s=4000000000:3", "--num-prompts", "2"], "at most 10000000 tokens"),
        (["--scenario", "s=8:4000000000", "--num-prompts", "2"], "at most 262144 tokens"),
    ] {
        let done =
            run(program("bench-load").args(["--url", "http://127.0.0.1:1", "--concurrency", "1"]).args(flags), "");
        assert!(done.expect(2).stderr.contains(limit), "{flags:?}");
    }
}

#[test]
fn a_list_of_a_million_models_is_not_read() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let mut out = stream;
            let body = format!("{{\"data\":[{}{{}}]}}", "{\"id\":\"m\"},".repeat(1_000_000));
            // The client hangs up.
            let _ = write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    let arguments = ["--url", &url, "--scenario", "s=8:3", "--concurrency", "1", "--num-prompts", "2"];
    let done = run(program("bench-load").args(arguments), "").expect(2);
    assert!(done.stderr.contains("the response is larger than 4 MiB"), "{}", done.stderr);
}

#[test]
fn control_characters_are_shown_as_escapes_in_every_report() {
    let odd = "a\u{1b}[31mb\u{7}c\u{9b}d\u{202e}e";
    let rows: String = ["ok", "failed"]
        .iter()
        .map(|status| {
            let row = serde_json::json!({"record": "result", "schema_version": 1, "framework": odd, "candidate_id": format!("{odd}-{status}"),
                "model": odd, "status": status, "failure_reason": odd, "server_command": format!("serve {odd}"),
                "benchmark_command": odd, "workload": {"scenario": odd, "request_rate": 1.0, "endpoint": odd},
                "candidate": {"changed": {odd: odd}, "baseline": false, "of": 1, "index": 0}, "caveats": [odd],
                "metrics": {"request_throughput": 1.0, "output_token_throughput": 1.0, "completed": 1.0}});
            format!("{row}\n")
        })
        .collect();
    for format in ["md", "table", "csv", "html"] {
        let done = run(program("bench-rank").args(["--format", format]), &rows);
        let raw = done.stdout.chars().find(|c| (c.is_control() && *c != '\n' && *c != '\r') || *c == '\u{202e}');
        assert_eq!(raw, None, "{format}: {}", done.stdout.escape_debug());
        assert!(done.stdout.contains("u{1b}") || done.stdout.contains("u\\{1b"), "{format}: {}", done.stdout);
        assert!(!done.stderr.contains('\u{1b}'), "{}", done.stderr.escape_debug());
    }
    let page = run(program("bench-rank").args(["--format", "html"]), &rows).stdout;
    assert!(!page.contains("unsafe-inline") && page.contains("script-src 'sha256-"), "{}", &page[..600]);
}
