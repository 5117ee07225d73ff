//! Pasted commands: as a plan's `server_command`, and as a new plan.

use serde_json::{Value, json};

use crate::harness::{Output, program, run, scratch};

fn candidates(plan: &str) -> (Output, Vec<Value>) {
    let folder = scratch();
    std::fs::write(folder.path().join("plan.yaml"), plan).unwrap();
    let done = run(program("bench-expand").arg("plan.yaml").current_dir(folder.path()), "").expect(0);
    let rows = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (done, rows)
}

/// The plan that bench-validate writes for a command.
fn new_plan(line: &str) -> Output {
    let mut command = program("bench-validate");
    run(command.args(["-q", "--new", "--from-command", line]).env("HOME", "/home/me").env("PWD", "/srv/llm"), "")
        .expect(0)
}

/// The words of the baseline after the program, without those that bench-serve sets: model's name, host and port.
fn argv(candidate: &Value) -> String {
    let words: Vec<&str> =
        candidate["server"]["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match words[at] {
            "--served-model-name" | "--alias" | "--host" | "--port" => at += 1,
            word => kept.push(word),
        }
        at += 1;
    }
    kept.join(" ")
}

/// A command's flags in one order: that of a plan differs from that of a line.
fn sorted(command: &str) -> Vec<String> {
    let mut flags: Vec<String> = command.split(" --").map(String::from).collect();
    flags[1..].sort();
    flags
}

/// A pasted line, its framework, the baseline's command, and members of the candidate that must be so.
type Pasted = (&'static str, &'static str, &'static str, Value);

fn pasted() -> Vec<Pasted> {
    let docker = |image: &str| json!({"/server/launcher/0/name": "docker", "/server/image": image});
    vec![
        (
            "vllm serve Qwen/Qwen3-32B -tp 4 --max-model-len 16384 --port 8049 --host 0.0.0.0",
            "vllm",
            "vllm serve Qwen/Qwen3-32B --tensor-parallel-size 4 --max-model-len 16384",
            json!({"/hardware/gpu_count": 4}),
        ),
        (
            "vllm serve Qwen/Qwen3-32B",
            "vllm",
            "vllm serve Qwen/Qwen3-32B --tensor-parallel-size 1",
            json!({"/hardware/gpu_count": 1}),
        ),
        (
            "VLLM_USE_V1=1 CUDA_VISIBLE_DEVICES=2,3 vllm serve m/x --tensor-parallel 2",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 2",
            json!({"/server/env/VLLM_USE_V1": "1", "/server/env/CUDA_VISIBLE_DEVICES": "2,3", "/hardware/visible_devices": "2,3"}),
        ),
        (
            "CUDA_VISIBLE_DEVICES=0,1 vllm serve m/x",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 1",
            json!({"/hardware/gpu_count": 2}),
        ),
        (
            "vllm serve m/x -tp 8 -O3 -cc.cudagraph_mode=FULL --compilation_config.pass_config.fuse_allreduce_rms true --mm-encoder-tp-mode data --disable-log-stats",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 8 --optimization-level 3 --mm-encoder-tp-mode data --disable-log-stats --compilation-config {\"cudagraph_mode\":\"FULL\",\"pass_config\":{\"fuse_allreduce_rms\":true}}",
            json!({}),
        ),
        (
            "python3 -m vllm.entrypoints.openai.api_server --model m/x --tensor-parallel-size 2 --enable-prefix-caching",
            "vllm",
            "python3 -m vllm.entrypoints.openai.api_server --model m/x --tensor-parallel-size 2 --enable-prefix-caching",
            json!({}),
        ),
        (
            "uv run vllm serve m/x --no-enable-prefix-caching",
            "vllm",
            "uv run vllm serve m/x --no-enable-prefix-caching --tensor-parallel-size 1",
            json!({}),
        ),
        (
            "conda run -n x --no-capture-output vllm serve m/x -tp=2",
            "vllm",
            "conda run -n x --no-capture-output vllm serve m/x --tensor-parallel-size 2",
            json!({}),
        ),
        (
            "numactl -N 0 -m 0 /v/bin/vllm serve m/x -pp 2 -tp 2",
            "vllm",
            "numactl -N 0 -m 0 /v/bin/vllm serve m/x --pipeline-parallel-size 2 --tensor-parallel-size 2",
            json!({"/hardware/gpu_count": 4}),
        ),
        (
            "nohup vllm serve m/x -tp 2 > vllm.log 2>&1 &",
            "vllm",
            "nohup vllm serve m/x --tensor-parallel-size 2",
            json!({}),
        ),
        (
            "# Serve it\nexport HF_TOKEN=$HF_TOKEN\nexport VLLM_ATTENTION_BACKEND=FLASHINFER\nMODEL=m/x\nvllm serve $MODEL \\\n  -tp 2 \\  \n  --max-num-seqs 64  # enough\n",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 2 --max-num-seqs 64",
            json!({"/server/env/HF_TOKEN": null, "/server/env/VLLM_ATTENTION_BACKEND": "FLASHINFER"}),
        ),
        (
            "source /v/bin/activate && vllm serve m/x -tp 2",
            "vllm",
            "bash -c source /v/bin/activate && exec \"$@\" sh vllm serve m/x --tensor-parallel-size 2",
            json!({}),
        ),
        ("bash -c 'vllm serve m/x -tp 2'", "vllm", "vllm serve m/x --tensor-parallel-size 2", json!({})),
        (
            "pip install vllm && vllm serve m/x -tp 2 --chat-template 'a && b'",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 2 --chat-template a && b",
            json!({}),
        ),
        (
            "python -m sglang.launch_server --model-path m/x --tp 8 --dp 2 --enable-dp-attention --host 0.0.0.0 --port 30000",
            "sglang",
            "python -m sglang.launch_server --model-path m/x --tp-size 8 --dp-size 2 --enable-dp-attention",
            json!({"/hardware/gpu_count": 8}),
        ),
        (
            "python3 -m sglang.launch_server --model m/x --tp=4 --context 8192 --device cuda --grammar-backend xgrammar",
            "sglang",
            "python3 -m sglang.launch_server --model-path m/x --tp-size 4 --context-length 8192 --device cuda --grammar-backend xgrammar",
            json!({}),
        ),
        (
            "sglang serve --model-path m/x --cuda-graph-bs 1 2 4 8 --mem-fraction 0.8",
            "sglang",
            "sglang serve --model-path m/x --cuda-graph-bs-decode 1 2 4 8 --mem-fraction-static 0.8 --tp-size 1",
            json!({}),
        ),
        (
            "trtllm-serve m/x --tp_size 4 --ep_size 4 --max_batch_size 64 --extra_llm_api_options o.yaml",
            "tensorrt_llm",
            "trtllm-serve m/x --tp_size 4 --ep_size 4 --max_batch_size 64 --extra_llm_api_options o.yaml",
            json!({"/hardware/gpu_count": 4}),
        ),
        (
            "llama-server -hf ggml-org/gemma-3-4b-it-GGUF:Q4_K_M -c 32768 -np 4 -ngl 99 -fa on --jinja",
            "llama_cpp",
            "llama-server -hf ggml-org/gemma-3-4b-it-GGUF:Q4_K_M --ctx-size 32768 --parallel 4 --n-gpu-layers 99 --flash-attn on --jinja",
            json!({}),
        ),
        (
            "./build/bin/llama-server -m /models/x.gguf --ctx_size 4096 --temp 0.7",
            "llama_cpp",
            "./build/bin/llama-server --model /models/x.gguf --ctx-size 4096 --temp 0.7",
            json!({"/model": "/models/x.gguf"}),
        ),
        (
            "CUDA_VISIBLE_DEVICES='' llama-server -m /models/x.gguf",
            "llama_cpp",
            "llama-server --model /models/x.gguf",
            json!({"/hardware/gpu_count": 0, "/server/env/CUDA_VISIBLE_DEVICES": ""}),
        ),
        (
            "docker run --runtime nvidia --gpus all -v ~/.cache/huggingface:/root/.cache/huggingface --env \"HF_TOKEN=$HF_TOKEN\" -p 8000:8000 --ipc=host vllm/vllm-openai:v0.32.0 --model m/x -tp 8",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 8",
            json!({"/server/launcher/0/options/options": "--entrypoint \"\" --runtime nvidia", "/server/image": "vllm/vllm-openai:v0.32.0",
                "/server/mounts/0": "/home/me/.cache/huggingface:/root/.cache/huggingface", "/server/env/HF_TOKEN": null, "/hardware/gpu_count": 8}),
        ),
        (
            "docker run --gpus all vllm/vllm-openai:v0.32.0 m/x -tp 2",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 2",
            docker("vllm/vllm-openai:v0.32.0"),
        ),
        (
            "docker run -it --rm --gpus '\"device=1\"' --shm-size 32g lmsysorg/sglang:latest python3 -m sglang.launch_server --model-path m/x",
            "sglang",
            "python3 -m sglang.launch_server --model-path m/x --tp-size 1",
            json!({"/hardware/visible_devices": "1", "/server/launcher/0/options/options": "--shm-size 32g"}),
        ),
        (
            "docker run --gpus 2 --entrypoint python3 vllm/vllm-openai -m vllm.entrypoints.openai.api_server --model m/x",
            "vllm",
            "python3 -m vllm.entrypoints.openai.api_server --model m/x --tensor-parallel-size 1",
            json!({"/hardware/gpu_count": 2}),
        ),
        (
            "podman run --device nvidia.com/gpu=all --security-opt label=disable docker.io/vllm/vllm-openai --model m/x",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 1",
            json!({"/server/launcher/0/name": "podman"}),
        ),
        (
            "sudo docker run --gpus all --name x -d nvcr.io/nvidia/tensorrt-llm/release:1.3.0 trtllm-serve serve m/x --tp_size 2",
            "tensorrt_llm",
            "trtllm-serve serve m/x --tp_size 2",
            json!({}),
        ),
        (
            "docker run --gpus all -v /m:/m ghcr.io/ggml-org/llama.cpp:server-cuda -m /m/x.gguf -c 4096",
            "llama_cpp",
            "llama-server --model /m/x.gguf --ctx-size 4096",
            json!({"/server/mounts/0": "/m:/m"}),
        ),
        (
            "docker run --gpus all vllm/vllm-openai bash -lc 'vllm serve m/x -tp 2'",
            "vllm",
            "bash -lc exec \"$@\" sh vllm serve m/x --tensor-parallel-size 2",
            json!({}),
        ),
        (
            "tokenspeed serve m/x --tensor-parallel-size 4",
            "tokenspeed",
            "tokenspeed serve m/x --tensor-parallel-size 4",
            json!({}),
        ),
        (
            "vllm serve m/x --tensor-parallel-size 8 --nnodes 2 --pipeline-parallel-size 2",
            "vllm",
            "vllm serve m/x --tensor-parallel-size 8 --nnodes 2 --pipeline-parallel-size 2",
            json!({"/hardware/multi_node": true, "/hardware/gpu_count": 16}),
        ),
    ]
}

#[test]
fn a_pasted_command_is_the_baseline_of_a_new_plan() {
    let mut wrong = Vec::new();
    for (line, framework, wanted, members) in pasted() {
        let plan = new_plan(line);
        let (done, rows) = candidates(&plan.stdout);
        let Some(baseline) = rows.first() else { panic!("{line}\n{}\n{}", plan.stdout, done.stderr) };
        let ok = baseline["framework"] == framework && sorted(&argv(baseline)) == sorted(wanted);
        // The name that clients ask for is said to be replaced.
        let said = plan.stderr.lines().all(|line| line.contains("clients of this command ask for"));
        if !ok || done.stderr.contains(": error: ") || !said {
            wrong.push(format!(
                "{line}\n  wanted {wanted}\n  came   {}\n{}{}",
                argv(baseline),
                plan.stderr,
                done.stderr
            ));
        }
        for (pointer, value) in members.as_object().unwrap() {
            if baseline.pointer(pointer) != Some(value) {
                wrong.push(format!(
                    "{line}\n  {pointer} is {:?}, not {value}\n{}",
                    baseline.pointer(pointer),
                    plan.stdout
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_starts_elsewhere_has_its_launcher() {
    let heredoc = "EXTRA=/tmp/o.yml\ncat << EOF > ${EXTRA}\nkv_cache_config: {dtype: fp8}\nEOF\n\
                   trtllm-serve m/x --tp_size 2 --extra_llm_api_options $EXTRA\n";
    for (line, wanted, members) in [
        (
            "ssh -t u@gpu01 'cd /x; export A=1; vllm serve m/x -tp 2'",
            "bash -c cd /x && exec \"$@\" sh vllm serve m/x --tensor-parallel-size 2",
            json!({"/server/launcher/0": {"name": "ssh", "options": {"host": "u@gpu01"}}, "/server/env/A": "1"}),
        ),
        (
            "docker exec -it -e A=1 box vllm serve m/x -tp 2",
            "vllm serve m/x --tensor-parallel-size 2",
            json!({"/server/launcher/0": {"name": "docker_exec", "options": {"container": "box"}}, "/server/env/A": "1"}),
        ),
        (
            "ssh gpu01 docker run --gpus all -p 8000:8000 vllm/vllm-openai:v1 --model m/x -tp 2",
            "vllm serve m/x --tensor-parallel-size 2",
            json!({"/server/launcher/0/name": "ssh", "/server/launcher/1/name": "docker", "/server/image": "vllm/vllm-openai:v1"}),
        ),
        (
            "srun --gpus=2 --mpi=pmix trtllm-llmapi-launch trtllm-serve m/x --tp_size 2",
            "trtllm-serve m/x --tp_size 2",
            json!({"/server/launcher/0/name": "srun", "/server/launcher/0/options/options": "--gpus=2 --mpi=pmix",
                "/server/launcher/0/options/wrapper": "trtllm-llmapi-launch"}),
        ),
        (
            heredoc,
            "trtllm-serve m/x --tp_size 2 --extra_llm_api_options {files}/extra_llm_api_options.yaml",
            json!({"/server/flags/extra_llm_api_options": {"kv_cache_config": {"dtype": "fp8"}}}),
        ),
        (
            "[Service]\nEnvironment=A=1\nExecStart=/v/bin/vllm serve m/x \\\n  -tp 2\nRestart=always\n",
            "/v/bin/vllm serve m/x --tensor-parallel-size 2",
            json!({"/server/env/A": "1"}),
        ),
        ("$ vllm serve m/x -tp 2 &", "vllm serve m/x --tensor-parallel-size 2", json!({})),
        (
            "vllm serve m/x -tp 2 --max-num-batched-tokens 8k",
            "vllm serve m/x --tensor-parallel-size 2 --max-num-batched-tokens 8000",
            json!({}),
        ),
    ] {
        let plan = new_plan(line);
        let (done, rows) = candidates(&plan.stdout);
        let Some(baseline) = rows.first() else { panic!("{line}\n{}\n{}", plan.stdout, done.stderr) };
        assert_eq!(sorted(&argv(baseline)), sorted(wanted), "{line}\n{}", plan.stdout);
        assert!(!done.stderr.contains(": error: ") && plan.stderr.is_empty(), "{line}\n{}{}", plan.stderr, done.stderr);
        for (pointer, value) in members.as_object().unwrap() {
            assert_eq!(baseline.pointer(pointer), Some(value), "{line}: {pointer}\n{}", plan.stdout);
        }
    }
}

#[test]
fn nothing_of_a_pasted_command_is_dropped_without_a_word() {
    let line = "docker run -d --name x -p 8000:8000 --restart always vllm/vllm-openai --model m/x --port 8000 \
                --served-model-name y";
    let done = run(program("bench-validate").args(["--new", "--from-command", line]), "").expect(0);
    for word in ["--name x --publish 8000:8000 --restart always", "port 8000"] {
        assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
    }
    assert!(done.stdout.contains("served_model_name: \"y\""), "{}", done.stdout);
}

#[test]
fn the_same_lines_are_read_as_a_server_command() {
    // Without containers, and without lines before the server's, which a plan has other keys for.
    let lines = pasted()
        .into_iter()
        .filter(|(line, ..)| !line.contains(" run ") || line.starts_with("uv ") || line.starts_with("conda "));
    let mut wrong = Vec::new();
    for (line, framework, wanted, _) in lines.filter(|(line, ..)| !line.contains("MODEL=") && !line.contains("&& ")) {
        let model = if line.contains("/models/x.gguf") {
            "/models/x.gguf"
        } else if line.contains("gemma") {
            "gemma"
        } else {
            "m/x"
        };
        let model = if line.contains("Qwen3-32B") { "Qwen/Qwen3-32B" } else { model };
        let gpus = match line {
            line if line.contains("nnodes") => 16,
            line if line.contains("CUDA_VISIBLE_DEVICES=''") => 0,
            _ => 8,
        };
        let tp = wanted.contains("tensor-parallel-size 1") || wanted.contains("tp-size 1");
        let base = match (tp, framework) {
            (true, "sglang") => "{tp_size: 1}",
            (true, _) => "{tensor_parallel_size: 1}",
            (false, _) => "{}",
        };
        let plan = format!(
            "model: {model}\nhardware: {{gpu_count: {gpus}, multi_node: true}}\nbenchmark: {{max_concurrency: [1]}}\n\
             dataset: {{input_len: [100], output_len: [100]}}\nsla: {{max_p50_ttft_ms: 1000}}\n\
             frameworks:\n  {framework}: {{server_command: {}, base_server_flags: {base}}}\n",
            json!(line)
        );
        let (done, rows) = candidates(&plan);
        let came = rows.first().map(argv).unwrap_or_default();
        if sorted(&came) != sorted(wanted) {
            wrong.push(format!("{line}\n  wanted {wanted}\n  came   {came}\n{}", done.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_pasted_command_comes_from_a_file_or_standard_input_too() {
    let folder = scratch();
    std::fs::write(
        folder.path().join("serve.sh"),
        "#!/bin/sh\nset -e\nvllm serve m/x -tp 2 --api-key sk-0123456789abcdef0123\n",
    )
    .unwrap();
    let from = |source: &str, input: &str| {
        let mut command = program("bench-validate");
        run(command.args(["--new", "--from-command", source]).current_dir(folder.path()), input).expect(0)
    };
    let done = from("serve.sh", "");
    assert!(done.stdout.contains("path: m/x") && done.stdout.contains("tensor_parallel_size: 2"), "{}", done.stdout);
    assert!(
        !done.stdout.contains("sk-0123") && done.stderr.contains("api_key is a secret"),
        "{}{}",
        done.stdout,
        done.stderr
    );
    assert!(from("-", "vllm serve m/y").stdout.contains("path: m/y"));
    // A model and a number of GPUs replace what it says.
    let mut command = program("bench-validate");
    let done =
        run(command.args(["--new", "/models/z", "--gpus", "4", "--from-command", "vllm serve m/y"]), "").expect(0);
    assert!(done.stdout.contains("path: /models/z") && done.stdout.contains("gpu_count: 4"), "{}", done.stdout);
    for (line, why) in [
        ("python train.py", "does not start a server of a known framework"),
        ("docker run --gpus all ubuntu sleep 1", "does not start a server of a known framework"),
        ("docker run --gpus all", "the image is missing"),
        ("python -m sglang.launch_server --tp 2", "does not name a model"),
        ("vllm serve 'm", "unclosed single quote"),
        ("vllm serve m/x -tp $GPUS", "it uses $GPUS"),
        ("kubectl exec -it pod -- vllm serve m/x", "no launcher"),
    ] {
        let mut command = program("bench-validate");
        let done = run(command.args(["--new", "--from-command", line]), "").expect(2);
        assert!(done.stderr.contains(why), "{line}: {}", done.stderr);
    }
}

#[test]
fn a_pasted_script_with_what_prepares_it() {
    let script = "#!/bin/bash\nset -e\nTP=${TP:-4}\nsource v/bin/activate\nulimit -n 65536\n\
                  exec vllm serve ${1:-m/x} -tp $TP --max-num-seqs 512 --served-model-name x \"$@\"\n";
    let plan = new_plan(script);
    assert!(plan.stdout.contains("served_model_name: x"), "{}", plan.stdout);
    assert!(plan.stdout.contains("max_num_seqs: [256, 512, 1024]"), "{}", plan.stdout);
    let (_, rows) = candidates(&plan.stdout);
    assert_eq!(
        argv(&rows[0]),
        "bash -c source v/bin/activate && ulimit -n 65536 && exec \"$@\" sh vllm serve m/x --tensor-parallel-size 4 --max-num-seqs 512"
    );
    assert_eq!(rows[0]["hardware"]["gpu_count"], 4);
}

#[test]
fn what_starts_a_pasted_server_elsewhere_is_its_launcher() {
    for (line, launchers) in [
        (
            "ssh -p 22 me@gpu01 vllm serve m/x",
            json!([{"name": "ssh", "options": {"host": "me@gpu01", "options": "-p 22"}}]),
        ),
        ("srun -p gpu -n 1 vllm serve m/x", json!([{"name": "srun", "options": {"options": "-p gpu"}}])),
        (
            "ssh gpu01 'docker exec -e A=1 c vllm serve m/x'",
            json!([{"name": "ssh", "options": {"host": "gpu01"}}, {"name": "docker_exec", "options": {"container": "c"}}]),
        ),
    ] {
        let (done, rows) = candidates(&new_plan(line).stdout);
        let Some(baseline) = rows.first() else { panic!("{line}\n{}", done.stderr) };
        let found: Vec<Value> = baseline["server"]["launcher"].as_array().unwrap().clone();
        for (found, wanted) in found.iter().zip(launchers.as_array().unwrap()) {
            assert_eq!(found["name"], wanted["name"], "{line}");
            for (key, value) in wanted["options"].as_object().unwrap() {
                assert!(found[key] == *value || found["options"][key] == *value, "{line}: {found}");
            }
        }
        assert_eq!(argv(baseline), "vllm serve m/x --tensor-parallel-size 1", "{line}");
    }
    let plan = new_plan("llama-server -m /m/x.gguf -c 32768 -np 8");
    assert!(plan.stdout.contains("has room for 4096 tokens: summarization"), "{}", plan.stdout);
}

#[test]
fn a_pasted_job_step_over_several_nodes_is_a_launcher_that_tells_each_its_rank() {
    let sglang = "HEAD=$(scontrol show hostnames $SLURM_NODELIST | head -n 1)\n\
                  srun --nodes=2 --ntasks=2 -p gpu python3 -m sglang.launch_server --model-path m/x --tp 16 --nnodes 2 \
                  --node-rank $SLURM_NODEID --nccl-init-addr ${HEAD}:5000 &";
    let vllm =
        "srun -N 2 --gres=gpu:8 vllm serve m/x -tp 8 -pp 2 --nnodes 2 --node-rank 0 --master-addr=10.0.0.1 --headless";
    for (line, options, command, left_out) in [
        (
            sglang,
            "-p gpu",
            "python3 -m sglang.launch_server --model-path m/x --tp-size 16 --nnodes {nodes} --node-rank {rank} --dist-init-addr \
             {leader}:{leader_port}",
            "without --nnodes, --node-rank, --nccl-init-addr: launcher srun tells each process its rank",
        ),
        (
            vllm,
            "--gres=gpu:8",
            "vllm serve m/x --tensor-parallel-size 8 --pipeline-parallel-size 2 --nnodes {nodes} --node-rank {rank} --master-addr {leader} \
             --master-port {leader_port}",
            "without --nnodes, --node-rank, --master-addr, --headless: launcher srun",
        ),
    ] {
        let plan = new_plan(line);
        assert!(plan.stderr.contains(left_out), "{line}: {}", plan.stderr);
        assert!(plan.stdout.contains("launcher: {name: srun, nodes: 2, options: "), "{}", plan.stdout);
        let (done, rows) = candidates(&plan.stdout);
        let Some(baseline) = rows.first() else { panic!("{line}\n{}\n{}", plan.stdout, done.stderr) };
        assert_eq!(
            baseline["server"]["launcher"],
            json!([{"name": "srun", "options": {"nodes": "2", "options": options}}]),
            "{line}"
        );
        assert_eq!(sorted(&argv(baseline)), sorted(command), "{line}");
        assert_eq!(
            (&baseline["hardware"]["multi_node"], &baseline["hardware"]["gpu_count"]),
            (&true.into(), &16.into())
        );
    }
    // What no plan can say is refused.
    for (line, why) in [
        ("srun -N 1-2 vllm serve m/x", "--nodes 1-2 is not a number of nodes"),
        ("srun -N $NODES vllm serve m/x", "--nodes $NODES is not a number of nodes"),
    ] {
        let done = run(program("bench-validate").args(["--new", "--from-command", line]), "").expect(2);
        assert!(done.stderr.contains(why), "{line}: {}", done.stderr);
    }
}

#[test]
fn other_names_of_knobs_are_the_knobs() {
    let plan = "model: m/x\nhardware: {gpu_count: 8}\nbenchmark: {max_concurrency: [1]}\n\
                dataset: {input_len: [100], output_len: [100]}\nsla: {max_p50_ttft_ms: 1000}\nframeworks:\n  \
                sglang: {base_server_flags: {tensor_parallel_size: 2, port: 30000, host: 0.0.0.0, served_model_name: y}}\n  \
                vllm: {base_server_flags: {no_enable_prefix_caching: true}, search_space: {no_async_scheduling: [true, false]}}\n";
    let (done, rows) = candidates(plan);
    let sglang = argv(rows.iter().find(|row| row["framework"] == "sglang").unwrap());
    assert_eq!(sglang, "python -m sglang.launch_server --model-path m/x --tp-size 2");
    assert!(done.stderr.contains("ignoring port 30000"), "{}", done.stderr);
    let vllm: Vec<String> = rows.iter().filter(|row| row["framework"] == "vllm").map(argv).collect();
    assert!(vllm[0].ends_with("--no-enable-prefix-caching --tensor-parallel-size 8"), "{vllm:?}");
    assert!(vllm.iter().any(|argv| argv.contains("--no-async-scheduling")), "{vllm:?}");
}

#[test]
fn flags_that_no_definition_knows_are_passed_on() {
    let plan = "model: m/x\nhardware: {gpu_count: 1}\nbenchmark: {max_concurrency: [1]}\n\
                dataset: {input_len: [100], output_len: [100]}\nsla: {max_p50_ttft_ms: 1000}\nframeworks:\n  \
                vllm: {base_server_flags: {response_role: assistant, enable_prompt_tokens_details: true}, \
                       search_space: {lora_dtype: [auto, float16], mm_encoder_tp_mode: [data]}}\n";
    let (done, rows) = candidates(plan);
    let all: Vec<String> = rows.iter().map(argv).collect();
    assert!(
        all.iter().all(|argv| argv.contains("--response-role assistant --enable-prompt-tokens-details")),
        "{all:?}"
    );
    for words in ["--lora-dtype float16", "--mm-encoder-tp-mode data"] {
        assert!(all.iter().any(|argv| argv.contains(words)), "{words}: {all:?}");
    }
    let warned =
        done.stderr.lines().filter(|line| line.contains(": warning: ") && line.contains("--capture-help")).count();
    assert!(warned >= 3 && !done.stderr.contains(": error: "), "{}", done.stderr);
}

#[test]
fn requests_use_the_served_model_name_of_the_plan() {
    let plan = |command: &str, base: &str| {
        format!(
            "model: m/x\nhardware: {{gpu_count: 1}}\nbenchmark: {{max_concurrency: [1]}}\ndataset: {{input_len: [100], output_len: [100]}}\n\
             sla: {{max_p50_ttft_ms: 1000}}\nframeworks:\n  vllm: {{server_command: \"vllm serve m/x {command}\", base_server_flags: {{{base}}}}}\n"
        )
    };
    for (command, base, words, name) in [
        ("--served-model-name a b", "", "--served-model-name a b", Some("a")),
        ("", "served_model_name: a", "--served-model-name a", Some("a")),
        ("", "served-model-name: [a, b]", "--served-model-name a b", Some("a")),
        ("--served-model-name m/x", "", "--served-model-name m/x", None),
        ("", "", "--served-model-name m/x", None),
    ] {
        let (done, rows) = candidates(&plan(command, base));
        let line = rows[0]["server_command"].as_str().unwrap();
        assert!(line.contains(words), "{command} {base}: {line}: {}", done.stderr);
        assert_eq!(rows[0]["server"]["served_name"].as_str(), name, "{command} {base}");
        assert_eq!(rows[0]["model"], "m/x");
    }
    let both = run(&mut program("bench-validate"), &plan("--served-model-name a", "served_model_name: b")).expect(1);
    assert!(
        both.stderr.contains("E-CONFLICT: the served model name is a and, in base_server_flags, b"),
        "{}",
        both.stderr
    );
    let unknown = run(&mut program("bench-validate"), &plan("--served-model-name ${NAME}", "")).expect(1);
    assert!(unknown.stderr.contains("is not known before the start"), "{}", unknown.stderr);
}

#[test]
fn manifests_are_the_containers_that_they_start() {
    let compose = "services:\n  cache: {image: 'redis:7'}\n  llm:\n    image: vllm/vllm-openai:v0.32.0\n    restart: always\n    \
                   environment: [HF_TOKEN]\n    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 2}]}}}\n    \
                   command: --model ${MODEL:-m/x} --tensor-parallel-size 2 --max-num-seqs 64\n";
    let (_, rows) = candidates(&new_plan(compose).stdout);
    assert_eq!(argv(&rows[0]), "vllm serve m/x --tensor-parallel-size 2 --max-num-seqs 64");
    assert_eq!(
        (&rows[0]["hardware"]["gpu_count"], &rows[0]["server"]["launcher"][0]["name"]),
        (&2.into(), &"docker".into())
    );
    let pod = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: llm\n    image: my/llm:1\n    command: [bash, -c]\n    \
               args: ['exec vllm serve m/x -tp 4']\n    resources: {limits: {nvidia.com/gpu: 4}}\n";
    let plan = new_plan(pod);
    assert!(plan.stderr.contains("starts the container of this pod with docker"), "{}", plan.stderr);
    let (_, rows) = candidates(&plan.stdout);
    assert_eq!(argv(&rows[0]), "vllm serve m/x --tensor-parallel-size 4");
    assert_eq!(rows[0]["server"]["image"], "my/llm:1");
    let none = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: 'nginx:1'}]}\n";
    let done = run(program("bench-validate").args(["--new", "--from-command", none]), "").expect(2);
    assert!(done.stderr.contains("does not start a server of a known framework"), "{}", done.stderr);
}

#[test]
fn what_a_shell_of_this_host_expands_before_its_programs() {
    let plan = new_plan("ssh -i ~/.ssh/k gpu1 vllm serve m/x --enable-lora --lora-modules a=x/y b=z");
    assert!(!plan.stderr.contains("needs a change"), "{}", plan.stderr);
    let (_, rows) = candidates(&plan.stdout);
    assert_eq!(rows[0]["server"]["launcher"][0]["options"]["options"], "-i /home/me/.ssh/k");
    assert_eq!(argv(&rows[0]), "vllm serve m/x --enable-lora --lora-modules a=x/y b=z --tensor-parallel-size 1");
    let plan = new_plan("podman run -v ./m:/m -v .:/w vllm/vllm-openai:v0.32.0 --model /m/x");
    assert!(plan.stdout.contains("mounts: [\"/srv/llm/m:/m\",\"/srv/llm:/w\"]"), "{}", plan.stdout);
    let applied =
        run(program("bench-validate").args(["--new", "--from-command", "kubectl apply -f llm.yaml"]), "").expect(2);
    assert!(applied.stderr.contains("give the pod's manifest to --from-command"), "{}", applied.stderr);
}
