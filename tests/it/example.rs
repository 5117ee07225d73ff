//! Plans that bench-validate writes: the shipped example, and one for every framework.

use std::fs;

use serde_json::Value;

use crate::harness::{program, root, run};

fn new(arguments: &[&str]) -> String {
    run(program("bench-validate").arg("--new").args(arguments), "").expect(0).stdout
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
        let knobs = plan.lines().filter(|line| line.starts_with("      ")).count();
        assert!(
            plan.lines().filter(|line| line.starts_with("      ") && line.contains(" # ")).count() == knobs,
            "{plan}"
        );
    }
    let two = new(&["m", "--frameworks", "vllm,sim"]);
    assert!(two.contains("\n  vllm:\n") && two.contains("\n  sim:\n") && !two.contains("sglang:"), "{two}");
    let done = run(program("bench-validate").args(["--new", "m", "--frameworks", "vlm"]), "").expect(2);
    assert!(done.stderr.contains("unknown framework \"vlm\"; did you mean \"vllm\"?"), "{}", done.stderr);
}
