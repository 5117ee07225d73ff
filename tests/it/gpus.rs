//! The scripts for GPUs, on output made after the formats of the vendors' tools.

use std::process::Command;

use crate::harness::{bash, bin_dir, root, run, scratch};

/// scripts/gpu-probe on such output.
fn probe(name: &str, files: &[&str]) -> Command {
    let mut command = Command::new(root().join("scripts/gpu-probe"));
    command.arg(name).args(files.iter().map(|file| root().join("tests/fixtures/gpu").join(file)));
    command
}

#[test]
fn other_vendors_tools_are_read() {
    // The second GPU of each reports 0 W, and a list or nothing where the first has a number.
    for (name, files, lines) in [
        (
            "amd-smi",
            &["amd-smi-list.csv", "amd-smi-static.csv", "amd-smi-metric.csv"][..],
            "0, 64ff74a1-0000-1000-80ea-c5ae1f0a5ee5, AMD Instinct MI300X, 150283, 196592, 97, 716, 1421, 63, , 6.12.12\n\
             1, c4ff74a1-0000-1000-80c1-2b8e2f0a1d77, AMD Instinct MI300X, 283, 196592, 0, , , 41, , 6.12.12\n",
        ),
        (
            "xpu-smi",
            &["xpu-smi-dump.csv"],
            "0, GPU-0, Intel GPU, 12289.62, , 98.50, 118.61, 1550, 57.00, , \n1, GPU-1, Intel GPU, 27.71, , 0.00, , , , , \n",
        ),
        (
            "npu-smi",
            &["npu-smi-info.txt"],
            "0, 0000:C1:00.0, 910B3, 3362, 65536, 0, 90.6, , 36, , \n1, 0000:01:00.0, 910B3, 61234, 65536, 96, 305.2, , 61, , \n",
        ),
    ] {
        assert_eq!(run(&mut probe(name, files), "").expect(0).stdout, lines, "{name}");
        let gpus = serving_bench::engines::gpu::parse(lines).unwrap();
        assert!(gpus[0].power_w.is_some_and(|watts| watts > 0.0), "{gpus:?}");
        assert_eq!((gpus.len(), gpus[1].index), (2, 1), "{gpus:?}");
    }
}

#[test]
fn what_a_probe_cannot_read_is_an_error() {
    for (name, files, said) in [
        ("amd-smi", &["amd-smi-list.csv", "amd-smi-metric.csv"][..], "a file is missing"),
        (
            "amd-smi",
            &["amd-smi-list.csv", "amd-smi-metric.csv", "amd-smi-static.csv"],
            "memory in use of GPU 0 is unknown",
        ),
        ("xpu-smi", &["npu-smi-info.txt"], "no GPU in the output"),
        ("rocm", &[], "NAME is one of: amd-smi npu-smi xpu-smi"),
    ] {
        let done = run(&mut probe(name, files), "").expect(2);
        assert!(done.stderr.contains(said), "{name} {files:?}: {}", done.stderr);
    }
}

/// Half a minute of sampling.
#[test]
#[ignore = "slow"]
fn the_check_of_a_gpu_passes_on_output_in_the_form_of_its_tools() {
    let folder = scratch();
    let state = folder.path().join("state");
    let fixtures = root().join("tests/fixtures/gpu");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{}:{path}", fixtures.display(), bin_dir().display());
    let check = |power: &str| {
        std::fs::write(&state, format!("4 {power}\n")).unwrap();
        let mut command = bash("command -v jq > /dev/null || exit 77; exec \"$0\" 0");
        command.arg(root().join("scripts/gpu-check")).env("PATH", &path).env("GPU_STATE", &state);
        command.env("XDG_RUNTIME_DIR", folder.path()).env("GPU_CHECK_HOLD", fixtures.join("hold"));
        run(&mut command, "")
    };
    let done = check("71.20");
    if done.code == Some(77) {
        return crate::harness::skipped("no jq");
    }
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    for said in ["preflight by id: GPU-5fd4f087", "throttle words: idle power_cap", "a busy GPU is refused", "energy"] {
        assert!(done.stdout.lines().any(|line| line.starts_with("ok") && line.contains(said)), "{}", done.stdout);
    }
    let done = check("[N/A]").expect(1);
    assert!(done.stdout.contains("FAIL  power.draw is a number above 0: [N/A]"), "{}", done.stdout);
}
