//! Commands in the running text of pages: the flags that one of them names are together in a command that the suite runs. Those in the
//! tables for people who come from other clients are run as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;
use serving_bench::system::process::proc::free_port;

use crate::docs::{Call, assert_flags_exist, calls, pages};
use crate::harness::{Mark, Output, Running, bash, bin_dir, fixtures, json_lines, root, run, scratch, zoo_plan};
use crate::man_commands::{self, SOON};
use crate::pages::{blocks, in_folder, is_run, lacks_jq, replaced};

/// What running text names and no block of a page runs; one after the other in one folder.
const COMMANDS: [&str; 11] = [
    "bench-expand plan.yaml --accept-long-run > all.jsonl",
    "bench-expand plan.yaml --claim claims | bench-serve --budget 600 --caches caches --earlier raw/0001.jsonl | bench-load --earlier raw/0001.jsonl > claimed.jsonl",
    "bench-expand plan.yaml | bench-serve --ready-timeout 60 --smoke > smoke.jsonl",
    "bench-expand plan.yaml --slot-check 0,1 > slots.jsonl && grep -q '\"slot_check\"' slots.jsonl",
    "bench-expand plan.yaml | bench-serve --holders 2 --client-cpus 0 |
         tee >(bench-load --shard 0/2 --client-cpus 0 > a.jsonl; touch ended) | bench-load --shard 1/2 --client-cpus 0 > b.jsonl
     until [ -e ended ]; do sleep 0.05; done
     bench-normalize a.jsonl b.jsonl > both.jsonl && ! grep shards_missing both.jsonl",
    "head -c 32 /dev/urandom | base64 > secret && chmod 600 secret
     bench-load --url $URL --scenario chat=8:2 --rate 40 --shard 0/2 --meet 127.0.0.1:$MEET --meet-secret secret > c.jsonl &
     bench-load --url $URL --scenario chat=8:2 --rate 40 --shard 1/2 --meet 127.0.0.1:$MEET --meet-secret secret > d.jsonl
     wait $! && bench-normalize c.jsonl d.jsonl > met.jsonl && ! grep shards_missing met.jsonl",
    "bench-normalize results.jsonl --answers vllm=evaluation.json > answers.jsonl && grep -q gsm8k answers.jsonl",
    "bench-sweep plan.yaml --ready-timeout 60 --on-event 'cat >> events.jsonl' --out told && grep -q '\"record\":\"event\"' events.jsonl",
    "bench-rank results.jsonl --handoff vllm > handoff.md",
    "bench-normalize --help | grep -c num_prompts > help.txt",
    "bench-expand zoo.yaml --frameworks $FIXTURES | bench-serve --frameworks $FIXTURES |
         bench-load --frameworks $FIXTURES --client zoo > native.jsonl",
];
/// What a table leaves to the reader, and its sizes; and what they are here.
const READER: [(&str, &str); 16] = [
    ("--rate 1 --rate 2 --rate 4", "--rate 10 --rate 20 --rate 30"),
    ("--rate 4", "--rate 40"),
    ("URL", "$URL"),
    ("--dataset FILE", "--dataset prompts.jsonl"),
    ("FILE", "ShareGPT.json"),
    ("NAME", "sim"),
    ("JSON", "'{\"top_k\": 1}'"),
    ("--seed N", "--seed 7"),
    ("trace.jsonl", "prompts.jsonl"),
    ("--prefix 2048", "--prefix 256"),
    ("--prefix 512", "--prefix 256"),
    (":200", ":2"),
    (":180", ":2"),
    ("--num-prompts 400", "--num-prompts 4"),
    ("--qps 1:32 --sla max_p99_ttft_ms=500", "--qps 40:60 --sla max_p50_ttft_ms=500"),
    ("--warmup-s 10", "--warmup-s 0.1"),
];
/// What each command needs that its cell of the table does not say, unless it has one of these flags.
const REST: [(&str, &[&str]); 4] = [
    ("--url $URL", &["--url", "--convert"]),
    ("--scenario chat=300:2", &["--scenario", "--dataset", "--convert"]),
    ("--rate 40", &["--concurrency", "--rate", "--burst", "--qps", "--users", "--convert"]),
    ("--num-prompts 4", &["--num-prompts", "--qps", "--convert"]),
];

/// What stands outside the blocks of a page: of Markdown what is between backticks, of a man page each line.
fn running_text(page: &str, man: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            ".nf" => inside = true,
            ".fi" => inside = false,
            line if !man && line.starts_with("```") => inside = !inside,
            line if inside || line.starts_with(".\\\"") => {}
            line if man => lines.push(man_commands::text(line)),
            line => lines.push(line.replace("\\|", "|")),
        }
    }
    match man {
        true => lines,
        false => lines.join("\n").split('`').skip(1).step_by(2).map(String::from).collect(),
    }
}

/// The pages in `man/`.
fn man_pages() -> Vec<std::path::PathBuf> {
    fs::read_dir(root().join("man")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The commands that tests run: those of the blocks of all pages, and those above.
fn executed() -> Vec<Call> {
    let mut lines: Vec<String> = COMMANDS.iter().flat_map(|command| command.lines()).map(String::from).collect();
    for path in pages() {
        let page = fs::read_to_string(path).unwrap();
        let run = blocks(&page).into_iter().filter(|block| is_run(block));
        lines.extend(run.flat_map(|block| block.lines().map(String::from).collect::<Vec<_>>()));
        lines.extend(table_commands(&page));
    }
    for path in man_pages() {
        let commands = man_commands::commands(&fs::read_to_string(path).unwrap());
        lines.extend(commands.into_iter().filter(|command| man_commands::needs(command).is_none()));
    }
    lines.iter().flat_map(|line| calls(line.split(" #").next().unwrap_or_default())).collect()
}

#[test]
fn every_command_in_running_text_is_run_by_a_test() {
    let executed = executed();
    let is_executed = |(name, flags): &Call| executed.iter().any(|(other, has)| name == other && flags.is_subset(has));
    let (mut missing, mut seen) = (BTreeSet::new(), 0);
    for (path, man) in pages().into_iter().map(|path| (path, false)).chain(man_pages().into_iter().map(|p| (p, true))) {
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        for text in running_text(&fs::read_to_string(&path).unwrap(), man) {
            assert_flags_exist(&place, &text);
            for call in calls(&text).into_iter().filter(|(_, flags)| !flags.is_empty()) {
                seen += 1;
                if !is_executed(&call) {
                    missing.insert(format!("{place}: {text}"));
                }
            }
        }
    }
    assert!(seen > 150, "only {seen} commands were found in running text");
    assert!(missing.is_empty(), "no test runs the flags that these name together: {missing:#?}");
}

/// A folder with what the commands name, and where a server is.
fn run_in(folder: &Path, server: &Running, mark: &Mark, command: &str) -> Output {
    let port = free_port().unwrap();
    let mut command = bash(command);
    in_folder(&mut command, folder);
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value).unwrap_or_default();
    let path =
        format!("{}:{}:{}", path.display(), bin_dir().join("examples").display(), fixtures().join("bin").display());
    command.env("PATH", path).env("URL", &server.url).env("MEET", port.to_string()).env("FIXTURES", fixtures());
    run(mark.put(&mut command), "")
}

#[test]
fn the_commands_of_running_text() {
    if lacks_jq() {
        return;
    }
    let folder = scratch();
    man_commands::reader(folder.path());
    fs::write(folder.path().join("zoo.yaml"), zoo_plan("{}")).unwrap();
    let scores =
        json!({"gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.8, "exact_match_stderr,strict-match": 0.01}});
    let evaluation =
        json!({"lm_eval_version": "0.4.9", "results": scores, "n-samples": {"gsm8k": {"effective": 1319}}});
    fs::write(folder.path().join("evaluation.json"), evaluation.to_string()).unwrap();
    let server = Running::sim(&["--max-num-seqs", "32", "--step-base-us", "300"]);
    let mark = Mark::new("mentions");
    for command in COMMANDS {
        let done = run_in(folder.path(), &server, &mark, command);
        assert_eq!(done.code, Some(0), "{command}: {done:#?}");
    }
    let natives = json_lines(&fs::read_to_string(folder.path().join("native.jsonl")).unwrap());
    assert!(natives.iter().any(|row| row["record"] == "native"), "{natives:#?}");
    mark.gone_within(SOON);
}

/// The commands in the last column of the tables of a page; further flags of a cell are the same program's.
fn table_commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let line = line.replace("\\|", "\u{0}");
        let cell = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default().replace('\u{0}', "|");
        let pieces: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if !pieces.first().is_some_and(|piece| piece.starts_with("bench-load --") || piece.starts_with("bench-load …"))
        {
            continue;
        }
        for piece in pieces {
            match piece.strip_prefix("bench-load ") {
                Some(rest) => commands.push(format!("bench-load {}", rest.trim_start_matches('…').trim_start())),
                None if piece.starts_with("--") => commands.push(format!("bench-load {piece}")),
                // What another flag is given: an endpoint, an addition to a plan.
                None => {}
            }
        }
    }
    commands
}

#[test]
fn the_commands_for_people_who_come_from_other_clients() {
    let page = fs::read_to_string(root().join("docs/from-other-clients.md")).unwrap();
    let folder = scratch();
    man_commands::reader(folder.path());
    // A trace: what is asked when, and how long the answer is.
    let trace: Vec<String> = (0..64)
        .map(|i| json!({"prompt": format!("Question {i}."), "output_len": 2, "timestamp": i * 20}).to_string() + "\n")
        .collect();
    fs::write(folder.path().join("prompts.jsonl"), trace.concat()).unwrap();
    let sim = Running::sim(&["--max-num-seqs", "32", "--step-base-us", "300"]);
    let sglang = Running::zoo(&[]);
    let mark = Mark::new("tables");
    let commands = table_commands(&page);
    assert!(commands.len() > 45, "{commands:#?}");
    for command in &commands {
        let flags = calls(command).remove(0).1;
        let rest = REST.iter().filter(|(_, others)| !others.iter().any(|flag| flags.contains(*flag)));
        let rest: String = rest.map(|(text, _)| format!(" {text}")).collect();
        let own = replaced(command, &READER);
        let complete = own.replacen("bench-load", &format!("bench-load{rest}"), 1);
        let server = if flags.contains("--framework") { &sglang } else { &sim };
        let done = run_in(folder.path(), server, &mark, &complete);
        assert_eq!(done.code, Some(0), "{command}: {complete}: {done:#?}");
        let ran = done.stdout.lines().any(|line| line.contains("\"run_end\"")) || complete.contains('>');
        assert!(ran || flags.contains("--convert"), "{complete}: nothing was measured: {}", done.stdout);
    }
    mark.gone_within(SOON);
}
