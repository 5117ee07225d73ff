//! What is looked at before a run, on hosts that scripts make up: `nvidia-smi`, `rocm-smi` and `docker` on a PATH of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Output, program, run};

const FREE: &str = "0, GPU-a, NVIDIA H100 80GB HBM3, 4, 81559, 0, 71.2, 345, 30, 0x0, 570.1\n\
                    1, GPU-b, NVIDIA H100 80GB HBM3, 4, 81559, 0, 71.2, 345, 30, 0x0, 570.1\n";
const PLAN: &str = "model: m\nsla: {max_p50_ttft_ms: 1000}\nbenchmark: {max_concurrency: [1]}\n";

/// A host with these programs, and no others of that kind.
struct Host(tempfile::TempDir);

impl Host {
    fn new(programs: &[(&str, &str)]) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        for (name, script) in programs {
            let path = host.0.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        host
    }

    /// `nvidia-smi` that lists these GPUs.
    fn with_gpus(text: &str) -> Self {
        let list = format!(
            "case $* in *query-gpu=name*) printf '%s' '{0}' | cut -d, -f3 | sed 's/^ //' ;; *query*) printf '%s' '{0}' ;; \
                            *) echo 'Driver Version: 570.1   CUDA Version: 12.8  |' ;; esac",
            text
        );
        Self::new(&[("nvidia-smi", &list), ("vllm", "true"), ("python", "true")])
    }

    fn validate(&self, frameworks: &str, more: &[&str]) -> Output {
        let programs = Path::new(program("bench-sim").get_program()).parent().unwrap().display().to_string();
        let mut command = program("bench-validate");
        command.args(["--preflight", "--format", "jsonl"]).args(more).arg("-");
        command.env("PATH", format!("{}:{programs}:/usr/bin:/bin", self.0.path().display()));
        command.env("HF_TOKEN", "not-for-anybody").env_remove("NGC_API_KEY");
        run(&mut command, &format!("{PLAN}{frameworks}"))
    }
}

#[test]
fn what_is_there_stands_in_the_plan_row() {
    let host = Host::with_gpus(FREE);
    let done = host.validate("hardware: {gpu_count: 2}\nframeworks: {vllm: {}}\n", &[]).expect(0);
    let row: Value = serde_json::from_str(&done.stdout).unwrap();
    let seen = &row["environment"];
    assert_eq!((&seen["gpus"][1]["uuid"], &seen["gpus"][1]["busy"]), (&json!("GPU-b"), &json!(false)), "{seen:#}");
    assert_eq!(
        (&seen["driver"], &seen["cuda"], &seen["gpu_tool"]),
        (&json!("570.1"), &json!("12.8"), &json!("nvidia-smi"))
    );
    assert!(
        seen["disk_free_gb"].is_number() && seen["open_files"]["hard"].is_u64() && seen["cpus"].is_u64(),
        "{seen:#}"
    );
    // Tokens by their names alone.
    assert_eq!(seen["tokens"], json!(["HF_TOKEN"]));
    assert!(!done.stdout.contains("not-for-anybody") && !done.stderr.contains("not-for-anybody"));
    // The GPU that the plan does not name is the one that is there.
    assert_eq!(row["defaults"]["hardware.gpu_model"], "NVIDIA H100 80GB HBM3");
    let candidates = run(&mut program("bench-expand"), &done.stdout).expect(0).rows();
    assert_eq!(candidates[0]["hardware"]["gpu_model"], "NVIDIA H100 80GB HBM3");
}

#[test]
fn a_busy_gpu_or_too_few_stop_the_run() {
    let busy = FREE.replace("GPU-b, NVIDIA H100 80GB HBM3, 4", "GPU-b, NVIDIA H100 80GB HBM3, 40000");
    let host = Host::with_gpus(&busy);
    let help = host.0.path().join("help").display().to_string();
    let done =
        host.validate("hardware: {gpu_count: 2}\nframeworks: {vllm: {}}\n", &["--capture-help", &help]).expect(1);
    assert!(
        done.stdout.is_empty()
            && done.stderr.contains("error: E-HOST: GPU 1 (NVIDIA H100 80GB HBM3): 40000 MiB in use"),
        "{}",
        done.stderr
    );
    // And it is recorded.
    let seen: Value =
        serde_json::from_str(&fs::read_to_string(host.0.path().join("help/preflight.json")).unwrap()).unwrap();
    assert_eq!(seen["gpus"][1]["busy"], true);
    // Others may be named, by index or by id; no other number is used.
    for ids in ["\"0\"", "GPU-a"] {
        host.validate(
            &format!("hardware: {{gpu_count: 1, visible_devices: {ids}}}\nframeworks: {{vllm: {{}}}}\n"),
            &[],
        )
        .expect(0);
    }
    let done = host.validate("hardware: {gpu_count: 4}\nframeworks: {vllm: {}}\n", &[]).expect(1);
    assert!(done.stderr.contains("gpu_count is 4, but 2 are available or selected"), "{}", done.stderr);
    let done = host.validate("hardware: {gpu_count: 1, gpu_model: B200}\nframeworks: {vllm: {}}\n", &[]).expect(0);
    assert!(
        done.stderr.contains("warning: W-HOST: the plan has B200, but this host has NVIDIA H100 80GB HBM3"),
        "{}",
        done.stderr
    );
    // A simulated engine takes none.
    host.validate("hardware: {gpu_count: 4}\nframeworks: {sim: {}}\n", &[]).expect(0);
}

#[test]
fn the_gpu_that_is_there_decides_what_is_searched() {
    let sglang = "frameworks: {sglang: {search_space: {attention_backend: [fa3, flashinfer]}}}\n";
    let fa3 = |host: &Host, more: &[&str]| {
        let rows = run(&mut program("bench-expand"), &host.validate(sglang, more).expect(0).stdout).expect(0).rows();
        rows.iter()
            .filter(|c| c["status"] == Value::Null && c["server"]["changed"]["attention_backend"] == "fa3")
            .count()
    };
    assert_eq!(fa3(&Host::with_gpus(FREE), &[]), 1);
    assert_eq!(fa3(&Host::with_gpus(&FREE.replace("H100 80GB HBM3", "B200")), &[]), 0);
    assert_eq!(fa3(&Host::with_gpus(FREE), &["--gpu", "NVIDIA GeForce RTX 5090"]), 0);
}

#[test]
fn other_tools_and_hosts_without_any() {
    let rocm = Host::new(&[("rocm-smi", "echo '{\"card0\": {\"Card Series\": \"MI300X\"}}'"), ("vllm", "true")]);
    let done = rocm.validate("frameworks: {vllm: {}}\n", &[]).expect(0);
    let row: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&row["environment"]["gpu_tool"], &row["environment"]["gpus"]["card0"]["Card Series"]),
        (&json!("rocm-smi"), &json!("MI300X"))
    );
    let none = Host::new(&[]);
    let done = none.validate("frameworks: {vllm: {}, sim: {}, sglang: {launcher: docker, image: x}}\n", &[]).expect(1);
    assert!(done.stderr.contains("its launcher needs docker, which was not found on PATH"), "{}", done.stderr);
    let missing = "frameworks: {vllm: {env: {NGC_API_KEY: null}}, sim: {}}\n";
    let done = none.validate(missing, &[]).expect(1);
    assert!(
        done.stderr.contains("error: E-FRAMEWORK-MISSING: vLLM cannot be started: vllm not found on PATH; install it"),
        "{}",
        done.stderr
    );
    let done = none.validate(missing, &["--allow-missing"]).expect(0);
    assert!(done.stderr.contains("warning: W-HOST: NGC_API_KEY should be inherited but is not set"), "{}", done.stderr);
    assert!(done.stderr.contains("note: N-HOST: GPU check skipped"), "{}", done.stderr);
    // What is not installed is unsupported, the rest goes on.
    let rows = run(&mut program("bench-expand"), &done.stdout).expect(0).rows();
    assert_eq!((&rows[0]["failure_class"], &rows[1]["status"]), (&json!("unsupported"), &Value::Null));
    assert!(rows[0]["failure_reason"].as_str().unwrap().contains("vllm not found on PATH"));
}

#[test]
fn help_is_captured_through_a_launcher() {
    let docker = "echo \"$*\" >>\"$0.asked\"; [ \"$1\" = run ] || exit 0; while [ \"$1\" != the-image ]; do shift; done; shift; exec \"$@\"";
    let host = Host::new(&[("docker", docker)]);
    let help = host.0.path().join("help").display().to_string();
    let launcher = ["--capture-help", &help, "--launcher", "docker:image=the-image,options=--shm-size 1g"];
    let done = host.validate("frameworks: {sim: {search_space: {max_num_seqs: [8]}}}\n", &launcher).expect(0);
    let row: Value = serde_json::from_str(&done.stdout).unwrap();
    let accepted = &row["validated_cli_flags"]["sim"]["server"]["accepted"];
    assert!(accepted.as_array().is_some_and(|flags| flags.contains(&json!("--max-num-seqs"))), "{}", done.stderr);
    let asked = fs::read_to_string(host.0.path().join("docker.asked")).unwrap();
    assert!(
        asked.contains("\nrun --rm --init ") && asked.contains(" --shm-size 1g the-image bench-sim --help\n"),
        "{asked}"
    );
    assert!(asked.contains("the-image bench-sim --version"), "{asked}");
}

/// A `vllm` that prints its help only where the plan says that it is, with the plan's environment.
const OWN_VLLM: &str = "#!/bin/sh\n\
    [ \"$OWN\" = yes ] || { echo 'no OWN' >&2; exit 3; }\n\
    case $* in\n\
    'serve --help=all'|'-m vllm.entrypoints.openai.api_server --help') echo 'usage: vllm serve [--max-num-seqs N]'; echo;\n\
        echo '  --max-num-seqs N'; echo '  --served-model-name N'; echo '  --host H'; echo '  --port P';\n\
        echo '  --model M'; echo '  --tensor-parallel-size N' ;;\n\
    'bench serve --help=all') echo '  --model M' ;;\n\
    *) exit 4 ;; esac\n";

#[test]
fn the_plans_own_command_is_asked_and_checked() {
    let host = Host::new(&[]);
    let bin = host.0.path().join("venv/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(host.0.path().join("venv/lib/python3.11/site-packages/vllm-0.32.0.dist-info")).unwrap();
    for name in ["vllm", "python3"] {
        fs::write(bin.join(name), OWN_VLLM).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (help, bin) = (host.0.path().join("help").display().to_string(), bin.display().to_string());
    let capture = ["--capture-help", &help];
    let plan = |command: &str, env: &str| {
        format!(
            "frameworks: {{vllm: {{server_command: \"{command}\", env: {{{env}}}, search_space: {{max_num_seqs: [8]}}}}, sim: {{}}}}\n"
        )
    };
    for command in [
        format!("{bin}/vllm serve"),
        format!("{bin}/vllm serve m --port 1"),
        format!("env LESS=1 {bin}/vllm serve"),
        format!("sh -c 'exec {bin}/vllm serve m'"),
        format!("{bin}/python3 -m vllm.entrypoints.openai.api_server"),
    ] {
        let done = host.validate(&plan(&command, "OWN: 'yes'"), &capture).expect(0);
        let row: Value = serde_json::from_str(&done.stdout).unwrap();
        let check = &row["validated_cli_flags"]["vllm"];
        assert!(check["server"]["accepted"].to_string().contains("--max-num-seqs"), "{command}: {}", done.stderr);
        assert_eq!(check["version"], "0.32.0", "{command}");
        let candidates = run(&mut program("bench-expand"), &done.stdout).expect(0).rows();
        assert_eq!(
            candidates.iter().filter(|c| c["framework"] == "vllm" && c["status"].is_null()).count(),
            2,
            "{command}"
        );
    }
    // A folder of the plan's own PATH.
    let path = format!("OWN: 'yes', PATH: '{bin}:/usr/bin:/bin'");
    host.validate(&plan("vllm serve", &path), &capture).expect(0);
    // What is asked is asked with the plan's environment, and what it says is told.
    let command = format!("{bin}/vllm serve");
    let done = host.validate(&plan(&command, ""), &capture).expect(1);
    let said = format!("cannot run vLLM ({command} --help=all failed (exit status: 3): no OWN");
    assert!(done.stderr.contains(&said), "{}", done.stderr);
    let done = host.validate(&plan("/nowhere/vllm serve", ""), &["--allow-missing"]).expect(0);
    assert!(
        done.stderr
            .contains("warning: W-FRAMEWORK-MISSING: vLLM cannot be started: /nowhere/vllm not found; its candidates"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_container_is_asked_with_the_plans_command_and_environment() {
    let docker = "echo \"$*\" >>\"$0.asked\"; [ \"$1\" = image ] && exit; echo 'no GPU' >&2; exit 125";
    let host = Host::new(&[("docker", docker)]);
    let help = host.0.path().join("help").display().to_string();
    let plan =
        "frameworks: {vllm: {launcher: docker, image: i, server_command: /opt/vllm serve, env: {A: b}}, sim: {}}\n";
    let done = host.validate(plan, &["--capture-help", &help]).expect(1);
    assert!(done.stderr.contains("/opt/vllm serve --help=all failed (exit status: 125): no GPU"), "{}", done.stderr);
    let asked = || fs::read_to_string(host.0.path().join("docker.asked")).unwrap();
    assert!(
        asked().starts_with("image inspect --format {{.Id}} i\nrun --rm --init --gpus \"device=0\" "),
        "{}",
        asked()
    );
    assert!(asked().contains("-e A=b ") && asked().ends_with(" i /opt/vllm serve --help=all\n"), "{}", asked());
    let none = "hardware: {gpu_count: 0}\n".to_string() + plan;
    host.validate(&none, &["--capture-help", &help, "--allow-missing"]).expect(0);
    assert!(!asked().lines().last().unwrap().contains("--gpus"), "{}", asked());
}

/// A `docker` without the image, whose pull prints this and ends so.
fn pulling(said: &str, status: u32) -> Host {
    let docker = format!(
        "echo \"$*\" >>\"$0.asked\"\ncase $1 in image) exit 1 ;; pull) echo 'layer 1: done'; echo '{said}' >&2; exit {status} ;; esac\n\
         while [ \"$1\" != reg.example/i:1 ]; do shift; done; shift; exec \"$@\""
    );
    Host::new(&[("docker", &docker)])
}

#[test]
fn an_image_is_pulled_before_its_help_is_captured() {
    let plan = "frameworks: {sim: {launcher: docker, image: \"reg.example/i:1\", search_space: {max_num_seqs: [8]}}}\n";
    for capture in [true, false] {
        let host = pulling("", 0);
        let help = host.0.path().join("help").display().to_string();
        let more: &[&str] = if capture { &["--capture-help", &help] } else { &[] };
        let done = host.validate(plan, more).expect(0);
        let progress = "pulling image reg.example/i:1: docker pull reg.example/i:1\nlayer 1: done\n";
        assert!(done.stderr.contains(progress), "{}", done.stderr);
        let asked = fs::read_to_string(host.0.path().join("docker.asked")).unwrap();
        let verbs: Vec<&str> = asked.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(verbs[..3], ["image", "pull", "run"], "{asked}");
    }
}

#[test]
fn an_image_that_cannot_be_pulled_is_one_error_that_says_what_to_do() {
    let plan = "frameworks: {vllm: {launcher: docker, image: \"reg.example/i:1\"}, sim: {}}\n";
    for (said, what) in [
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "the Docker daemon does not answer (Cannot connect",
        ),
        ("Error response from daemon: pull access denied for i, may require docker login", "the registry refuses it ("),
        ("Error response from daemon: manifest for i:1 not found: manifest unknown", "no such image ("),
        ("dial tcp: lookup reg.example: no such host", "its registry cannot be reached ("),
        ("it broke", "cannot be pulled (it broke): check the image"),
    ] {
        let host = pulling(said, 1);
        let help = host.0.path().join("help").display().to_string();
        for capture in [&["--capture-help", &help][..], &[]] {
            let done = host.validate(plan, capture).expect(1);
            let found: Vec<&str> = done.stderr.lines().filter(|line| line.contains(": error: ")).collect();
            assert_eq!(found.len(), 1, "{}", done.stderr);
            assert!(found[0].contains("image reg.example/i:1: ") && found[0].contains(what), "{}", found[0]);
            assert!(found[0].ends_with("--allow-missing runs the other frameworks"), "{}", found[0]);
            let done = host.validate(plan, &[capture, &["--allow-missing"]].concat()).expect(0);
            assert!(done.stderr.contains("its candidates are skipped"), "{}", done.stderr);
        }
        // No help was asked for without the image.
        let asked = fs::read_to_string(host.0.path().join("docker.asked")).unwrap();
        assert!(!asked.contains("run "), "{asked}");
    }
}

#[test]
fn plans_with_other_commands_are_asked_apart() {
    let help = |flag: &str| {
        format!(
            "echo 'usage: llama-server [{flag} N]'; for f in {flag} model alias host port; do echo \"  --${{f#--}} N\"; done"
        )
    };
    let host = Host::new(&[]);
    for (folder, flag) in [("a", "--parallel"), ("b", "--ubatch-size")] {
        let path = host.0.path().join(folder);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("llama-server"), format!("#!/bin/sh\n{}\n", help(flag))).unwrap();
        fs::set_permissions(path.join("llama-server"), fs::Permissions::from_mode(0o755)).unwrap();
        let knob = flag.trim_start_matches("--").replace('-', "_");
        let command = path.join("llama-server").display().to_string();
        let text = format!(
            "{PLAN}frameworks: {{llama_cpp: {{server_command: {command}, base_server_flags: {{{knob}: 4}}}}}}\n"
        );
        fs::write(host.0.path().join(format!("{folder}.yaml")), text).unwrap();
    }
    let mut command = program("bench-validate");
    command.current_dir(host.0.path()).args(["--capture-help", "help", "a.yaml", "b.yaml"]);
    run(&mut command, "").expect(0);
}

#[test]
fn an_engine_on_the_cpu_gets_no_gpus_in_a_container_either() {
    let asked = tempfile::tempdir().unwrap();
    let log = asked.path().join("asked");
    let docker = format!("echo \"$*\" >> '{}'", log.display());
    let host = Host::new(&[("docker", &docker), ("podman", &docker), ("nvidia-smi", "exit 1")]);
    let help = asked.path().join("help");
    let frameworks = |count: u32| {
        format!(
            "hardware: {{gpu_count: {count}}}\nframeworks:\n  vllm: {{launcher: docker, image: i}}\n  other: {{definition: vllm, launcher: podman, image: i}}\n"
        )
    };
    let capture = ["--allow-missing", "--capture-help", help.to_str().unwrap()];
    let done = host.validate(&frameworks(0), &capture);
    assert!(!done.stderr.contains("GPU check failed"), "{}", done.stderr);
    let text = fs::read_to_string(&log).unwrap();
    let runs: Vec<&str> = text.lines().filter(|line| line.starts_with("run ")).collect();
    assert!(
        !runs.is_empty() && runs.iter().all(|line| !line.contains("--gpus") && !line.contains("--device")),
        "{text}"
    );
    // What the two tools are asked for otherwise.
    host.validate(&frameworks(1), &capture);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("--gpus") && text.contains("--device nvidia.com/gpu=0"), "{text}");
}

#[test]
fn a_model_that_is_a_path_must_be_there() {
    let host = Host::with_gpus(FREE);
    let plan = |model: &str, more: &str| {
        format!("hardware: {{gpu_count: 1}}\nframeworks: {{vllm: {{model: {model}{more}}}}}\n")
    };
    let done = host.validate(&plan("/no/such/model", ""), &[]).expect(1);
    assert!(done.stderr.contains("E-HOST: the model /no/such/model is not on this host"), "{}", done.stderr);
    let here = host.0.path().display().to_string();
    host.validate(&plan(&here, ""), &[]).expect(0);
    host.validate(&plan("Qwen/Qwen3-0.6B", ""), &[]).expect(0);
    // In a container, or on another host, this host's files say nothing.
    let docker = Host::with_gpus(FREE);
    fs::write(docker.0.path().join("docker"), "#!/bin/sh\ntrue\n").unwrap();
    fs::set_permissions(docker.0.path().join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
    let done = docker.validate(&plan("/no/such/model", ", launcher: docker, image: i"), &[]);
    assert!(!done.stderr.contains("is not on this host"), "{}", done.stderr);
}
