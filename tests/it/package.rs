//! Scripts that are copied beside the programs under names of their own find them, and each other.

use std::fs;
use std::path::Path;

use crate::harness::{bash, bin_dir, root, run, scratch, write_plan};

/// A folder with the scripts under their installed names, and programs of this build.
fn installed(folder: &Path) {
    fs::create_dir(folder.join("bin")).unwrap();
    for (from, to) in [
        ("sweep-slurm", "bench-sweep-slurm"),
        ("sweep-parallel", "bench-sweep-parallel"),
        ("sweep.sbatch", "bench-sweep.sbatch"),
    ] {
        fs::copy(root().join("scripts").join(from), folder.join("bin").join(to)).unwrap();
    }
    for program in ["bench-sweep", "bench-validate", "bench-expand", "bench-normalize", "bench-rank"] {
        std::os::unix::fs::symlink(bin_dir().join(program), folder.join("bin").join(program)).unwrap();
    }
}

#[test]
fn installed_scripts_have_their_installed_names_and_find_what_is_beside_them() {
    let folder = scratch();
    installed(folder.path());
    write_plan(folder.path(), "model: sim\nframeworks: {sim: {}}\n");
    let installed = |script: &str| {
        let mut command = bash(script);
        command.current_dir(folder.path()).env("PATH", "/usr/bin:/bin").env_remove("CARGO_TARGET_DIR");
        run(&mut command, "").expect(0).stdout
    };
    let jobs = installed("bin/bench-sweep-slurm plan.yaml --share shared --dry-run");
    assert!(jobs.contains("/bin/bench-sweep.sbatch plan.yaml --share "), "{jobs}");
    // By way of a link, as pipx makes it.
    let jobs = installed(
        "mkdir links && ln -s ../bin/bench-sweep-slurm links/ && links/bench-sweep-slurm plan.yaml --share shared --dry-run",
    );
    assert!(jobs.contains("/bin/bench-sweep.sbatch"), "{jobs}");
    let help = installed("bin/bench-sweep-slurm --help && bin/bench-sweep-parallel --help");
    assert!(help.contains("\n  bin/bench-sweep-parallel plan.yaml --hosts") && !help.contains("scripts/"), "{help}");
}
