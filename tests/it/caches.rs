//! Warm starts: what servers compile is kept for each version of a framework and GPU, and for no other.

use std::path::Path;

use serde_json::Value;

use crate::harness::{bash, rows_in, run, scratch};

/// bench-sim as an engine with two caches: its command notes them, and "compiles" unless that was done before.
const DEFINITION: &str = "\
name: cached
title: cached
simulated: true
command: [cached-sim]
model_flag: --model
host_flag: --host
port_flag: --port
default_port: 8000
flags: {words: dash, booleans: switch}
caches:
  CACHED_KERNELS: {folder: kernels}
  CACHED_TUNED: {file: \"tuned/{candidate}.json\"}
probe: {health_path: /health, ready_timeout_s: 60, usual_ready_s: 1}
parallelism: {tensor: null}
sequence_limit: null
served_name_flag: null
knobs: {all: [max_num_seqs, load_ms]}
request: {token_id_prompts: true, exact_length: {ignore_eos: true}}
version: {}
";

const COMMAND: &str = "\
#!/bin/sh
echo \"kernels=${CACHED_KERNELS-none} tuned=${CACHED_TUNED-none}\" >> \"$SEEN\"
[ -z \"${CACHED_KERNELS-}\" ] || touch \"$CACHED_KERNELS/compiled\"
exec bench-sim \"$@\"
";

const PLAN: &str = "\
model: sim
hardware: {gpu_count: 1, gpu_model: NVIDIA H100 80GB HBM3}
dataset: {num_prompts: 4, scenario_names: [s], input_len: [8], output_len: [4]}
benchmark: {max_concurrency: [1]}
sla: {max_p90_ttft_ms: 1000}
frameworks:
  cached: {base_server_flags: {load_ms: 0}, search_space: {max_num_seqs: [4]}}
";

fn prepare(folder: &Path, plan: &str) {
    std::fs::create_dir(folder.join("frameworks")).unwrap();
    std::fs::write(folder.join("frameworks/cached.yaml"), DEFINITION).unwrap();
    std::fs::write(folder.join("plan.yaml"), plan).unwrap();
    std::fs::write(folder.join("cached-sim"), COMMAND).unwrap();
    run(bash("chmod +x cached-sim").current_dir(folder), "").expect(0);
}

/// The starts of the plan's candidates by one bench-serve with these options, of a framework of this version.
fn starts(folder: &Path, version: Option<&str>, edit: &str, options: &str) -> Vec<Value> {
    let version = version.map_or("del(.version)".into(), |version| format!(".version = \"{version}\""));
    let script = format!(
        "export PATH=$PWD:$PATH SEEN=$PWD/seen
         bench-expand -q --frameworks frameworks plan.yaml | jq -c '{version}{edit}' > candidates.jsonl
         bench-serve -q --frameworks frameworks {options} candidates.jsonl -- true"
    );
    run(bash(&script).current_dir(folder), "").expect(0).records("server")
}

fn kinds(servers: &[Value]) -> Vec<&str> {
    servers.iter().map(|row| row["start"].as_str().unwrap_or("-")).collect()
}

#[test]
fn a_start_is_warm_after_one_of_the_same_version_and_gpu() {
    let folder = scratch();
    let at = folder.path();
    prepare(at, PLAN);
    let caches = "--caches kept";
    assert_eq!(kinds(&starts(at, Some("1.0"), "", caches)), ["cold", "warm"]);
    assert_eq!(kinds(&starts(at, Some("1.0"), "", caches)), ["warm", "warm"]);
    assert_eq!(kinds(&starts(at, Some("1.1"), "", caches)), ["cold", "warm"], "another version");
    let other = " | .hardware.gpu_model = \"NVIDIA A100/80GB\"";
    assert_eq!(kinds(&starts(at, Some("1.0"), other, caches)), ["cold", "warm"], "another GPU");
    // Without its version nobody knows what a cache belongs to.
    assert_eq!(kinds(&starts(at, None, "", caches)), ["-", "-"]);
    assert_eq!(kinds(&starts(at, Some("1.0"), "", "")), ["-", "-"]);
    let seen = std::fs::read_to_string(at.join("seen")).unwrap();
    let seen: Vec<&str> = seen.lines().collect();
    let kept = std::fs::canonicalize(at.join("kept")).unwrap();
    let first = kept.join("cached-1.0-NVIDIA_H100_80GB_HBM3");
    assert!(seen[0].starts_with(&format!(
        "kernels={} tuned={}/tuned/",
        first.join("kernels").display(),
        first.display()
    )));
    assert_ne!(seen[0], seen[1], "a file of each candidate");
    assert_eq!(seen[0], seen[2]);
    assert_eq!(&seen[8..], ["kernels=none tuned=none"; 4]);
    let mut folders: Vec<String> =
        std::fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    assert_eq!(
        folders,
        ["cached-1.0-NVIDIA_A100_80GB", "cached-1.0-NVIDIA_H100_80GB_HBM3", "cached-1.1-NVIDIA_H100_80GB_HBM3"]
    );
    assert!(first.join("kernels/compiled").is_file() && first.join("tuned").is_dir());
}

#[test]
fn a_start_that_failed_leaves_no_warm_folder_and_a_plan_keeps_its_variables() {
    let folder = scratch();
    let at = folder.path();
    let plan = PLAN.replace("cached: {base", &format!("cached: {{env: {{CACHED_KERNELS: {}}}, base", at.display()));
    prepare(at, &plan);
    std::fs::write(at.join("cached-sim"), COMMAND.replace("exec bench-sim", "exit 3; exec bench-sim")).unwrap();
    assert_eq!(kinds(&starts(at, Some("1.0"), "", "--caches kept")), [""; 0]);
    std::fs::write(at.join("cached-sim"), COMMAND).unwrap();
    assert_eq!(kinds(&starts(at, Some("1.0"), "", "--caches kept"))[0], "cold");
    let seen = std::fs::read_to_string(at.join("seen")).unwrap();
    let own = format!("kernels={} tuned=/", at.display());
    assert!(seen.lines().all(|line| line.starts_with(&own)), "{seen}");
}

#[test]
fn a_container_has_the_folder_at_the_same_place_and_another_host_has_none() {
    let folder = scratch();
    let at = folder.path();
    prepare(at, PLAN);
    // They only note how they were called; the image is there, and nothing that runs.
    let noting = "#!/bin/sh\necho \"$*\" >> \"$SEEN\"\n";
    let docker = "[ $1 != inspect ] || echo No such container\n[ $1 = image ]\n";
    std::fs::write(at.join("docker"), format!("{noting}{docker}")).unwrap();
    let ssh = "case \"$*\" in *setsid*) exit 1 ;; esac\necho gone\n";
    std::fs::write(at.join("ssh"), format!("{noting}{ssh}")).unwrap();
    run(bash("chmod +x docker ssh").current_dir(at), "").expect(0);
    let docker = " | .server.launcher = [{\"name\": \"docker\"}] | .server.image = \"the-image\"";
    starts(at, Some("1.0"), docker, "--caches kept");
    let seen = std::fs::read_to_string(at.join("seen")).unwrap_or_default();
    let root = std::fs::canonicalize(at.join("kept")).unwrap().join("cached-1.0-NVIDIA_H100_80GB_HBM3");
    let root = root.display();
    assert!(seen.contains(&format!("-v {root}:{root}")), "{seen}");
    assert!(seen.contains(&format!("-e CACHED_KERNELS={root}/kernels")), "{seen}");
    let ssh = " | .server.launcher = [{\"name\": \"ssh\", \"options\": {\"host\": \"far\"}}]";
    std::fs::remove_file(at.join("seen")).unwrap();
    starts(at, Some("1.0"), ssh, "--caches kept");
    let seen = std::fs::read_to_string(at.join("seen")).unwrap_or_default();
    assert!(!seen.is_empty() && !seen.contains("CACHED_KERNELS"), "{seen}");
}

/// A sweep keeps them in its folder; the report's rows tell cold and warm apart, and the next estimate is for warm starts.
#[test]
fn a_sweep_keeps_them_in_its_folder() {
    let folder = scratch();
    let at = folder.path();
    prepare(at, &PLAN.replace("  cached: {", "  sim: {"));
    let sweep = |out: &str, more: &str| {
        run(bash(&format!("bench-sweep plan.yaml --no-preflight -q --out {out} {more}")).current_dir(at), "").expect(0);
        rows_in(&at.join(out).join("results.jsonl"))
    };
    // bench-sim compiles nothing.
    assert!(sweep("out", "").iter().all(|row| row["startup"]["start"].is_null()));
    assert!(!at.join("out/caches").exists());
    let dry =
        |more: &str| run(bash(&format!("bench-sweep plan.yaml --dry-run {more}")).current_dir(at), "").expect(0).stdout;
    assert!(dry("").contains("--caches results/plan/caches"));
    assert!(dry("--caches /kept").contains("--caches /kept"));
    assert!(!dry("--no-caches").contains("--caches"));
}
