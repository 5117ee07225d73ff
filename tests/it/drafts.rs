//! Speculative decoding on bench-sim: acceptance that is forced and met, forced and missed, not forced on generated prompts, and read
//! from the engine on real ones.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Output, bash, program, run, scratch};

/// A plan with a framework that drafts `tokens`, and one that drafts none.
fn plan(tokens: u32, benchmark: &str, dataset: &str) -> String {
    format!(
        "model: sim\nhardware: {{gpu_count: 1}}\ndataset: {dataset}\n\
         benchmark: {{warmup_requests: 1, max_concurrency: [8], num_prompts: 48{benchmark}}}\n\
         check: {{candidates: all, questions: 8, max_tokens: 16}}\nframeworks:\n\
         \x20 drafting: {{definition: sim, base_server_flags: {{spec_tokens: {tokens}, {FLAGS}}}}}\n\
         \x20 plain: {{definition: sim, base_server_flags: {{{FLAGS}}}}}\n"
    )
}

const FLAGS: &str = "step_base_us: 200, decode_seq_us: 5, load_ms: 10, max_num_seqs: 16";
const MADE_UP: &str = "{kind: random, scenario_names: [chat], input_len: [32], output_len: [64]}";

/// What the pipeline of a plan writes, and the results of it: that of the candidate with drafts first.
fn measured(folder: &Path, plan: &str) -> (Output, Vec<Value>) {
    std::fs::write(folder.join("plan.yaml"), plan).unwrap();
    let script = "bench-expand -q plan.yaml | bench-serve -q | bench-load -q";
    let done = run(bash(script).current_dir(folder), "").expect(0);
    let mut results = run(program("bench-normalize").arg("-q"), &done.stdout).expect(0).records("result");
    results.sort_by_key(|row| row["framework"] != "drafting");
    (done, results)
}

/// A report of these results.
fn report(results: &[Value], format: &str) -> String {
    let rows: String = results.iter().map(|row| format!("{row}\n")).collect();
    let mut rank = program("bench-rank");
    run(rank.args(["--format", format]).env("COLUMNS", "80"), &rows).stdout
}

#[test]
fn a_forced_length_is_met_labelled_and_left_out_of_the_command_to_deploy() {
    let folder = scratch();
    let (done, results) = measured(folder.path(), &plan(3, ", acceptance_length: 2.5", MADE_UP));
    let row = &results[0];
    let drafts = &row["quality"]["drafts"];
    assert_eq!((&row["status"], &drafts["verdict"]), (&json!("ok"), &json!("forced")), "{row:#}");
    assert_eq!(drafts["forced_by"], json!(["spec_acceptance_length=2.5"]));
    let counted = drafts["acceptance_length"].as_f64().unwrap();
    assert!((counted / 2.5 - 1.0).abs() <= 0.03, "{counted}");
    assert_eq!(row["spec_decode"]["accept_length"], drafts["acceptance_length"]);
    let servers = done.records("server");
    let server = servers.iter().find(|server| server["framework"] == "drafting").unwrap();
    let argv = server["server"]["argv"].to_string();
    assert!(argv.contains("--spec-acceptance-length\",\"2.5"), "{argv}");
    for command in [&server["server_command"], &row["server_command"]] {
        let command = command.as_str().unwrap();
        assert!(command.contains("--spec-tokens 3") && !command.contains("acceptance-length"), "{command}");
    }
    // Text that the model did not write is not checked.
    let checked = done.records("check");
    assert!(
        !checked.is_empty() && checked.iter().all(|row| row["server_id"] != server["server_id"]),
        "{}",
        done.stderr
    );
    assert_eq!(row["quality"]["answers"]["verdict"], "not_checked");
    assert!(row["quality"]["answers"]["reason"].as_str().unwrap().contains("was forced"), "{row:#}");
    for format in ["md", "table", "html"] {
        let text = report(&results, format).split_whitespace().collect::<Vec<_>>().join(" ");
        // In a table of a terminal the name of a candidate has several lines.
        let text = if format == "table" { text.replace("| ", "") } else { text };
        let labelled = text.matches("forced to 2.5").count();
        assert!(labelled >= 2, "{format}: {text}");
        assert!(text.contains("Forced acceptance"), "{format}: {text}");
    }
    let csv = report(&results, "csv");
    let column = csv.lines().next().unwrap().split(',').position(|name| name == "forced_acceptance_length").unwrap();
    assert!(csv.lines().any(|line| line.split(',').nth(column) == Some("2.5")), "{csv}");
}

#[test]
fn a_length_that_is_missed_is_out_with_both_numbers() {
    let folder = scratch();
    // One drafted token and the model's own are two at most.
    let (_, results) = measured(folder.path(), &plan(1, ", acceptance_length: 2.5", MADE_UP));
    let row = &results[0];
    let found = (&row["status"], &row["failure_class"], &row["quality"]["drafts"]["verdict"]);
    assert_eq!(found, (&json!("failed"), &json!("acceptance_missed"), &json!("missed")), "{row:#}");
    let both = "an acceptance length of 2.5 was forced, but the server counted 2.00 (-20.0 %, 3 % are allowed)";
    assert_eq!(row["failure_reason"], both);
    let md = report(&results, "md");
    let (ranked, rejected) = md.split_once("## Tried and not selected").unwrap();
    assert!(rejected.contains(both) && rejected.contains("acceptance forced to 2.5"), "{md}");
    assert!(!ranked.contains("forced to 2.5"), "{md}");
    assert_eq!(results[1]["status"], "ok", "without drafts it is ranked: {:#}", results[1]);
}

#[test]
fn drafts_of_generated_prompts_are_not_ranked_and_those_of_real_ones_are() {
    let folder = scratch();
    let (_, results) = measured(folder.path(), &plan(2, "", MADE_UP));
    let row = &results[0];
    assert_eq!((&row["status"], &row["failure_class"]), (&json!("failed"), &json!("made_up_drafts")), "{row:#}");
    assert!(row["failure_reason"].as_str().unwrap().contains("use a data set"), "{row:#}");
    assert!(results[1]["quality"].get("drafts").is_none(), "{:#}", results[1]);
    let rows: String =
        (0..120).map(|i| format!("{{\"prompt\": \"tell me of the year {i}\", \"output_len\": 64}}\n")).collect();
    std::fs::write(folder.path().join("real.jsonl"), rows).unwrap();
    let (done, results) = measured(folder.path(), &plan(2, "", "{kind: jsonl, path: real.jsonl}"));
    let row = &results[0];
    let drafts = &row["quality"]["drafts"];
    assert_eq!((&row["status"], &drafts["verdict"]), (&json!("ok"), &json!("real")), "{row:#}");
    // 1 + 0.7 + 0.49
    let counted = drafts["acceptance_length"].as_f64().unwrap();
    assert!((counted - 2.19).abs() < 0.08, "{counted}");
    assert!(drafts.get("forced_acceptance_length").is_none(), "{drafts}");
    let server = &row["run"]["server_id"];
    assert!(done.records("check").iter().any(|row| row["server_id"] == *server), "its text is that of the model");
    let best = report(&results[..1], "md");
    assert!(best.contains("output tokens per step in real"), "{best}");
}

#[test]
fn each_framework_gets_the_length_in_its_own_way() {
    let folder = scratch();
    let plan = crate::harness::root()
        .join("tests/it/cases/bench-expand/acceptance-is-forced-in-each-frameworks-way/plan.yaml");
    std::fs::copy(plan, folder.path().join("plan.yaml")).unwrap();
    let rows = run(program("bench-expand").args(["-q", "plan.yaml"]).current_dir(folder.path()), "").expect(0);
    let rows = rows.records("candidate");
    let of = |name: &str| rows.iter().find(|row| row["framework"] == name).unwrap();
    let argv = |name: &str| of(name)["server"]["argv"].to_string();
    assert!(
        argv("vllm").contains(r#"\"rejection_sample_method\":\"synthetic\",\"synthetic_acceptance_length\":2.8}"#),
        "{}",
        argv("vllm")
    );
    assert_eq!(of("sglang")["server"]["env"]["SGLANG_SIMULATE_ACC_LEN"], "2.8");
    assert!(argv("sglang").contains("--enable-metrics"), "{}", argv("sglang"));
    // It counts drafted tokens only.
    assert_eq!(of("tensorrt_llm")["server"]["env"]["TLLM_SPEC_DECODE_FORCE_NUM_ACCEPTED_TOKENS"], "1.8");
    assert!(argv("llama_cpp").contains("--spec-synth-len\",\"2.8"), "{}", argv("llama_cpp"));
    for row in &rows {
        assert_eq!(row["speculation"]["forced_acceptance_length"], 2.8, "{row:#}");
        let command = row["server_command"].as_str().unwrap();
        let forcing = ["synthetic", "SIMULATE", "FORCE", "synth-len"].iter().find(|word| command.contains(**word));
        assert_eq!(forcing, None, "{command}");
    }
}

#[test]
fn a_length_is_forced_on_every_node_of_a_server() {
    let folder = scratch();
    let plan = crate::harness::root().join("tests/it/cases/bench-expand/acceptance-is-forced-on-every-node/plan.yaml");
    std::fs::copy(plan, folder.path().join("plan.yaml")).unwrap();
    // What each rank of Slurm is started with, said by programs in the place of the engines.
    let programs = folder.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    let says = "#!/bin/sh\necho \"$SLURM_PROCID $(basename $0) $SGLANG_SIMULATE_ACC_LEN $*\"\n";
    let srun = "#!/bin/sh\nwhile [ \"$1\" != sh ]; do shift; done\n\
        for rank in 0 1; do SLURM_PROCID=$rank SLURM_STEP_NODELIST=n1,n2 \"$@\"; done\n";
    for (name, script) in [("srun", srun), ("scontrol", "#!/bin/sh\n"), ("vllm", says), ("python", says)] {
        std::fs::write(programs.join(name), script).unwrap();
        std::fs::set_permissions(programs.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script =
        "bench-expand -q plan.yaml | bench-serve -q --dry-run > commands.sh; PATH=$PWD/programs:$PATH sh commands.sh";
    let said = run(bash(script).current_dir(folder.path()), "").expect(0).stdout;
    let lines: Vec<&str> = said.lines().collect();
    let starts = |begin: &str, holds: &[&str]| {
        let is_it = |line: &&&str| line.starts_with(begin) && holds.iter().all(|part| line.contains(part));
        lines.iter().filter(is_it).count()
    };
    let forced = "\"synthetic_acceptance_length\":2.8";
    for rank in 0..2 {
        let own = format!("--node-rank {rank}");
        assert_eq!(starts(&format!("{rank} vllm "), &[forced, &own, "--nnodes 2"]), 1, "{said}");
        assert_eq!(starts(&format!("{rank} python 2.8 "), &["--enable-metrics", &own, "--nnodes 2"]), 1, "{said}");
    }
    assert_eq!(lines.len(), 4, "{said}");
    let rows = run(bash("bench-expand -q plan.yaml").current_dir(folder.path()), "").expect(0).records("candidate");
    for row in &rows {
        assert_eq!(row["speculation"]["forced_acceptance_length"], 2.8, "{row:#}");
        let command = row["server_command"].as_str().unwrap();
        assert!(!command.contains("synthetic") && !command.contains("SIMULATE"), "{command}");
    }
}
