//! The commands of the man pages are run as they are written: those of bench-NAME(1) are the examples of its --help.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::docs::assert_flags_exist;
use crate::harness::{Mark, Running, bash, fixtures, json_lines, root, run, scratch};
use crate::pages::{SHAREGPT, in_folder, lacks_jq, reader_host, replaced};

/// In which what a page started has ended.
pub const SOON: Duration = Duration::from_secs(20);
/// A plan with what the examples name: two stages, speculative decoding, vLLM and a scenario of each name.
const PLAN: &str = "
model: Qwen/Qwen3-32B
hardware: {gpu_count: 1}
dataset: {num_prompts: 2, scenario_names: [chat, summarization], input_len: [8, 16], output_len: [2, 2]}
benchmark: {max_concurrency: [2], warmup_requests: 0}
sla: {max_p50_ttft_ms: 5000}
search: {max_candidates_per_framework: 4, stages: 2}
frameworks:
  vllm:
    base_server_flags: {max_model_len: 4096, max_num_seqs: 32}
    search_space: {max_num_seqs: [64], speculative_config: [{method: ngram, num_speculative_tokens: 3}]}
";
/// Sizes of the pages, and those of the tests; folders and hosts that only a reader has.
const SMALLER: [(&str, &str); 9] = [
    ("--slots 0-3,4-7", "--slots 0,1"),
    ("--rate 4 ", "--rate 4 --num-prompts 4 "),
    ("--rate 2 ", "--rate 2 --num-prompts 2 "),
    ("chat=1000:200", "chat=16:4"),
    ("chat=200:40", "chat=16:4"),
    ("bench-load --check --url", "bench-load --check --check-questions 4 --url"),
    ("--check-file test.jsonl", "--check-file test.jsonl --check-questions 1"),
    ("gpu-host", "127.0.0.1"),
    ("/shared/", "shared/"),
];
/// Behind a command that serves at a terminal until Ctrl-C: a test has none, so a client ends it.
const CLIENT: &str = " | bench-load > served.jsonl";
/// What cannot be run here, and what it needs.
const NEEDS: [(&str, &str); 5] = [
    ("scripts/sweep-slurm plan.yaml", "a Slurm cluster"),
    ("scripts/sweep-slurm --status", "a Slurm cluster"),
    ("scripts/sweep-parallel", "hosts with ssh"),
    ("curl -O https://", "a network"),
    ("sha256sum test.jsonl", "the file from the network"),
];
/// Answers other than 0 that a command of a page gives here.
const ANSWERS: [(&str, i32, &str); 6] = [
    ("--rate 4 --sla", 1, "on a busy host the client falls behind its schedule"),
    ("--deploy --as systemd", 2, "of two prompts, each scenario may have a winner of its own"),
    ("bench-sweep --stop", 1, "no sweep runs any more"),
    ("bench-sweep quickstart", 4, "the second time everything is measured"),
    ("bench-sweep plan.yaml --fit", 4, "an earlier command has measured everything"),
    ("bench-sweep plan.yaml --part", 4, "a small plan has no third part of 16"),
];

/// The text of a line of a page.
pub fn text(line: &str) -> String {
    let fonts = ["\\fI", "\\fB", "\\fR", "\\&"].iter().fold(line.to_string(), |line, font| line.replace(font, ""));
    fonts.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")
}

/// The commands of a page: the lines without fill that begin with a program of ours, a script of ours, or what a page says to run
/// before them; without what is said of them behind two spaces.
pub fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for line in page.lines() {
        match line {
            ".nf" => inside = true,
            ".fi" => inside = false,
            line if inside && goes_on => {
                *commands.last_mut().unwrap() += &format!(" {}", text(line).trim());
                goes_on = line.ends_with('|');
            }
            line if inside => {
                let line = text(line);
                if ["bench-", "scripts/", "curl ", "sha256sum "].iter().any(|start| line.starts_with(start)) {
                    goes_on = line.ends_with('|');
                    commands.push(line.split("  ").next().unwrap_or_default().to_string());
                }
            }
            _ => {}
        }
    }
    commands
}

/// What the reader of a page has: a plan, engines, rows of a sweep, results of other clients.
pub fn reader(folder: &Path) {
    host(folder);
    let (rows, raw) = measured();
    for name in ["runs", "raw", "sweep", "shared", "results/part-1/raw"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for name in ["results.jsonl", "old.jsonl", "last-release.jsonl", "results/earlier.jsonl"] {
        fs::write(folder.join(name), rows).unwrap();
    }
    for name in ["raw/0001.jsonl", "results/part-1/raw/0001.jsonl"] {
        fs::write(folder.join(name), raw).unwrap();
    }
    let native = fixtures().join("native");
    for (from, to) in [
        (native.join("plain/vllm-0.33.0.json"), "vllm.json"),
        (native.join("plain/sglang-0.5.23.jsonl"), "sglang.jsonl"),
        (native.join("plain/guidellm-0.8.1.json"), "guidellm.json"),
        (fixtures().join("corpus/vllm-tiny-seqs4-chat-c4-run1.json"), "runs/vllm-seqs4-chat-c4-run1.json"),
        (fixtures().join("corpus/vllm-tiny-seqs16-chat-c4-run1.json"), "runs/vllm-seqs16-chat-c4-run1.json"),
    ] {
        fs::copy(from, folder.join(to)).unwrap();
    }
    symlink(native.join("real-vllm-0.32.0/sweep/results"), folder.join("sweep/results")).unwrap();
    symlink(root().join("configs"), folder.join("configs")).unwrap();
    fs::write(folder.join("ShareGPT.json"), SHAREGPT).unwrap();
    fs::write(folder.join("test.jsonl"), "{\"question\": \"One and one?\", \"answer\": \"#### 2\"}\n").unwrap();
    // The client of another project, which prints its result.
    let client = folder.join("my-client");
    fs::write(&client, format!("#!/bin/sh\ncat {}\n", folder.join("vllm.json").display())).unwrap();
    fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A plan, and the host that it is for.
fn host(folder: &Path) {
    reader_host(folder);
    fs::write(folder.join("plan.yaml"), PLAN).unwrap();
}

/// Result rows and raw rows of the plan, measured once.
fn measured() -> &'static (String, String) {
    static ROWS: OnceLock<(String, String)> = OnceLock::new();
    ROWS.get_or_init(|| {
        let folder = scratch();
        host(folder.path());
        let mut sweep = bash("bench-sweep plan.yaml --out out");
        run(in_folder(&mut sweep, folder.path()), "").expect(0);
        let read = |name: &str| fs::read_to_string(folder.path().join("out").join(name)).unwrap();
        (clear(&read("results.jsonl")), read("raw/0001.jsonl"))
    })
}

/// These results with a winner that is no tie: the engine is the same for all candidates.
fn clear(rows: &str) -> String {
    let mut rows = json_lines(rows);
    for row in rows.iter_mut().filter(|row| row["server"]["flags"]["max_num_seqs"] == 64 && row["status"] == "ok") {
        let doubled = row["metrics"]["request_throughput"].as_f64().unwrap() * 2.0;
        row["metrics"]["request_throughput"] = doubled.into();
    }
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// What a command needs that a test does not have.
pub fn needs(command: &str) -> Option<&'static str> {
    NEEDS.iter().find(|(start, _)| command.starts_with(start)).map(|(_, what)| *what)
}

/// Runs the commands of a page one after the other in one folder, beside a server on the port that the page names.
fn run_page(name: &str) {
    if lacks_jq() {
        return;
    }
    let page = fs::read_to_string(root().join("man").join(name)).unwrap();
    let folder = scratch();
    reader(folder.path());
    let mut server = Running::sim(&["--max-num-seqs", "32", "--step-base-us", "300"]);
    let mark = Mark::new("man");
    let mut ran = 0;
    for command in commands(&page).iter().filter(|command| needs(command).is_none()) {
        ran += 1;
        // The server of the page takes the place of ours.
        if let Some(flags) = command.strip_prefix("bench-sim --port 8000") {
            server = Running::sim(&flags.split_whitespace().collect::<Vec<_>>());
            continue;
        }
        let smaller = replaced(command, &SMALLER).replace("8000", server.url.rsplit(':').next().unwrap());
        let client = if command.ends_with("| bench-serve") { CLIENT } else { "" };
        let mut bash = bash(&format!("{smaller}{client}"));
        let done = run(mark.put(in_folder(&mut bash, folder.path())), "");
        let answers = ANSWERS.iter().filter(|(part, ..)| command.contains(part)).map(|(_, status, _)| *status);
        let known: Vec<i32> = answers.chain([0]).collect();
        assert!(done.code.is_some_and(|code| known.contains(&code)), "{name}: {smaller}: {done:#?}");
    }
    assert!(ran > 0, "{name}: no command was found");
    mark.gone_within(SOON);
}

#[test]
fn the_commands_of_bench_validate_1() {
    run_page("bench-validate.1");
}

#[test]
fn the_commands_of_bench_expand_1() {
    run_page("bench-expand.1");
}

#[test]
fn the_commands_of_bench_serve_1() {
    run_page("bench-serve.1");
}

#[test]
fn the_commands_of_bench_load_1() {
    run_page("bench-load.1");
}

#[test]
fn the_commands_of_bench_normalize_1() {
    run_page("bench-normalize.1");
}

#[test]
fn the_commands_of_bench_rank_1() {
    run_page("bench-rank.1");
}

#[test]
fn the_commands_of_bench_sim_1() {
    run_page("bench-sim.1");
}

#[test]
fn the_commands_of_bench_sweep_1() {
    run_page("bench-sweep.1");
}

#[test]
fn the_commands_of_bench_7() {
    run_page("bench.7");
}

#[test]
fn every_page_is_run_and_what_is_not_run_is_shell_with_flags_that_exist() {
    let mut unused: Vec<&str> = NEEDS.iter().map(|(start, _)| *start).chain(ANSWERS.map(|(part, ..)| part)).collect();
    let tests = include_str!("man_commands.rs");
    for entry in fs::read_dir(root().join("man")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let commands = commands(&fs::read_to_string(&path).unwrap());
        assert_eq!(
            !commands.is_empty(),
            tests.contains(&format!("run_page(\"{name}\")")),
            "{name}: a test above has to run it"
        );
        for command in &commands {
            unused.retain(|part| !command.contains(part));
            assert_flags_exist(&name, command);
            run(&mut bash(&format!("set -n\n{command}\n")), "").expect(0);
        }
    }
    assert!(unused.is_empty(), "no page has {unused:?}");
}
