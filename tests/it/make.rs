//! scripts/sweep.mk with GNU make: a nightly of several plans.

use std::path::Path;
use std::process::Command;

use crate::harness::{Output, bin_dir, root, rows_in, run, scratch, skipped};

/// A plan with one engine and one load.
fn plan(output: u32) -> String {
    format!(
        "model: sim\nhardware: {{gpu_count: 1}}\n\
         dataset: {{num_prompts: 6, scenario_names: [chat], input_len: [32], output_len: [{output}]}}\n\
         benchmark: {{max_concurrency: [2], warmup_requests: 1}}\nsla: {{max_p99_ttft_ms: 2000}}\n\
         frameworks: {{sim: {{base_server_flags: {{step_base_us: 2000, load_ms: 10}}}}}}\n"
    )
}

fn make(folder: &Path, words: &str) -> Option<Output> {
    if Command::new("make").arg("--version").output().is_err()
        || Command::new("flock").arg("--version").output().is_err()
    {
        skipped("make or flock is not installed");
        return None;
    }
    let mut command = Command::new("make");
    let path = format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap_or_default());
    command.arg("-f").arg(root().join("scripts/sweep.mk")).args(words.split(' ')).env("PATH", path).current_dir(folder);
    Some(run(command.env("XDG_RUNTIME_DIR", folder).env_remove("MAKEFLAGS"), ""))
}

fn plans(names: &[&str]) -> tempfile::TempDir {
    let folder = scratch();
    std::fs::create_dir(folder.path().join("plans")).unwrap();
    for name in names {
        std::fs::write(folder.path().join(format!("plans/{name}.yaml")), plan(8)).unwrap();
    }
    folder
}

#[test]
fn a_nightly_of_three_plans() {
    let folder = plans(&["a", "b", "c"]);
    let Some(done) = make(folder.path(), "-j3 report") else { return };
    done.expect(0);
    for name in ["a", "b", "c"] {
        let out = folder.path().join("results").join(name);
        assert_eq!(rows_in(&out.join("results.jsonl")).iter().filter(|row| row["status"] == "ok").count(), 1);
        assert!(std::fs::read_to_string(out.join("report.md")).unwrap().contains("sim"));
    }
    // Nothing is made twice.
    let again = make(folder.path(), "report").unwrap().expect(0);
    assert!(again.stdout.contains("Nothing to be done") || again.stdout.is_empty(), "{}", again.stdout);
    // A plan that changes is measured again, and no other.
    std::fs::write(folder.path().join("plans/b.yaml"), plan(9)).unwrap();
    let shown = make(folder.path(), "-n report").unwrap().expect(0);
    assert!(shown.stdout.contains("plans/b.yaml") && !shown.stdout.contains("plans/a.yaml"), "{}", shown.stdout);
}

#[test]
fn a_plan_with_an_error_does_not_keep_the_others_back() {
    let folder = plans(&["a", "c"]);
    std::fs::write(folder.path().join("plans/b.yaml"), plan(8).replace("max_concurrency", "max_concurency_of"))
        .unwrap();
    let Some(done) = make(folder.path(), "-k report") else { return };
    assert!(done.expect(2).stderr.contains("results/b/plan.jsonl"));
    for (name, made) in [("a", true), ("b", false), ("c", true)] {
        assert_eq!(folder.path().join("results").join(name).join("report.md").exists(), made, "{name}");
    }
    assert!(!folder.path().join("results/b/plan.jsonl").exists());
}

#[test]
fn a_regression_is_the_status_of_make() {
    let folder = plans(&["a"]);
    let Some(done) = make(folder.path(), "results") else { return };
    done.expect(0);
    std::fs::rename(folder.path().join("results"), folder.path().join("last")).unwrap();
    make(folder.path(), "results").unwrap().expect(0);
    let same = make(folder.path(), "BASELINE=last regression").unwrap();
    assert!(folder.path().join("results/a/regression.md").is_file(), "{}", same.stderr);
    // A baseline that does not fit is a failure, not silence.
    let other = make(folder.path(), "BASELINE=none regression").unwrap().expect(2);
    assert!(other.stderr.contains("none/a/results.jsonl"), "{}", other.stderr);
}
