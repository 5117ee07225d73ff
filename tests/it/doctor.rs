//! bench-sweep --doctor on hosts that scripts make up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Output, bin_dir, program, root, run, scratch};
use crate::schemas::validator;

const GPUS: &str = "echo '0, GPU-a, NVIDIA H100 80GB HBM3, 4, 81559, 0, 71.2, 345, 30, 0x0, 570.1'";
/// Python without any module of an engine.
const PYTHON: &str = "case $2 in *find_spec*) exit 42 ;; esac";

/// The doctor on a host with these programs, and a plan if there is one.
fn doctor(programs: &[(&str, &str)], plan: Option<&str>, more: &[&str]) -> Output {
    let host = scratch();
    for (name, script) in programs {
        let path = host.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = program("bench-sweep");
    command.arg("--doctor").args(more).current_dir(host.path());
    if let Some(text) = plan {
        fs::write(host.path().join("plan.yaml"), text).unwrap();
        command.arg("plan.yaml");
    }
    let path = format!("{}:{}:/usr/bin:/bin", host.path().display(), bin_dir().display());
    run(command.env("PATH", path).env_remove("HF_TOKEN").env("HOME", host.path()), "")
}

fn rows_of(done: &Output, framework: &str, state: &str) -> Vec<Value> {
    let rows = done.rows().into_iter();
    rows.filter(|row| row["framework"] == *framework && row["state"] == *state).collect()
}

#[test]
fn without_a_plan_it_says_which_engines_are_here_and_how_to_get_the_others() {
    let host = [("nvidia-smi", GPUS), ("vllm", "true"), ("python", PYTHON)];
    let done = doctor(&host, None, &["--format", "jsonl"]).expect(0);
    for row in done.rows() {
        assert!(validator("doctor").is_valid(&row), "{row}");
    }
    assert_eq!(rows_of(&done, "vllm", "ok").len(), 1, "{}", done.stdout);
    let sglang = &rows_of(&done, "sglang", "problem")[0];
    assert!(sglang["text"].as_str().unwrap().contains("not its module sglang.launch_server"), "{sglang}");
    assert!(sglang["fix"].as_str().unwrap().contains("pip install sglang"), "{sglang}");
    assert!(done.stdout.contains("1 × NVIDIA H100 80GB HBM3, driver 570.1"), "{}", done.stdout);
    let text = doctor(&host, None, &[]).expect(0).stdout;
    assert!(text.starts_with("host\n  ok       all programs of version"), "{text}");
    assert!(text.ends_with("Can be run here: vllm.\n"), "{text}");
}

#[test]
fn a_host_without_engines_has_status_1() {
    let done = doctor(&[("python", PYTHON)], None, &[]).expect(1);
    assert!(done.stdout.ends_with("Nothing can be run here as it is; bench-sweep quickstart needs no engine.\n"));
    // Of the shipped frameworks only the simulated one needs no advice.
    for title in ["vllm", "sglang", "tensorrt_llm", "tokenspeed", "llama_cpp"] {
        let own = done.stdout.split(&format!("\n{title}\n")).nth(1).unwrap_or_default();
        assert!(own.lines().nth(1).is_some_and(|line| line.contains("→ ")), "{title}: {}", done.stdout);
    }
    let unusable = doctor(&[], None, &["--format", "html"]).expect(2);
    assert!(unusable.stderr.contains("--format jsonl"), "{}", unusable.stderr);
}

#[test]
fn what_a_plan_asks_for_is_looked_at_as_the_plan_says_and_nothing_is_pulled() {
    let docker = "case $1 in image) exit 1 ;; *) echo \"$@\" >> docker.log ;; esac";
    let plan = "model: meta-llama/Llama-3.1-8B\nhardware: {gpu_count: 4}\nsla: {max_p50_ttft_ms: 1000}\n\
                benchmark: {max_concurrency: [1]}\nframeworks: {vllm: {launcher: docker, image: registry/vllm:1}}\n";
    let host = [("nvidia-smi", GPUS), ("docker", docker)];
    let done = doctor(&host, Some(plan), &["--format", "jsonl"]).expect(1);
    let vllm = &rows_of(&done, "vllm", "problem")[0];
    assert!(vllm["text"].as_str().unwrap().contains("docker pull registry/vllm:1"), "{vllm}");
    assert_eq!(vllm["fix"], "docker pull registry/vllm:1", "not how to get vLLM without an image");
    assert_eq!(vllm["plan"], "plan.yaml");
    let problems: Vec<Value> = done.rows().into_iter().filter(|row| row["state"] == "problem").collect();
    assert!(
        problems
            .iter()
            .any(|row| row["framework"].is_null() && row["text"].as_str().unwrap().contains("gpu_count is 4"))
    );
    assert!(done.stdout.contains("export HF_TOKEN"), "{}", done.stdout);
    // With the image and the GPUs it can be run.
    let docker = "case $1 in pull) exit 3 ;; *) exit 0 ;; esac";
    let plan = plan.replace("gpu_count: 4", "gpu_count: 1");
    let done = doctor(&[("nvidia-smi", GPUS), ("docker", docker)], Some(&plan), &[]).expect(0);
    assert!(done.stdout.ends_with("Can be run here: vllm.\n"), "{}", done.stdout);
}

#[test]
fn the_quickstart_can_be_run_anywhere_and_a_plan_with_errors_cannot_be_examined() {
    let quickstart = fs::read_to_string(root().join("configs/quickstart.yaml")).unwrap();
    let done = doctor(&[], Some(&quickstart), &[]).expect(0);
    assert!(done.stdout.ends_with("Can be run here: sim_swift, sim_broad.\n"), "{}", done.stdout);
    let wrong =
        doctor(&[], Some("model: m\nframeworks: {vllm: {base_server_flags: {max_num_seqs: x}}}\n"), &[]).expect(2);
    assert!(wrong.stderr.contains("bench-validate") && wrong.stdout.is_empty(), "{}", wrong.stderr);
}

/// What is missing is what has to be got: the launcher, and not the engine that it would start.
#[test]
fn a_launcher_that_is_missing_is_to_be_installed() {
    let plan = "model: m\nhardware: {gpu_count: 0}\nsla: {max_p50_ttft_ms: 1000}\nbenchmark: {max_concurrency: [1]}\n\
                frameworks: {vllm: {launcher: docker, image: registry/vllm:1}}\n";
    let done = doctor(&[], Some(plan), &["--format", "jsonl"]);
    if done.code == Some(0) || done.stdout.contains("docker pull") {
        return crate::harness::skipped("docker is installed");
    }
    let vllm = &rows_of(&done, "vllm", "problem")[0];
    assert!(vllm["text"].as_str().unwrap().contains("needs docker"), "{vllm}");
    assert!(vllm["fix"].as_str().unwrap().starts_with("install docker"), "{vllm}");
}

/// A disk without space is said once, with what to do, and nothing says that all is well.
#[test]
fn a_full_disk_is_a_warning_with_a_way_out() {
    let script = "mkdir full && mount -t tmpfs -o size=64k none full && cd full && HF_HOME=$PWD bench-sweep --doctor ../plan.yaml";
    let folder = scratch();
    fs::write(folder.path().join("plan.yaml"), "model: m\nsla: {max_p50_ttft_ms: 1}\nframeworks: {sim: {}}\n").unwrap();
    let done = run(
        Command::new("unshare")
            .args(["-rm", "bash", "-c", script])
            .current_dir(folder.path())
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin_dir().display())),
        "",
    );
    if done.stderr.contains("unshare:") || done.stderr.contains("mount:") {
        return crate::harness::skipped("there is no namespace to mount a file system in");
    }
    for place in ["where models are downloaded", "in this folder, for results"] {
        let lines: Vec<&str> = done.stdout.lines().filter(|line| line.contains(place)).collect();
        assert!(
            matches!(lines[..], [line] if line.trim_start().starts_with("warning  only 0 GB free")),
            "{}",
            done.stdout
        );
    }
    assert!(
        done.stdout.contains("→ bench-sweep --out DIR") && done.stdout.contains("→ HF_HOME=DIR"),
        "{}",
        done.stdout
    );
}
