//! Plans that bench-validate writes: the shipped example, and one for every framework.

use std::fs;

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{Output, program, root, run, scratch};

/// `bench-validate --new` on a host with these programs alone.
fn new_with(programs: &[&str], arguments: &[&str]) -> Output {
    let host = scratch();
    for name in programs {
        let path = host.path().join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    run(program("bench-validate").arg("--new").args(arguments).env("PATH", host.path()), "").expect(0)
}

fn new(arguments: &[&str]) -> String {
    new_with(&[], arguments).stdout
}

/// The frameworks that a plan compares.
fn compared(plan: &str) -> Vec<String> {
    let row = run(program("bench-validate").args(["--gpu", "H100", "--format", "jsonl", "-"]), plan).expect(0);
    let row: Value = serde_json::from_str(&row.stdout).unwrap();
    row["frameworks"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_new_plan_compares_what_is_on_path() {
    let plan = new_with(&["vllm", "python", "python3"], &["m"]).stdout;
    assert_eq!(compared(&plan), ["vllm"], "an interpreter is no SGLang: {plan}");
    assert!(
        plan.contains("  # sglang:\n  #   server_command: /path/to/venv/bin/python -m sglang.launch_server\n"),
        "{plan}"
    );
    let plan = new_with(&["sglang", "tokenspeed"], &["m"]).stdout;
    assert_eq!(compared(&plan), ["sglang", "tokenspeed"]);
    assert!(plan.contains("  sglang:\n    server_command: sglang serve\n"), "{plan}");
    // What is commented is a plan too.
    let (active, rest) = plan.split_at(plan.find(" is not on PATH. ").unwrap());
    let rest = rest.lines().filter(|line| !line.contains(" is not on PATH. "));
    let rest: Vec<String> =
        rest.map(|line| line.strip_prefix("  # ").map_or(line.into(), |line| format!("  {line}"))).collect();
    let all = format!("{active}\n{}\n", rest.join("\n"));
    assert_eq!(compared(&all).len(), 4, "{all}");
    let none = new_with(&[], &["m"]);
    assert!(none.stderr.contains("none of sglang, vllm, trtllm-serve, tokenspeed is on PATH"), "{}", none.stderr);
    assert_eq!(compared(&none.stdout).len(), 4);
    assert_eq!(compared(&new_with(&["vllm", "llama-server"], &["/m/x.Q4_K_M.gguf"]).stdout), ["llama_cpp"]);
    assert_eq!(
        compared(&new_with(&["vllm"], &["m", "--frameworks", "sglang"]).stdout),
        ["sglang"],
        "what is asked for counts"
    );
}

#[test]
fn a_new_plan_proposes_expert_parallelism() {
    let folder = scratch();
    let config = |width: u64| {
        let text = format!(
            "{{\"moe_intermediate_size\": {width}, \"quantization_config\": {{\"weight_block_size\": [128, 128]}}}}"
        );
        fs::write(folder.path().join("config.json"), text).unwrap();
    };
    let model = folder.path().display().to_string();
    let of =
        |model: &str, gpus: &str| new(&[model, "--gpus", gpus, "--frameworks", "vllm,sglang,tensorrt_llm,tokenspeed"]);
    // 1536 / 8 is 192, which 128 does not divide; two GPUs for each expert, 768 columns, do.
    config(1536);
    let plan = of(&model, "8");
    assert!(
        plan.contains("\n      enable_expert_parallel: true ") && plan.matches("\n      ep_size: 2 ").count() == 2,
        "{plan}"
    );
    assert!(plan.contains("\n      expert_parallel_size: 2 "), "{plan}");
    assert!(
        !of(&model, "4").contains("expert_parallel") && !of(&model, "4").contains("ep_size"),
        "four GPUs share them"
    );
    // Of a model that is not here, and that no table names, nothing is known.
    for model in ["acme/unknown", "acme/dense-8B", "acme/sparse-30B-A3B"] {
        assert!(!of(model, "8").contains("expert_parallel"), "{model}");
    }
}

#[test]
fn the_example_is_what_new_writes() {
    let path = root().join("configs/example-plan.yaml");
    let text = new(&["Qwen/Qwen3-32B", "--gpus", "4"]);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "BLESS=1 rewrites it");
}

#[test]
fn a_new_plan_is_good_and_expands() {
    for name in ["sglang", "vllm", "tensorrt_llm", "tokenspeed", "llama_cpp", "sim"] {
        let plan = new(&["no", "--gpus", "2", "--frameworks", name]);
        let row = run(program("bench-validate").args(["--gpu", "H100", "-"]), &plan).expect(0);
        assert!(!row.stderr.contains(": error: "), "{name}: {}", row.stderr);
        let candidates = run(&mut program("bench-expand"), &row.stdout).expect(0).rows();
        // A name that YAML 1.1 takes for false stays a name.
        assert_eq!(candidates[0]["model"], "no");
        assert!(
            candidates.len() > 2 && candidates.iter().all(|c| c["status"] == Value::Null),
            "{name}: {}",
            row.stderr
        );
        let knobs = || plan.lines().filter(|line| line.starts_with("      ") && !line.starts_with("      #"));
        assert!(knobs().all(|line| line.contains(" # ")), "{plan}");
    }
    let two = new(&["m", "--frameworks", "vllm,sim"]);
    assert!(two.contains("\n  vllm:\n") && two.contains("\n  sim:\n") && !two.contains("sglang:"), "{two}");
    let done = run(program("bench-validate").args(["--new", "m", "--frameworks", "vlm"]), "").expect(2);
    assert!(done.stderr.contains("unknown framework \"vlm\"; did you mean \"vllm\"?"), "{}", done.stderr);
}
