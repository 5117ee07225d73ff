//! Flags against captured help of real releases (`tests/fixtures/help`), and what becomes of those that it has not.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Output, program, root, run};

const PLAN: &str = "\
model: m
hardware: {gpu_count: 1}
sla: {max_p50_ttft_ms: 1000}
benchmark: {max_concurrency: [1]}
frameworks:
";

/// bench-validate on a plan with these frameworks, against the captures of real releases.
fn validate(frameworks: &str, more: &[&str]) -> Output {
    let help = root().join("tests/fixtures/help");
    let mut command = program("bench-validate");
    command.args(["--help-dir", help.to_str().unwrap(), "--format", "jsonl"]).args(more).arg("-");
    run(&mut command, &format!("{PLAN}{frameworks}"))
}

fn row(done: &Output) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", done.stderr))
}

/// The candidates of a plan row.
fn expand(done: &Output) -> Vec<Value> {
    let expanded = run(&mut program("bench-expand"), &done.stdout).expect(0);
    expanded.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines<'a>(done: &'a Output, level: &str) -> Vec<&'a str> {
    let level = format!(": {level}: ");
    let said = |line: &'a str| Some(line.split_once(&level)?.1.split_once(": ")?.1);
    done.stderr.lines().filter_map(said).collect()
}

#[test]
fn the_cookbook_has_exactly_the_flags_of_vllm_that_are_gone() {
    let help = root().join("tests/fixtures/help/vllm-0.32.0");
    let validate = |more: &[&str]| {
        let mut command = program("bench-validate");
        command.current_dir(root()).arg("configs/cookbook-llm").arg("--help-dir").arg(&help).args(more);
        run(&mut command, "")
    };
    let done = validate(&["--any-version"]).expect(1);
    let errors = lines(&done, "error");
    let of = |flag: &str| {
        errors.iter().filter(|line| line.contains(&format!("vLLM 0.32.0 does not have --{flag} "))).count()
    };
    assert_eq!((of("max-num-partial-prefills"), of("max-long-partial-prefills")), (37, 37));
    assert_eq!(errors.len(), 74, "{errors:#?}");
    // With the version ranges these flags are known to be gone, and left out.
    let done = validate(&[]).expect(0);
    assert_eq!(done.stdout.lines().count(), 50);
    let plan: Value = done
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .find(|row: &Value| row["source"]["id"] == "qwen3-235b-a22b")
        .unwrap();
    let left_out: Vec<&str> =
        plan["substitutions"].as_array().unwrap().iter().map(|s| s["knob"].as_str().unwrap()).collect();
    assert_eq!(left_out, ["max_num_partial_prefills", "max_long_partial_prefills"]);
    assert_eq!(plan["validated_cli_flags"]["vllm"]["version"], "0.32.0");
}

#[test]
fn the_same_plan_expands_right_on_old_and_new_releases() {
    let frameworks = |version: &str| {
        format!(
            "  vllm: {{version: \"{version}\", search_space: {{max_num_partial_prefills: [1], max_num_seqs: [8, 16]}}}}\n"
        )
    };
    let argvs = |version: &str| -> Vec<String> {
        let done = run(&mut program("bench-validate"), &format!("{PLAN}{}", frameworks(version))).expect(0);
        expand(&done).iter().map(|c| c["server"]["argv"].to_string()).collect()
    };
    let (old, new) = (argvs("0.19.1"), argvs("0.32.0"));
    assert!(old[1].contains("\"--max-num-partial-prefills\",\"1\""), "{old:#?}");
    assert!(new.iter().all(|argv| !argv.contains("partial-prefills")), "{new:#?}");
    assert_eq!((old.len(), new.len()), (3, 3));
    // A version that nobody says is taken for the one that the definition was checked against.
    let done = run(
        &mut program("bench-validate"),
        &format!("{PLAN}{}", frameworks("0.32.0").replace("version: \"0.32.0\", ", "")),
    )
    .expect(0);
    assert!(
        done.stderr.contains("vLLM 0.32.0 does not have --max-num-partial-prefills (assumed version"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_renamed_flag_goes_by_its_new_name() {
    let done = validate("  sglang: {base_server_flags: {cuda_graph_max_bs: 32}}\n", &[]).expect(0);
    let substitution = &row(&done)["substitutions"][0];
    assert_eq!(
        (&substitution["knob"], &substitution["to"]),
        (&json!("cuda_graph_max_bs"), &json!("cuda_graph_max_bs_decode"))
    );
    let candidate = &expand(&done)[0];
    assert!(candidate["server"]["argv"].to_string().contains("\"--cuda-graph-max-bs-decode\",\"32\""), "{candidate:#}");
    assert_eq!(candidate["substitutions"], row(&done)["substitutions"]);
    // With the ranges aside it is unknown, and its name there is told.
    let done = validate("  sglang: {base_server_flags: {cuda_graph_max_bs: 32}}\n", &["--any-version"]).expect(1);
    assert!(
        lines(&done, "error")[0].ends_with("it is called cuda_graph_max_bs_decode there (--unknown-flags translate)"),
        "{}",
        done.stderr
    );
    let done = validate(
        "  sglang: {base_server_flags: {cuda_graph_max_bs: 32}}\n",
        &["--any-version", "--unknown-flags", "translate"],
    )
    .expect(0);
    assert_eq!(row(&done)["substitutions"][0]["to"], "cuda_graph_max_bs_decode");
}

#[test]
fn only_knobs_of_the_search_are_dropped() {
    let search = "  vllm: {search_space: {calculate_kv_scales: [true], max_num_seqs: [8]}}\n";
    let base = "  vllm: {base_server_flags: {calculate_kv_scales: true}}\n";
    let (drop, reject) = (["--any-version", "--unknown-flags", "drop"], ["--any-version", "--unknown-flags", "reject"]);
    let done = validate(search, &drop).expect(0);
    let dropped = &row(&done)["substitutions"][0];
    assert_eq!((&dropped["knob"], &dropped["to"]), (&json!("calculate_kv_scales"), &Value::Null));
    let changed: Vec<Value> = expand(&done).iter().map(|c| c["server"]["changed"].clone()).collect();
    assert_eq!(changed, [json!({}), json!({"max_num_seqs": 8})]);
    validate(base, &drop).expect(1);
    // Rejected: the candidates with it are rows that say why, the others go on.
    let done = validate(search, &reject).expect(0);
    let rows = expand(&done);
    let refused: Vec<&Value> = rows.iter().filter(|c| c["status"] == "skipped").collect();
    assert_eq!((rows.len(), refused.len()), (3, 1));
    assert!(
        refused[0]["failure_reason"].as_str().unwrap().contains("does not have --calculate-kv-scales"),
        "{refused:#?}"
    );
    let done = validate(base, &reject).expect(0);
    assert!(expand(&done).iter().all(|c| c["status"] == "skipped" && c["failure_class"] == "unsupported"));
}

#[test]
fn a_capture_knows_better_than_the_definition() {
    // A flag that no definition names, but the help.
    let done =
        validate("  vllm: {base_server_flags: {disable_log_stats: true}, search_space: {max_num_seqs: [8]}}\n", &[])
            .expect(0);
    let flags = &row(&done)["validated_cli_flags"]["vllm"]["server"]["accepted"];
    assert!(flags.as_array().unwrap().contains(&json!("--disable-log-stats")), "{flags}");
    let candidate = &expand(&done)[1];
    let own = candidate["validated_cli_flags"]["server"].as_array().unwrap();
    assert!(own.contains(&json!("--max-num-seqs")) && own.contains(&json!("--disable-log-stats")), "{own:?}");
    assert_eq!(candidate["version"], "0.32.0");
    // A near miss, a value that is no choice, a flag among the words.
    let done = validate("  vllm: {base_server_flags: {max_num_sequs: 8, dtype: bfloat17}, extra_args: [\"--enable-lora\", \"--enable-lorra=1\"]}\n", &[]).expect(1);
    let errors = lines(&done, "error");
    assert!(
        errors
            .iter()
            .any(|e| e.contains("does not have --max-num-sequs") && e.ends_with("did you mean \"--max-num-seqs\"?")),
        "{errors:#?}"
    );
    assert!(errors.iter().any(|e| e.contains("--dtype must be one of auto, bfloat16")), "{errors:#?}");
    assert!(errors.iter().any(|e| e.contains("does not have --enable-lorra")), "{errors:#?}");
}

#[test]
fn an_incomplete_help_proves_nothing() {
    let done = validate("  tokenspeed: {base_server_flags: {max_num_seqs: 8}}\n", &[]).expect(0);
    let check = &row(&done)["validated_cli_flags"]["tokenspeed"];
    assert_eq!(check["server"]["accepted"], json!([]));
    assert!(check["server"]["unverifiable"].as_array().unwrap().contains(&json!("--max-num-seqs")));
    assert!(lines(&done, "note")[0].contains("could not be verified"), "{}", done.stderr);
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn tensorrt_llm_without_the_pytorch_backend_is_unsupported() {
    let folder = tempfile::tempdir().unwrap();
    let plan = format!("{PLAN}  tensorrt_llm: {{base_server_flags: {{backend: pytorch}}}}\n  sim: {{}}\n");
    let against = |help: &str| {
        write(&folder.path().join("help/trtllm_serve_help.txt"), help);
        let mut command = program("bench-validate");
        command.arg("--help-dir").arg(folder.path().join("help"));
        run(&mut command, &plan).expect(0)
    };
    let words = "--host TEXT\n  --port INTEGER\n  --tp_size INTEGER\n";
    let done = against(&format!(
        "Usage: trtllm-serve serve [OPTIONS] MODEL\n\nOptions:\n  --backend [tensorrt|_autodeploy]\n  {words}"
    ));
    let candidates = expand(&done);
    assert_eq!(
        (&candidates[0]["status"], &candidates[1]["status"]),
        (&json!("skipped"), &Value::Null),
        "{}",
        done.stderr
    );
    assert!(candidates[0]["failure_reason"].as_str().unwrap().contains("does not accept --backend pytorch"));
    let done = against(&format!(
        "Usage: trtllm-serve serve [OPTIONS] MODEL\n\nOptions:\n  --backend [pytorch|tensorrt]\n  {words}"
    ));
    assert!(expand(&done).iter().all(|c| c["status"] == Value::Null), "{}", done.stderr);
}

#[test]
fn help_is_captured_where_the_server_would_run() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.yaml");
    fs::write(&plan, format!("{PLAN}  sim: {{search_space: {{max_num_seqs: [4]}}}}\n  vllm: {{}}\n")).unwrap();
    let help = folder.path().join("help");
    let mut command = program("bench-validate");
    command.arg("--capture-help").arg(&help).args(["--format", "jsonl"]).arg(&plan).env("PATH", path_of_the_programs());
    // One that is not there is an error, which says what was tried and what to do.
    let done = run(&mut command, "").expect(1);
    assert!(
        lines(&done, "error")[0].starts_with("cannot run vLLM (vllm serve --help=all: cannot execute"),
        "{}",
        done.stderr
    );
    assert!(lines(&done, "error")[0].ends_with("--allow-missing runs the other frameworks"), "{}", done.stderr);
    assert_eq!((done.stdout.as_str(), lines(&done, "error").len()), ("", 1), "{}", done.stderr);
    let done = run(command.arg("--allow-missing"), "").expect(0);
    let text = fs::read_to_string(help.join("sim/bench_sim_help.txt")).unwrap();
    assert!(text.contains("--max-num-seqs"), "{text}");
    let row = row(&done);
    let accepted = row["validated_cli_flags"]["sim"]["server"]["accepted"].as_array().unwrap();
    assert!(accepted.contains(&json!("--max-num-seqs")), "{row:#}");
    assert_eq!(row["validated_cli_flags"]["sim"]["version"], env!("CARGO_PKG_VERSION"));
    // Then it is unsupported.
    let candidates = expand(&done);
    assert_eq!((&candidates[1]["framework"], &candidates[1]["status"]), (&json!("vllm"), &json!("skipped")));
    assert!(candidates[1]["failure_reason"].as_str().unwrap().contains("cannot run vLLM"), "{}", candidates[1]);
    // The captured folder can be used again.
    let mut command = program("bench-validate");
    command.arg("--help-dir").arg(&help).arg(&plan);
    run(&mut command, "").expect(1);
    let again = run(command.arg("--allow-missing"), "").expect(0);
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["validated_cli_flags"]["sim"], row["validated_cli_flags"]["sim"]);
}

/// The programs under test alone.
fn path_of_the_programs() -> String {
    let program = program("bench-sim");
    let folder = Path::new(program.get_program()).parent().unwrap();
    format!("{}:/usr/bin:/bin", folder.display())
}

#[test]
fn a_flag_is_accepted_as_its_parser_reads_it() {
    // vLLM takes _ for -, members of maps, short forms with their value, and beginnings that are no other flag's.
    let words = "[--mm_encoder_tp_mode, data, --compilation_config.pass_config.fuse_allreduce_rms, \"true\", -cc.mode=3, -O3, \
                  --limit-mm, '{}', --no-enable-log-requests, -asc, \"2\", --kv-transfer-config.kv_role, kv_both]";
    let done = validate(&format!("  vllm: {{extra_args: {words}}}\n"), &[]).expect(0);
    assert_eq!(lines(&done, "warning").len() + lines(&done, "error").len(), 0, "{}", done.stderr);
    // SGLang takes beginnings, and no underscores where its help has none.
    let sglang = |words: &str| validate(&format!("  sglang: {{extra_args: [{words}]}}\n"), &[]);
    let done = sglang("--tp, \"1\", --mem-frac, \"0.8\", --enable-metrics, --log-requests-l, \"1\"").expect(0);
    assert_eq!(lines(&done, "error").len(), 0, "{}", done.stderr);
    let done = sglang("--log_requests_level, \"1\"").expect(1);
    assert!(lines(&done, "error")[0].ends_with("did you mean \"--log-requests-level\"?"), "{}", done.stderr);
    // The beginning of several flags is none of them, and these are named.
    let done = sglang("--enable-dp").expect(1);
    assert!(lines(&done, "error")[0].contains("it may be --"), "{}", done.stderr);
    // llama.cpp takes _ for -, and its short forms are flags as well.
    let done =
        validate("  llama_cpp: {extra_args: [--cache_reuse, \"64\", -lv, \"4\", -ctxcp, \"8\"]}\n", &[]).expect(0);
    assert_eq!(lines(&done, "error").len(), 0, "{}", done.stderr);
    let done = validate("  llama_cpp: {extra_args: [-zz, \"4\"]}\n", &[]).expect(1);
    assert!(lines(&done, "error")[0].contains("does not have -zz"), "{}", done.stderr);
    // Each item of a list must be a choice.
    let done =
        validate("  sglang: {base_server_flags: {moe_a2a_backend: deepep, disaggregation_mode: [null, x]}}\n", &[])
            .expect(1);
    assert!(lines(&done, "error")[0].contains("got x"), "{}", done.stderr);
}

#[test]
fn unknown_flags_are_verified_by_the_help() {
    let knobs = "{grammar_backend: xgrammar, device: cuda, moe_dense_tp_size: 1}";
    let done = validate(
        &format!("  sglang: {{base_server_flags: {knobs}, search_space: {{mm_attention_backend: [fa3]}}}}\n"),
        &[],
    );
    let done = done.expect(0);
    assert_eq!(lines(&done, "warning").len(), 0, "{}", done.stderr);
    let argv = expand(&done)[1]["server"]["argv"].to_string();
    for words in ["\"--grammar-backend\",\"xgrammar\"", "\"--device\",\"cuda\"", "\"--mm-attention-backend\",\"fa3\""] {
        assert!(argv.contains(words), "{argv}");
    }
    let done = validate("  sglang: {base_server_flags: {grammar_frontend: xgrammar}}\n", &[]).expect(1);
    assert!(lines(&done, "error")[0].contains("SGLang 0.5.23 does not have --grammar-frontend"), "{}", done.stderr);
    assert_eq!(lines(&done, "error").len(), 1, "{}", done.stderr);
}
