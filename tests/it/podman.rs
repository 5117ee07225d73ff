//! A real container, by Podman: where that is not installed the tests say so and end.

use std::path::Path;
use std::process::Command;

use crate::harness::{bin_dir, candidates, program, run, scratch, skipped};

/// An image with bench-sim in it, made from this host's files; `None` where Podman cannot run it.
struct Image(String);

impl Image {
    fn make() -> Option<Self> {
        let podman = |arguments: &[&str]| Command::new("podman").args(arguments).output().ok();
        let Some(version) = podman(&["--version"]).filter(|done| done.status.success()) else {
            skipped("podman is not installed");
            return None;
        };
        let name = format!("localhost/bench-it/sim:{}", std::process::id());
        let folder = scratch();
        let root = folder.path();
        for part in ["usr/local/bin", "tmp"] {
            std::fs::create_dir_all(root.join(part)).unwrap();
        }
        let sim = bin_dir().join("bench-sim");
        std::fs::copy(&sim, root.join("usr/local/bin/bench-sim")).unwrap();
        let linked = Command::new("ldd").arg(&sim).output().ok()?;
        for library in String::from_utf8_lossy(&linked.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
            let to = root.join(library.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(Path::new(library), to).unwrap();
        }
        let tar = root.join("image.tar");
        let parts = ["usr", "tmp", "lib", "lib64"].into_iter().filter(|part| root.join(part).exists());
        let packed = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(root).args(parts).status().unwrap();
        assert!(packed.success());
        let image = Self(name);
        let done = podman(&["import", "--change", "ENV PATH=/usr/local/bin", tar.to_str().unwrap(), &image.0])?;
        let tried = podman(&[
            "run",
            "--rm",
            "--init",
            "--network",
            "host",
            "--ipc",
            "host",
            &image.0,
            "bench-sim",
            "--version",
        ])?;
        if done.status.success() && tried.status.success() {
            return Some(image);
        }
        let said =
            String::from_utf8_lossy(if done.status.success() { &tried.stderr } else { &done.stderr }).into_owned();
        skipped(&format!(
            "{} runs no container here: {}",
            String::from_utf8_lossy(&version.stdout).trim(),
            said.trim()
        ));
        None
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("podman").args(["rmi", "-f", &self.0]).output();
    }
}

#[test]
fn an_engine_on_the_cpu_is_asked_started_and_gone() {
    let Some(image) = Image::make() else { return };
    let folder = scratch();
    for options in ["", "--shm-size 64m"] {
        let plan = format!(
            "model: m\nhardware: {{gpu_count: 0}}\n\
             dataset: {{num_prompts: 4, scenario_names: [s], input_len: [8], output_len: [3]}}\n\
             sla: {{max_mean_ttft_ms: 5000}}\nbenchmark: {{max_concurrency: [1]}}\n\
             frameworks: {{sim: {{launcher: {{name: podman, options: \"{options}\"}}, image: \"{}\", \
             base_server_flags: {{load_ms: 0}}}}}}\n",
            image.0
        );
        let mut validate = program("bench-validate");
        validate.current_dir(folder.path()).args(["--preflight", "--capture-help", "help", "--format", "jsonl", "-"]);
        let done = run(&mut validate, &plan).expect(0);
        assert!(done.stdout.contains("--max-num-seqs") || done.stdout.contains("--load-ms"), "{}", done.stderr);
        let mut serve = program("bench-serve");
        serve.arg("--artifacts").arg(folder.path().join("logs")).args(["--grace", "5", "--", "cat"]);
        let done = run(&mut serve, &candidates(&plan)).expect(0);
        let end = &done.records("server_end")[0];
        assert_eq!((&end["status"], &end["stop"]["survivors"]), (&"ok".into(), &serde_json::json!([])), "{end:#}");
        let name = format!("name=bench-{}", done.records("server")[0]["server_id"].as_str().unwrap());
        let left = Command::new("podman").args(["ps", "-a", "-q", "--filter", &name]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "{}", done.stderr);
    }
}
