//! bench-rank --deploy: the winner as a script, a unit, a Compose file and a Deployment.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Output, bash, program, run, scratch, skipped};

const LAUNCH: &str = "docker run --rm --init --network host --ipc host --ulimit memlock=-1 --ulimit stack=67108864 \
    --gpus '\"device=0,1\"' -e HF_TOKEN -e 'A=1 $x' -v /models:/models:ro --entrypoint '' --shm-size 16g registry/vllm:1 \
    vllm serve /models/m --max-num-seqs 64 --host 127.0.0.1 --port 8000";

/// Result rows of two candidates that ran in a container, and one that did not.
fn rows() -> String {
    let row = |id: &str, launch: Value, scenario: &str, rate: f64| {
        json!({"record": "result", "framework": "vllm", "framework_version": "0.32.0", "candidate_id": id, "model": "m",
            "status": "ok", "verdict": "pass", "server_command": "vllm serve /models/m --host 127.0.0.1 --port 8000",
            "launch_command": launch, "hardware": {"gpu_model": "H100", "gpu_count": 2, "driver": "570.1"},
            "environment": {"image": "registry/vllm:1", "image_digest": "sha256:0123", "cuda": "12.8"},
            "startup": {"ready_ms": 90_000}, "run": {"run_id": "r", "server_id": "s", "repeat": 0},
            "workload": {"scenario": scenario, "input_len": 1000, "output_len": 200, "request_rate": 8, "load": {"mode": "open"}},
            "sla": {"max_p99_ttft_ms": 500, "passed": true, "tested": {"max_p99_ttft_ms": {"threshold": 500, "value": 400,
                "basis": "all_scheduled", "margin": 0.2, "passed": true, "n": 400, "over": 0, "needed": 299, "confirmed": true}}},
            "metrics": {"request_throughput": rate, "mean_ttft_ms": 200, "p99_ttft_ms": 400, "mean_tpot_ms": 8, "success_rate": 1},
            "quality": {"simulated": false, "smoke": false}, "candidate": {"changed": {"max_num_seqs": 64}, "baseline": false,
            "index": 1, "of": 3}})
    };
    let all = [
        row("vllm-1", LAUNCH.into(), "chat", 7.9),
        row("vllm-2", Value::Null, "chat", 6.0),
        row("vllm-2", Value::Null, "code", 7.0),
        row("vllm-1", LAUNCH.into(), "code", 7.5),
    ];
    all.iter().map(|row| format!("{row}\n")).collect()
}

fn deploy(arguments: &[&str]) -> Output {
    run(program("bench-rank").args(arguments), &rows())
}

/// What stands behind the comments, as JSON.
fn manifest(done: &Output) -> Value {
    let text: String =
        done.stdout.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn the_winner_is_a_script_that_says_what_was_measured() {
    let done = deploy(&["--deploy"]).expect(0);
    assert!(done.stdout.starts_with("#!/bin/sh\n# vllm max_num_seqs=64"), "{}", done.stdout);
    for line in [
        "# model: m on 2 × H100",
        "# version of the framework: 0.32.0",
        "# image_digest: sha256:0123",
        "#   max_p99_ttft_ms 500: measured 400.0, headroom +20.0 %",
        LAUNCH,
    ] {
        assert!(done.stdout.lines().any(|one| one == line), "{line} is not in\n{}", done.stdout);
    }
    assert!(done.stdout.contains("7.90 req/s"), "{}", done.stdout);
    let folder = scratch();
    fs::write(folder.path().join("run.sh"), &done.stdout).unwrap();
    run(bash("sh -n run.sh").current_dir(folder.path()), "").expect(0);
    // Too few requests to be certain are said, as in a report.
    let few = rows().replace("\"n\":400", "\"n\":20").replace("\"confirmed\":true", "\"confirmed\":false");
    let few = few.replace("\"verdict\":\"pass\"", "\"verdict\":\"pass_unconfirmed\"");
    let few = run(program("bench-rank").arg("--deploy"), &few).expect(0).stdout;
    let doubt = "7.90 req/s at 8 req/s, pass, p99 not confirmed (20 requests, 299 needed)";
    assert!(few.contains(doubt) && !done.stdout.contains("not confirmed"), "{few}");
    // Another candidate by its name, and what is none.
    let other = deploy(&["--deploy=vllm-2"]).expect(0);
    assert!(other.stdout.ends_with("\nvllm serve /models/m --host 127.0.0.1 --port 8000\n"), "{}", other.stdout);
    assert!(deploy(&["--deploy=vllm-3"]).expect(2).stderr.contains("no such candidate; known"));
    assert!(deploy(&["--as", "compose"]).expect(2).stderr.contains("--deploy"));
    let failing = deploy(&["--deploy", "--sla", "max_p99_ttft_ms=100"]).expect(2);
    assert!(failing.stderr.contains("no candidate meets the SLA"), "{}", failing.stderr);
}

#[test]
fn a_unit_of_systemd_is_accepted_by_systemd() {
    let done = deploy(&["--deploy", "--as", "systemd"]).expect(0);
    assert!(done.stdout.contains("\nStateDirectory=vllm-1\n"), "{}", done.stdout);
    assert!(done.stdout.contains(r#"-e 'A=1 $$x'"#), "{}", done.stdout);
    let folder = scratch();
    fs::write(folder.path().join("vllm-1.service"), &done.stdout).unwrap();
    let mut verify = bash("command -v systemd-analyze > /dev/null || exit 42; systemd-analyze verify ./vllm-1.service");
    match run(verify.current_dir(folder.path()), "") {
        Output { code: Some(42), .. } => skipped("systemd-analyze is not installed"),
        done => {
            let said = done.expect(0).stderr;
            let own: Vec<&str> = said.lines().filter(|line| line.contains("vllm-1.service")).collect();
            assert!(own.is_empty(), "{own:?}");
        }
    }
}

#[test]
fn a_compose_file_starts_the_container_as_it_was_measured() {
    let done = deploy(&["--deploy", "--as", "compose"]).expect(0);
    let service = &manifest(&done)["services"]["vllm-1"];
    assert_eq!(service["image"], "registry/vllm:1");
    assert_eq!(
        (&service["entrypoint"], &service["environment"]),
        (&json!([]), &json!({"A": "1 $$x", "HF_TOKEN": null}))
    );
    assert_eq!(service["command"][0], "vllm");
    assert_eq!((&service["volumes"], &service["shm_size"]), (&json!(["/models:/models:ro"]), &json!("16g")));
    let device = &service["deploy"]["resources"]["reservations"]["devices"][0];
    assert_eq!(device, &json!({"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}));
    assert!(done.stdout.contains("# needs HF_TOKEN in the environment of docker compose"), "{}", done.stdout);
    let without = deploy(&["--deploy=vllm-2", "--as", "compose"]).expect(2);
    assert!(without.stderr.contains("did not run in a container") && without.stdout.is_empty(), "{}", without.stderr);
}

#[test]
fn a_deployment_of_kubernetes_fits_the_schema_of_its_api() {
    let done = deploy(&["--deploy", "--as", "kubernetes"]).expect(0);
    let deployment = manifest(&done);
    let pod = &deployment["spec"]["template"]["spec"];
    let server = &pod["containers"][0];
    assert_eq!(server["command"].as_array().unwrap()[..2], [json!("vllm"), json!("serve")]);
    assert!(server["command"].as_array().unwrap().windows(2).any(|pair| pair == [json!("--host"), json!("0.0.0.0")]));
    assert_eq!(server["resources"]["limits"]["nvidia.com/gpu"], 2);
    assert_eq!(server["env"][1]["valueFrom"]["secretKeyRef"], json!({"name": "vllm-1", "key": "HF_TOKEN"}));
    // Four times the 90 s of the measurement.
    assert_eq!(
        (&server["startupProbe"]["failureThreshold"], &server["ports"][0]["containerPort"]),
        (&json!(36), &json!(8000))
    );
    assert_eq!(pod["volumes"][1], json!({"name": "mount-0", "hostPath": {"path": "/models"}}));
    let folder = scratch();
    fs::write(folder.path().join("d.json"), deployment.to_string()).unwrap();
    let check = "command -v kubernetes-validate > /dev/null || exit 42; kubernetes-validate --strict -k 1.33 d.json";
    match run(bash(check).current_dir(folder.path()), "") {
        Output { code: Some(42), .. } => skipped("kubernetes-validate is not installed"),
        done => drop(done.expect(0)),
    }
}
