//! What is shipped: the lists of the packages, all programs as one file, and scripts that are installed beside the programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serving_bench::programs::one_file::PROGRAMS;
use sha2::{Digest, Sha256};

use crate::harness::{Output, Running, bash, bin_dir, root, run, scratch, skipped, write_plan};

const PLAN: &str = "model: sim\ndataset: {num_prompts: 2, scenario_names: [s], input_len: [8], output_len: [2]}\n\
                    benchmark: {max_concurrency: [1], warmup_requests: 0}\nframeworks: {sim: {}}\n";

/// The names of the programs.
fn names() -> Vec<&'static str> {
    PROGRAMS.iter().map(|(name, _)| *name).collect()
}

/// A script without anything of the user's or of cargo's on its PATH.
fn bare(script: &str, folder: &Path) -> Output {
    let mut command = bash(script);
    command.current_dir(folder).env("PATH", "/usr/bin:/bin").env_remove("CARGO_TARGET_DIR");
    run(&mut command, "").expect(0)
}

/// Files of a folder and the folders in it, by their paths in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![folder.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() && !path.is_symlink() {
                true => left.push(path),
                false => {
                    found.insert(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
                }
            }
        }
    }
    found
}

/// Names of the files of a folder of the repository that end so.
fn ours(folder: &str, end: &str) -> Vec<String> {
    let names =
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(end)).collect()
}

/// Packages of a program that is a script around the one of this build, which would take long to pack; `None`, with a note, where a tool is
/// missing.
fn packages(folder: &Path) -> Option<PathBuf> {
    let missing = ["jq", "dpkg-deb", "python3", "git"]
        .into_iter()
        .find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        skipped(&format!("{tool} is not installed"));
        return None;
    }
    let program = folder.join("program");
    let built = bin_dir().join("examples/serving-bench");
    fs::write(&program, format!("#!/usr/bin/env bash\nexec -a \"$0\" '{}' \"$@\"\n", built.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let out = folder.join("out");
    let mut package = Command::new(root().join("scripts/package"));
    run(package.args(["--allow-dirty", "--program"]).arg(program).arg("--out").arg(&out), "").expect(0);
    Some(out)
}

/// The package whose name ends so.
fn package(out: &Path, end: &str) -> PathBuf {
    let mut names = files(out).into_iter().filter(|name| name.ends_with(end));
    out.join(names.next().unwrap_or_else(|| panic!("no {end} in {:?}", files(out))))
}

/// Panics unless everything that is shipped is in this list of files below `share` and `bin`.
fn assert_complete(found: &BTreeSet<String>, zsh: &str, packed: &str) {
    let mut wanted: Vec<String> = Vec::new();
    for name in names() {
        wanted.push(format!("bin/{name}"));
        wanted.push(format!("share/bash-completion/completions/{name}"));
        wanted.push(format!("share/zsh/{zsh}/_{name}"));
        wanted.push(format!("share/fish/vendor_completions.d/{name}.fish"));
    }
    let scripts = ["serving-bench", "bench-sweep-slurm", "bench-sweep-parallel", "bench-sweep.sbatch"];
    wanted.extend(scripts.iter().map(|name| format!("bin/{name}")));
    for (folder, end) in [
        ("configs/schemas", ".json"),
        ("configs/cookbook-llm", ".yaml"),
        ("configs/frameworks", ".yaml"),
        ("configs/launchers", ".yaml"),
        ("docs", ".md"),
    ] {
        wanted.extend(ours(folder, end).iter().map(|name| format!("share/serving-bench/{folder}/{name}")));
    }
    let pages = [".1", ".5", ".7"].iter().flat_map(|end| ours("man", end));
    wanted.extend(pages.map(|page| format!("share/man/man{}/{page}{packed}", &page[page.len() - 1..])));
    let more = [
        "SKILL.md",
        "README.md",
        "LICENSE",
        "scripts/sweep.mk",
        "scripts/gpu-probe",
        "configs/quickstart.yaml",
        "sbom.cdx.json",
    ];
    wanted.extend(more.iter().map(|name| format!("share/serving-bench/{name}")));
    let missing: Vec<&String> = wanted.iter().filter(|name| !found.contains(*name)).collect();
    assert!(missing.is_empty(), "not in the package: {missing:#?}");
}

#[test]
fn the_packages_have_all_programs_pages_completions_schemas_and_plans() {
    let folder = scratch();
    let Some(out) = packages(folder.path()) else { return };
    let place = |name: &str| {
        let place = folder.path().join(name);
        fs::create_dir(&place).unwrap();
        place
    };
    let (tarball, deb, wheel) = (place("tarball"), place("deb"), place("wheel"));
    let archive = package(&out, ".tar.gz");
    run(Command::new("tar").args(["--strip-components", "1", "-xf"]).arg(archive).arg("-C").arg(&tarball), "")
        .expect(0);
    assert_complete(&files(&tarball), "site-functions", "");
    assert_eq!(fs::read_link(tarball.join("bin/bench-rank")).unwrap(), Path::new("serving-bench"));

    run(Command::new("dpkg-deb").arg("-x").arg(package(&out, ".deb")).arg(&deb), "").expect(0);
    assert_complete(&files(&deb.join("usr")), "vendor-completions", ".gz");
    assert!(deb.join("usr/share/doc/serving-bench/README.md").is_file(), "the link leads somewhere");
    let control = run(Command::new("dpkg-deb").arg("-f").arg(package(&out, ".deb")), "").expect(0).stdout;
    assert!(control.contains("Package: serving-bench\n") && control.contains("libc6 (>= 2.17)"), "{control}");
    assert!(!control.contains('@') || control.matches('@').count() == 1, "only the address has one: {control}");

    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(package(&out, ".whl")).arg(&wheel), "").expect(0);
    let found = files(&wheel);
    let one = |end: &str| found.iter().find(|name| name.ends_with(end)).unwrap_or_else(|| panic!("no {end}")).clone();
    let data = one(".data/scripts/serving-bench").replace("/scripts/serving-bench", "");
    let installed = found.iter().filter_map(|name| name.strip_prefix(&format!("{data}/")));
    let installed = installed.map(|name| match name.strip_prefix("scripts/") {
        Some(name) => format!("bin/{name}"),
        None => name.strip_prefix("data/").unwrap().to_string(),
    });
    assert_complete(&installed.collect(), "site-functions", "");
    assert_record(&wheel, &one(".dist-info/RECORD"), &found);
    let sbom: Value =
        serde_json::from_str(&fs::read_to_string(wheel.join(one("sboms/serving-bench.cdx.json"))).unwrap()).unwrap();
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    let crates = sbom["components"].as_array().unwrap();
    let named = |name: &str| crates.iter().any(|one| one["name"] == name && one["hashes"][0]["content"].is_string());
    assert!(named("serde_json") && named("rustls") && !named("proptest"), "{crates:#?}");
}

/// Panics unless a wheel's list has each of its files, with its digest and size.
fn assert_record(wheel: &Path, record: &str, found: &BTreeSet<String>) {
    let list = fs::read_to_string(wheel.join(record)).unwrap();
    let mut listed = BTreeSet::new();
    for line in list.lines() {
        let [name, digest, size] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if name != record {
            let content = fs::read(wheel.join(name)).unwrap();
            assert_eq!(digest, format!("sha256={}", URL_SAFE_NO_PAD.encode(Sha256::digest(&content))), "{name}");
            assert_eq!(size, content.len().to_string(), "{name}");
        }
        listed.insert(name.to_string());
    }
    assert_eq!(&listed, found);
}

#[test]
fn the_one_file_has_each_program() {
    let sources: BTreeSet<String> = ours("src/bin", ".rs").iter().map(|name| name.replace(".rs", "")).collect();
    assert_eq!(names().into_iter().map(String::from).collect::<BTreeSet<_>>(), sources);
    let done = run(&mut Command::new(bin_dir().join("examples/serving-bench")), "").expect(2);
    assert!(done.stderr.contains("call it by a link with one of these: bench-validate"), "{}", done.stderr);
}

/// A sweep runs with all programs in one file, called by links, as a tarball has them, and by the scripts of a wheel.
#[test]
fn one_file_is_all_programs_of_a_sweep() {
    for link in [true, false] {
        let folder = scratch();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::copy(bin_dir().join("examples/serving-bench"), bin.join("serving-bench")).unwrap();
        for name in names() {
            match link {
                true => symlink("serving-bench", bin.join(name)).unwrap(),
                false => drop(fs::copy(root().join("scripts/packaging/program"), bin.join(name)).unwrap()),
            }
        }
        write_plan(folder.path(), PLAN);
        // By way of another link, as pipx makes it.
        let done = bare("mkdir links && ln -s ../bin/bench-sweep links/ && links/bench-sweep plan.yaml", folder.path());
        assert!(done.stdout.contains("sim baseline"), "{done:#?}");
        let doctor = bare("bin/bench-sweep --doctor --format jsonl || true", folder.path()).stdout;
        assert!(doctor.contains("all programs of version"), "{doctor}");
        let server = Running::of(Command::new(bin.join("bench-sim")));
        let name = fs::read_to_string(format!("/proc/{}/comm", server.pid())).unwrap();
        assert_eq!(name, "bench-sim\n", "the name by which the programs of a sweep are found");
    }
}

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
        symlink(bin_dir().join(program), folder.join("bin").join(program)).unwrap();
    }
}

#[test]
fn installed_scripts_have_their_installed_names_and_find_what_is_beside_them() {
    let folder = scratch();
    installed(folder.path());
    write_plan(folder.path(), "model: sim\nframeworks: {sim: {}}\n");
    let installed = |script: &str| bare(script, folder.path()).stdout;
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
