//! Which commit a build says that it is from: `build.rs` finds it, programs and rows say it.

use std::fs;
use std::path::Path;

use serving_bench::base::version::{COMMIT, VERSION};

use crate::harness::{Running, program, root, run, scratch};

#[allow(dead_code, reason = "cargo runs the rest of it")]
#[path = "../../build.rs"]
mod build;

const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_commit_is_read_from_a_branch_a_packed_branch_and_a_detached_head() {
    let folder = scratch();
    let root = folder.path();
    assert_eq!(build::head(root), None, "no repository");
    write(root, ".git/HEAD", "ref: refs/heads/main\n");
    assert_eq!(build::head(root), None, "no commit yet");
    write(root, ".git/refs/heads/side", TWO);
    write(
        root,
        ".git/packed-refs",
        &format!("# pack-refs with: peeled\n{TWO} refs/heads/x/main\n{ONE} refs/heads/main\n"),
    );
    assert_eq!(build::head(root).as_deref(), Some(ONE));
    write(root, ".git/refs/heads/main", &format!("{TWO}\n"));
    assert_eq!(build::head(root).as_deref(), Some(TWO), "a loose branch is newer than a packed one");
    write(root, ".git/HEAD", &format!("{ONE}\n"));
    assert_eq!(build::head(root).as_deref(), Some(ONE));
}

#[test]
fn a_further_work_tree_has_a_head_of_its_own_and_shares_the_branches() {
    let folder = scratch();
    let root = folder.path().join("tree");
    write(&root, ".git", &format!("gitdir: {}\n", folder.path().join("git/worktrees/tree").display()));
    write(folder.path(), "git/worktrees/tree/HEAD", "ref: refs/heads/side\n");
    write(folder.path(), "git/worktrees/tree/commondir", "../..\n");
    write(folder.path(), "git/HEAD", "ref: refs/heads/main\n");
    write(folder.path(), "git/refs/heads/main", ONE);
    write(folder.path(), "git/refs/heads/side", TWO);
    assert_eq!(build::head(&root).as_deref(), Some(TWO));
}

#[test]
fn a_package_says_what_it_was_made_from() {
    let folder = scratch();
    assert_eq!(build::packaged(folder.path()), None);
    let info =
        |more: &str| format!("{{\n  \"git\": {{\n    \"sha1\": \"{ONE}\"{more}\n  }},\n  \"path_in_vcs\": \"\"\n}}");
    write(folder.path(), ".cargo_vcs_info.json", &info(""));
    assert_eq!(build::packaged(folder.path()), Some((ONE.into(), false)));
    write(folder.path(), ".cargo_vcs_info.json", &info(",\n    \"dirty\": true"));
    assert_eq!(build::packaged(folder.path()), Some((ONE.into(), true)));
}

#[test]
fn this_build_says_the_commit_that_is_checked_out() {
    let wanted = build::packaged(root()).map(|(hash, _)| hash).or_else(|| build::head(root()));
    let said = COMMIT.map(|commit| commit.trim_end_matches("-dirty"));
    assert_eq!(said, wanted.as_deref().map(|hash| &hash[..7]));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(VERSION, COMMIT.map_or_else(|| version.to_string(), |commit| format!("{version} ({commit})")));
}

#[test]
fn rows_say_which_build_measured_and_compare_with_those_of_other_builds() {
    let server = Running::sim(&[]);
    let args = ["--quiet", "--scenario", "s=8:2", "--concurrency", "1", "--num-prompts", "1", "--warmup", "0"];
    let raw = run(program("bench-load").args(["--url", &server.url]).args(args), "").expect(0);
    let client = &raw.records("run")[0]["client"];
    assert_eq!(client["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(client["commit"].as_str(), COMMIT);
    let result = &run(&mut program("bench-normalize"), &raw.stdout).expect(0).records("result")[0];
    assert_eq!(result["run"]["client"], format!("bench-load {VERSION}"));
    // What must be equal in rows that are compared, and so the key of resume, leaves the build out.
    assert_eq!(result["fingerprint"]["client"], "bench-load 0");
}
