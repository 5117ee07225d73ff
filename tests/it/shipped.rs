//! The plans that are part of the programs, in a folder without a checkout.

use std::fs;

use crate::harness::{program, root, run, scratch};

#[test]
fn quickstart_is_a_plan_in_any_folder() {
    let folder = scratch();
    let file = root().join("configs/quickstart.yaml");
    let in_folder = |name: &str, arguments: &[&str]| {
        run(program(name).args(arguments).current_dir(folder.path()), "").expect(0).stdout
    };
    let shell = ["--format", "sh", "quickstart"];
    let commands = run(program("bench-expand").args(["--format", "sh"]).arg(&file), "").expect(0).stdout;
    assert!(commands.contains("bench-sim --model sim"), "{commands}");
    assert_eq!(in_folder("bench-expand", &shell), commands);
    let row = in_folder("bench-validate", &["--format", "jsonl", "quickstart"]);
    assert!(row.contains(r#""path":"quickstart""#), "{row}");
    let steps = in_folder("bench-sweep", &["quickstart", "--dry-run"]);
    assert!(steps.contains("results/quickstart/plan.jsonl -- quickstart\n"), "{steps}");
    // Nothing was written, and a file comes first.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fs::write(folder.path().join("quickstart"), "model: other\n").unwrap();
    let done = run(program("bench-validate").arg("quickstart").current_dir(folder.path()), "").expect(1);
    assert!(done.stderr.contains("quickstart:"), "{}", done.stderr);
}

#[test]
fn the_cookbook_is_listed_and_written() {
    let folder = scratch();
    let list = run(program("bench-validate").arg("--cookbook"), "").expect(0).stdout;
    let plans = fs::read_dir(root().join("configs/cookbook-llm")).unwrap().map(|entry| entry.unwrap().path());
    let ids = plans.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let ids: Vec<String> = ids.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(list.lines().count(), ids.len() + 1);
    for id in &ids {
        assert!(list.lines().any(|line| line.split_whitespace().next() == Some(id)), "{id} is not in\n{list}");
    }
    let mut write = program("bench-validate");
    run(write.args(["--cookbook", "qwen3-235b", "-o", "plan.yaml"]).current_dir(folder.path()), "").expect(0);
    let valid = run(program("bench-validate").arg("plan.yaml").current_dir(folder.path()), "").expect(0);
    assert_eq!(valid.records("plan").len(), 1, "{}", valid.stdout);
    let none = run(program("bench-validate").args(["--cookbook", "no-such-model"]), "").expect(2);
    assert!(none.stdout.is_empty() && none.stderr.contains("--new no-such-model"), "{}", none.stderr);
}
