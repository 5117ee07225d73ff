//! bench-serve against servers that behave well, badly, or not at all.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Mark, bash, candidates, finish, fixtures, kill, program, run, scratch, skipped, times, wait_until, zoo_plan,
};

const SOON: Duration = Duration::from_secs(2);

fn serve(folder: &tempfile::TempDir) -> std::process::Command {
    let mut command = program("bench-serve");
    command.arg("--frameworks").arg(fixtures()).arg("--artifacts").arg(folder.path().join("logs"));
    command
}

#[test]
fn a_start_that_fails_is_a_row_with_its_reason() {
    let cuda = r#""torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB""#;
    for (flags, status, class, said) in [
        ("{exits: 3}", "failed", "server_died", "exited with status 3"),
        (&format!("{{says: {cuda}, exits: 1}}"), "oom", "cuda_oom_at_load", "CUDA out of memory"),
        ("{says: \"vllm: error: unrecognized arguments: --x\", exits: 2}", "failed", "bad_flag", "remove the flag"),
        ("{never_binds: true}", "timeout", "not_ready", "not ready after"),
        ("{unavailable: true}", "timeout", "not_ready", "returned HTTP 503"),
        ("{no_token: true}", "timeout", "not_ready", "returned no token"),
        ("{lists: other}", "failed", "wrong_model", "lists other, not \"zoo\""),
    ] {
        let (folder, mark) = (scratch(), Mark::new("start"));
        let rows = candidates(&zoo_plan(flags));
        let mut command = serve(&folder);
        let done = run(mark.put(command.args(["--ready-timeout", "0.5", "--grace", "0.2"])), &rows).expect(0);
        let [end] = &done.records("server_end")[..] else { panic!("{flags}: {}", done.stdout) };
        let text = |key: &str| end[key].as_str().unwrap_or_default().to_string();
        assert_eq!((text("status"), text("failure_class")), (status.into(), class.into()), "{flags}: {end:#}");
        assert!(text("failure_reason").contains(said), "{flags}: {}", text("failure_reason"));
        // The whole candidate is in the row, so that nothing has to be looked up.
        assert_eq!((&end["framework"], &end["units"][0]["scenario"]), (&"zoo".into(), &"s".into()));
        mark.gone_within(SOON);
    }
}

#[test]
fn a_local_folder_may_be_listed_by_its_last_name() {
    let folder = scratch();
    let rows = candidates(&zoo_plan("{lists: zoo}").replace("model: zoo", "model: /no/such/zoo"));
    let done = run(serve(&folder).args(["--smoke", "--grace", "1"]), &rows).expect(0);
    assert_eq!(done.records("server_end")[0]["status"], "ok", "{}", done.stdout);
}

#[test]
fn a_command_that_is_not_there_is_a_row() {
    let folder = scratch();
    let rows = candidates(&zoo_plan("{}")).replace("\"argv\":[\"zoo\"", "\"argv\":[\"no-such-program\"");
    let done = run(&mut serve(&folder), &rows).expect(0);
    let end = &done.records("server_end")[0];
    assert_eq!(end["failure_class"], "not_started", "{end:#}");
    assert!(end["failure_reason"].as_str().unwrap().contains("is zoo installed and on the PATH?"), "{end:#}");
}

#[test]
fn a_port_that_is_taken_names_its_owner_and_harms_nobody() {
    let folder = scratch();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let done = run(serve(&folder).args(["--port", &port]), &candidates(&zoo_plan("{}"))).expect(0);
    let end = &done.records("server_end")[0];
    assert_eq!(end["failure_class"], "port_in_use");
    let reason = end["failure_reason"].as_str().unwrap();
    assert!(reason.contains(&std::process::id().to_string()) && reason.contains("stop that process"), "{reason}");
}

#[test]
fn nothing_survives_a_stop() {
    for round in 0..times(5, 50) {
        let (folder, mark) = (scratch(), Mark::new("stop"));
        let flags = "{children: \"plain,group,session,forked,stubborn\", ignores_term: true}";
        let rows = candidates(&zoo_plan(flags));
        let done = run(mark.put(serve(&folder).args(["--grace", "0.1", "--", "true"])), &rows).expect(0);
        let end = &done.records("server_end")[0];
        assert_eq!(end["stop"]["survivors"], serde_json::json!([]), "{end:#}");
        // The server and the child that ignores SIGTERM, and those whom the group's signal does not reach.
        assert!(end["stop"]["killed"].as_array().unwrap().len() >= 4, "round {round}: {end:#}");
        mark.gone_within(Duration::ZERO);
    }
}

#[test]
fn a_server_that_dies_takes_its_children_along() {
    let (folder, mark) = (scratch(), Mark::new("dies"));
    let rows = candidates(&zoo_plan("{children: \"session,forked\", dies_at: 1}"));
    let chain = r#"exec 3<>/dev/tcp/127.0.0.1/${BENCH_BASE_URL##*:}; printf 'POST /v1/completions HTTP/1.1\r\nContent-Length: 0\r\n\r\n' >&3; cat <&3 >&2; sleep 100"#;
    let done = run(mark.put(serve(&folder).args(["--", "bash", "-c", chain])), &rows).expect(0);
    let end = &done.records("server_end")[0];
    assert_eq!((&end["status"], &end["failure_class"]), (&"failed".into(), &"server_died".into()), "{end:#}");
    assert_eq!(end["exit"]["code"], 7);
    mark.gone_within(SOON);
}

#[test]
fn the_chain_form_copies_rows_and_keeps_what_a_foreign_client_prints() {
    let folder = scratch();
    let script = r#"cat; echo '{"throughput": 3}'; echo "for people"; echo "$BENCH_MODEL $BENCH_CANDIDATE_ID" > "$BENCH_ARTIFACTS/seen""#;
    let done = run(serve(&folder).args(["--", "sh", "-c", script]), &candidates(&zoo_plan("{}"))).expect(0);
    let kinds: Vec<String> = done.rows().iter().map(|row| row["record"].as_str().unwrap().into()).collect();
    assert_eq!(kinds, ["server", "server", "native", "server_end"]);
    let native = &done.records("native")[0];
    assert_eq!(native["payload"]["throughput"], 3);
    assert_eq!(native["server_id"], done.records("server")[0]["server_id"]);
    assert!(done.stderr.contains("for people"));
    let seen = std::fs::read_dir(folder.path().join("logs")).unwrap().next().unwrap().unwrap().path().join("seen");
    let id = done.records("server")[0]["candidate_id"].as_str().unwrap().to_string();
    assert_eq!(std::fs::read_to_string(seen).unwrap(), format!("zoo {id}\n"));
}

#[test]
fn a_lease_that_nobody_takes_is_explained_and_ends_the_program() {
    let (folder, mark) = (scratch(), Mark::new("lease"));
    let rows = candidates(&zoo_plan("{}"));
    let two = format!("{rows}{rows}");
    let done = run(mark.put(serve(&folder).args(["--lease-timeout", "0.3"])), &two).expect(2);
    for word in ["bench-load", "jq --unbuffered", "grep --line-buffered", "sed -u", "filter before bench-serve"] {
        assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
    }
    assert_eq!(done.records("server_end")[0]["failure_class"], "lease_timeout");
    assert_eq!(done.records("server").len(), 1, "the second candidate was started");
    mark.gone_within(SOON);
}

#[test]
fn a_filter_that_buffers_between_serve_and_load_is_named() {
    if run(&mut bash("command -v jq"), "").code != Some(0) {
        skipped("jq is not installed");
        return;
    }
    let (folder, mark) = (scratch(), Mark::new("jq"));
    let (fixtures, logs) = (fixtures(), folder.path().join("logs"));
    let script = format!(
        "bench-serve --frameworks '{0}' --artifacts '{1}' --lease-timeout 0.5 | jq -c . | bench-load --frameworks '{0}' --quiet; \
         echo \"${{PIPESTATUS[0]}}\" >&2",
        fixtures.display(),
        logs.display()
    );
    let done = run(mark.put(&mut bash(&script)), &candidates(&zoo_plan("{}")));
    assert!(done.stderr.contains("jq --unbuffered") && done.stderr.trim_end().ends_with('2'), "{}", done.stderr);
    mark.gone_within(SOON);
}

#[test]
fn a_reader_that_left_stops_the_server_quietly() {
    // Before there is a server, and while it waits for its lease to be taken.
    for lines in [0, 1] {
        let (folder, mark) = (scratch(), Mark::new("reader"));
        let rows = candidates(&zoo_plan("{}"));
        let script = format!(
            "bench-serve --quiet --frameworks '{}' --artifacts '{}' | head -n {lines} >&2; echo \"${{PIPESTATUS[0]}}\"",
            fixtures().display(),
            folder.path().join("logs").display()
        );
        let done = run(mark.put(&mut bash(&script)), &rows);
        assert_eq!((done.stdout.as_str(), done.stderr.lines().count()), ("0\n", lines), "{}", done.stderr);
        mark.gone_within(SOON);
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let (folder, mark) = (scratch(), Mark::new("full"));
    let script = format!(
        "bench-serve --frameworks '{}' --artifacts '{}' > /dev/full",
        fixtures().display(),
        folder.path().join("logs").display()
    );
    let done = run(mark.put(&mut bash(&script)), &candidates(&zoo_plan("{}"))).expect(2);
    assert!(done.stderr.contains("No space left"), "{}", done.stderr);
    mark.gone_within(SOON);
}

/// A bench-serve whose server is ready, its row read.
fn held(
    folder: &tempfile::TempDir,
    mark: &Mark,
    flags: &str,
) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    held_in(folder, mark, flags, None)
}

/// The same, with this folder for what lives as long as the program.
fn held_in(
    folder: &tempfile::TempDir,
    mark: &Mark,
    flags: &str,
    runtime: Option<&std::path::Path>,
) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let rows = candidates(&zoo_plan(flags));
    let path = folder.path().join("candidates.jsonl");
    std::fs::write(&path, rows).unwrap();
    let mut command = serve(folder);
    command.envs(runtime.map(|runtime| ("XDG_RUNTIME_DIR", runtime)));
    let command = mark.put(command.args(["--grace", "5"]).arg(&path));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut row = String::new();
    out.read_line(&mut row).unwrap();
    assert!(row.contains("\"record\":\"server\""), "{row}");
    assert!(!mark.pids("zoo --model").is_empty());
    (child, out)
}

#[test]
fn a_signal_stops_the_server_writes_its_end_and_kills_the_program() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (folder, mark) = (scratch(), Mark::new("signal"));
        let (child, mut out) = held(&folder, &mark, "{children: forked}");
        kill(i32::try_from(child.id()).unwrap(), signal);
        let done = finish(child, Duration::from_secs(10));
        assert_eq!(done.signal, Some(signal as i32), "{}", done.stderr);
        let mut row = String::new();
        out.read_line(&mut row).unwrap();
        assert!(row.contains("\"server_end\"") && row.contains("\"interrupted\""), "{row}");
        mark.gone_within(SOON);
    }
}

/// What all servers of a test have printed.
fn logs(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else { return String::new() };
    let text = |path: PathBuf| {
        if path.is_dir() { logs(&path) } else { std::fs::read_to_string(path).unwrap_or_default() }
    };
    entries.flatten().map(|entry| text(entry.path())).collect()
}

#[test]
fn a_second_signal_ends_the_program_at_once_and_the_guard_goes_on() {
    let (folder, mark) = (scratch(), Mark::new("twice"));
    // Nothing of it goes by SIGTERM, so the first signal leads to a wait of some seconds.
    let (child, _out) = held(&folder, &mark, "{ignores_term: true}");
    let pid = i32::try_from(child.id()).unwrap();
    kill(pid, Signal::SIGINT);
    // The first is known to have come once the guard has passed SIGTERM on; until then a second is only another first.
    let has_come = || logs(folder.path()).contains("took no notice of SIGTERM").then_some(());
    wait_until(Duration::from_secs(10), has_come).expect("SIGTERM reaches the server");
    kill(pid, Signal::SIGINT);
    assert_eq!(finish(child, SOON).signal, Some(Signal::SIGINT as i32));
    mark.gone_within(Duration::from_secs(12));
}

#[test]
fn kill_9_leaves_no_server() {
    for _ in 0..times(3, 50) {
        let (folder, mark) = (scratch(), Mark::new("kill9"));
        let (child, _out) = held(&folder, &mark, "{children: \"plain,group,session,forked\"}");
        kill(i32::try_from(child.id()).unwrap(), Signal::SIGKILL);
        assert_eq!(finish(child, SOON).signal, Some(9));
        mark.gone_within(SOON);
    }
}

/// The only `server_end` of a chain form run of a server with these habits.
fn served(flags: &str, chain: &str, args: &[&str]) -> (Value, Value, tempfile::TempDir) {
    let (folder, mark) = (scratch(), Mark::new("served"));
    let rows = candidates(&zoo_plan(flags));
    let mut command = serve(&folder);
    let done = run(mark.put(command.args(args).args(["--", "sh", "-c", chain])), &rows).expect(0);
    mark.gone_within(SOON);
    (done.records("server").first().cloned().unwrap_or_default(), done.records("server_end")[0].clone(), folder)
}

#[test]
fn a_log_tells_facts_and_the_row_tells_the_states() {
    let (server, end, _) = served("{says: \"KV cache: 12,345 tokens, using flash attention\"}", "cat; true", &[]);
    assert_eq!(server["facts"], serde_json::json!({"kv_cache_tokens": 12345.0, "attention_backend": "flash"}));
    assert_eq!(server["cold"], true);
    let states: Vec<&str> = end["lifecycle"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["preflight", "starting", "probing", "ready", "leased", "stopping", "released"]);
    assert!(end["lifecycle"][2]["limit_ms"].as_f64().is_some());
}

#[test]
fn a_worker_that_goes_ends_the_wait() {
    let (_, starting, _) = served("{worker_s: 1.8, unavailable: true}", "true", &[]);
    let (_, leased, _) = served("{worker_s: 1.8}", "sleep 30", &[]);
    for end in [starting, leased] {
        assert_eq!(end["failure_class"], "worker_died", "{end:#}");
        assert!(end["failure_reason"].as_str().unwrap().contains("worker process"), "{end:#}");
    }
}

#[test]
fn a_server_that_is_killed_is_not_called_out_of_memory_without_evidence() {
    let kill = "pkill -KILL -f \"^zoo --model zoo .*--port ${BENCH_BASE_URL##*:}\"; sleep 30";
    for (flags, words) in [
        ("{}", "dmesg -T"),
        ("{says: \"TypeError: 'NoneType' object is not iterable\"}", "TypeError: 'NoneType' object is not iterable"),
    ] {
        let (_, end, _) = served(flags, kill, &[]);
        assert_eq!((&end["status"], &end["failure_class"]), (&"failed".into(), &"server_died".into()), "{end:#}");
        let why = end["failure_reason"].as_str().unwrap();
        assert!(why.contains("signal 9 (SIGKILL)") && why.contains(words), "{why}");
    }
}

#[test]
fn a_server_that_crashes_while_it_is_given_back_has_failed() {
    // The program ends well while the server aborts: whoever sees it first, it is a crash.
    let abort = "pkill -ABRT -f \"^zoo --model zoo .*--port ${BENCH_BASE_URL##*:}\"; true";
    let (_, end, _) = served("{says: \"x.cpp:1: GGML_ASSERT(a) failed\"}", abort, &[]);
    assert_eq!((&end["status"], &end["failure_class"]), (&"failed".into(), &"server_died".into()), "{end:#}");
    assert!(end["failure_reason"].as_str().unwrap().contains("GGML_ASSERT(a) failed"), "{end:#}");
}

#[test]
fn a_server_whose_engine_is_dead_has_failed_though_it_answers() {
    let says = "{says: \"RuntimeError: the cause; (APIServer) EngineDeadError: EngineCore encountered an issue\"}";
    let (_, end, _) = served(says, "true", &[]);
    assert_eq!((&end["status"], &end["failure_class"]), (&"failed".into(), &"engine_dead".into()), "{end:#}");
}

#[test]
fn a_guard_that_is_killed_leaves_nothing() {
    let habits = "{children: \"plain,group,session,forked,stubborn\", ignores_term: true}";
    let (_, end, _) = served(habits, "pkill -KILL -f \"^bench-guard .*--port ${BENCH_BASE_URL##*:}\"; sleep 30", &[]);
    assert_eq!((&end["status"], &end["stop"]["survivors"]), (&"failed".into(), &serde_json::json!([])), "{end:#}");
}

#[test]
fn what_is_left_when_its_guard_dies_too_is_killed_at_the_next_start() {
    let (folder, mark, runtime) = (scratch(), Mark::new("both"), scratch());
    let (child, _out) =
        held_in(&folder, &mark, "{children: \"plain,group,session,forked,stubborn\"}", Some(runtime.path()));
    assert!(std::fs::read_dir(runtime.path()).unwrap().count() > 0);
    let both = mark.pids("bench-serve").into_iter().chain(mark.pids("bench-guard"));
    for pid in both.collect::<Vec<_>>() {
        kill(pid, Signal::SIGKILL);
    }
    assert_eq!(finish(child, SOON).signal, Some(9));
    let left = crate::harness::processes_with(mark.text());
    assert!(!left.is_empty(), "nothing could be left");
    let mut next = program("bench-serve");
    let done =
        run(next.args(["--artifacts"]).arg(folder.path().join("next")).env("XDG_RUNTIME_DIR", runtime.path()), "");
    let done = done.expect(0);
    assert!(done.stderr.contains("killed what a bench-serve that was killed had left running: "), "{}", done.stderr);
    mark.gone_within(SOON);
    assert_eq!(std::fs::read_dir(runtime.path()).unwrap().count(), 0);
}

#[test]
fn killing_every_bench_serve_by_name_leaves_no_server() {
    let (folder, mark) = (scratch(), Mark::new("pkill"));
    let (child, _out) = held(&folder, &mark, "{children: \"plain,group\"}");
    // The guard's name is another, the short one too.
    let guard = mark.pids("bench-guard")[0];
    assert_eq!(std::fs::read_to_string(format!("/proc/{guard}/comm")).unwrap(), "bench-guard\n");
    // What `pkill -9 bench-serve` does, for this one only.
    for pid in mark.pids("bench-serve") {
        kill(pid, Signal::SIGKILL);
    }
    assert_eq!(finish(child, SOON).signal, Some(9));
    mark.gone_within(SOON);
}

#[test]
fn a_flood_holds_nobody_up_and_fills_no_disk() {
    let (_, end, folder) = served("{floods: true}", "sleep 1.5", &["--log-limit", "1"]);
    assert_eq!(end["status"], "ok", "{end:#}");
    let log = end["artifacts"]["server_log"].as_str().unwrap();
    let folder = folder.path().join("logs").join(std::path::Path::new(log).parent().unwrap().file_name().unwrap());
    let size = |entry: std::fs::DirEntry| entry.metadata().unwrap().len();
    let size: u64 = std::fs::read_dir(&folder).unwrap().map(|entry| size(entry.unwrap())).sum();
    assert!(size > 100_000 && size <= 1 << 20, "{size}");
}

/// One secret of each way in which a secret is known: by its shape, by its variable's name, by the flag before it.
fn secrets() -> Vec<(&'static str, String)> {
    let shaped = ["hf", "_", &"Ab3".repeat(12)].concat();
    vec![("shape", shaped), ("name", "Correct-Horse9".into()), ("flag", "Battery.Staple7".into())]
}

#[test]
fn no_secret_gets_into_any_row_artifact_or_report() {
    let (folder, mark) = (scratch(), Mark::new("secret"));
    let secrets = secrets();
    let of = |how: &str| secrets.iter().find(|(known, _)| *known == how).map(|(_, secret)| secret.as_str()).unwrap();
    // What the server prints: its argv, its environment, its configuration, a request, and why it dies.
    let says = format!(
        "args: Namespace(api_key='{0}', token='{1}')\nenviron({{'THE_PASSWORD': '{2}'}})\n{{\"key\": \"{1}\", \"p\": \"{2}\"}}\n\
         GET /?token={0} Authorization: Bearer {2}\ntorch.OutOfMemoryError: CUDA out of memory for {0} {1} {2}",
        of("flag"),
        of("shape"),
        of("name")
    );
    let plan = zoo_plan("{api_key: \"${FLAG_VALUE}\", prints: \"@TO_PRINT\"}") + "    env: {THE_PASSWORD: null}\n";
    let fails = plan.clone()
        + "  dies:\n    definition: zoo\n    base_server_flags: {api_key: \"${FLAG_VALUE}\", prints: \"@TO_PRINT\", exits: 1}\n";
    let (rows, out) = (candidates(&fails), folder.path().join("out"));
    std::fs::create_dir(&out).unwrap();
    let script = format!(
        "cd '{1}' && bench-serve --frameworks '{0}' --artifacts logs -- cat > raw.jsonl 2> stderr; bench-normalize raw.jsonl > results.jsonl; \
         for format in md table csv jsonl; do bench-rank --format $format results.jsonl > report.$format; done; true",
        fixtures().display(),
        out.display()
    );
    let mut command = bash(&script);
    command
        .env("THE_PASSWORD", of("name"))
        .env("FLAG_VALUE", of("flag"))
        .env("TO_PRINT", says)
        .env("ZOO_HELP", of("shape"));
    run(mark.put(&mut command), &rows).expect(0);
    mark.gone_within(SOON);
    let mut seen = 0;
    let mut folders = vec![out.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap().flatten() {
            let path = entry.path();
            let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions()) & 0o77;
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (how, secret) in &secrets {
                assert!(!text.contains(secret.as_str()), "{how}: {}:\n{text}", path.display());
            }
            seen += u32::from(text.contains("[REDACTED:"));
            // What bench-serve writes is its owner's alone.
            assert!(mode == 0 || path.parent() == Some(&out), "{}: {mode:o}", path.display());
        }
    }
    // Both logs, both manifests, the help, raw rows, results and reports.
    assert!(seen >= 8, "{seen} files had something to hide");
    let raw = std::fs::read_to_string(out.join("raw.jsonl")).unwrap();
    assert!(raw.contains("cuda_oom_at_load") && raw.contains("server_help"), "{raw}");
}

const FREE_GPU: &str = "0, GPU-zero, NVIDIA H100, 4, 81559, 50, 300, 1980, 40, 0x0, 570.1\n";

/// bench-serve with a GPU probe that prints a file of the folder.
fn with_gpus(folder: &tempfile::TempDir, list: &str) -> std::process::Command {
    let path = folder.path().join("gpus.csv");
    std::fs::write(&path, list).unwrap();
    let mut command = serve(folder);
    command.arg("--gpu-probe-cmd").arg(format!("cat '{}'", path.display()));
    // The GPUs are those of this folder alone.
    command.env("GPUS", path).env("XDG_RUNTIME_DIR", folder.path());
    command
}

#[test]
fn a_gpu_in_use_or_missing_is_refused_and_recorded() {
    let in_use = FREE_GPU.replace(" 4,", " 40000,");
    for (list, hardware, class, said) in [
        (in_use.as_str(), "gpu_count: 1", "gpu_busy", "GPU 0 (NVIDIA H100): 40000 MiB in use"),
        (FREE_GPU, "gpu_count: 2", "gpu_count", "gpu_count is 2, but 1 are available"),
        (FREE_GPU, "gpu_count: 1, visible_devices: \"3\"", "gpu_count", "GPU 3 not found"),
        ("nonsense\n", "gpu_count: 1", "gpu_unknown", "nonsense"),
    ] {
        let folder = scratch();
        let rows = candidates(&zoo_plan("{}").replace("gpu_count: 1", hardware));
        let done = run(&mut with_gpus(&folder, list), &rows).expect(0);
        let end = &done.records("server_end")[0];
        assert_eq!(end["failure_class"], class, "{end:#}");
        assert!(end["failure_reason"].as_str().unwrap().contains(said), "{end:#}");
        assert!(done.records("server").is_empty());
    }
}

#[test]
fn gpus_are_sampled_while_a_server_is_leased() {
    let folder = scratch();
    // Steady memory is three same readings, a second apart.
    let mut command = with_gpus(&folder, FREE_GPU);
    command.args(["--gpu-release-timeout", "10", "--", "sh", "-c", "cat; sleep 2.2"]);
    let done = run(&mut command, &candidates(&zoo_plan("{}"))).expect(0);
    let hardware = &done.records("server")[0]["hardware"];
    assert_eq!((&hardware["gpu_uuids"][0], &hardware["gpu_model"]), (&"GPU-zero".into(), &"NVIDIA H100".into()));
    let gpu = &done.records("server_end")[0]["gpu"];
    assert!(gpu["samples"].as_u64().unwrap() >= 2, "{gpu:#}");
    assert_eq!(
        (&gpu["devices"][0]["power_mean_w"], &gpu["devices"][0]["throttled_share"]),
        (&300.0.into(), &0.0.into())
    );
}

#[test]
fn memory_that_is_not_given_back_stops_everything() {
    let (folder, mark) = (scratch(), Mark::new("held"));
    let rows = candidates(&zoo_plan("{}"));
    let mut command = with_gpus(&folder, FREE_GPU);
    command.args(["--gpu-release-timeout", "0", "--", "sh", "-c", "sed -i 's/ 4,/ 29000,/' \"$GPUS\"; cat"]);
    let done = run(mark.put(&mut command), &format!("{rows}{rows}")).expect(2);
    assert_eq!(done.records("server_end").len(), 1, "the second candidate was started");
    let held = &done.records("server_end")[0]["stop"]["held"];
    assert_eq!(held[0], "GPU 0: 29000 MiB");
    assert!(done.stderr.contains("did not free in time: GPU 0: 29000 MiB"), "{}", done.stderr);
    mark.gone_within(SOON);
}

#[test]
fn a_framework_that_only_fails_is_given_up() {
    let plan = zoo_plan("{exits: 1}") + "    search_space: {token_ms: [1, 2, 3, 4]}\n";
    for (args, skipped) in [(&[][..], 2), (&["--give-up", "never"], 0), (&["--give-up", "1"], 4)] {
        let folder = scratch();
        let done = run(serve(&folder).args(args), &candidates(&plan)).expect(0);
        let given_up = done.records("candidate");
        assert_eq!((given_up.len(), done.records("server_end").len()), (skipped, 5 - skipped), "{}", done.stderr);
        for row in given_up {
            assert_eq!((&row["status"], &row["failure_class"]), (&"skipped".into(), &"gave_up".into()));
        }
    }
}

#[test]
fn a_flow_check_starts_each_framework_once_and_leases_nothing() {
    let plan = zoo_plan("{}")
        + "    search_space: {token_ms: [2, 3]}\n  broken:\n    definition: zoo\n    base_server_flags: {answers: error-event}\n  dead:\n    definition: zoo\n    base_server_flags: {exits: 3}\n";
    let (folder, mark) = (scratch(), Mark::new("smoke"));
    let done = run(mark.put(serve(&folder).args(["--smoke", "--grace", "1"])), &candidates(&plan)).expect(1);
    let ends = done.records("server_end");
    let about = |name: &str| ends.iter().find(|row| row["framework"] == name).unwrap();
    assert_eq!((ends.len(), done.rows().len()), (3, 3), "{}", done.stdout);
    assert_eq!((&about("zoo")["status"], &about("zoo")["smoke"]["ok"]), (&"ok".into(), &6.into()));
    assert!(about("zoo")["smoke"]["first_token_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(about("broken")["failure_class"], "no_answer");
    assert!(
        about("broken")["failure_reason"].as_str().unwrap().contains("the engine fell over"),
        "{}",
        about("broken")
    );
    assert_eq!(about("dead")["failure_class"], "server_died");
    let log = about("zoo")["artifacts"]["server_log"].as_str().unwrap();
    let said = std::fs::read_to_string(std::path::Path::new(log).with_file_name("flow_check.txt")).unwrap();
    assert!(said.contains("GET /v1/models\n200") && said.contains("request 5"), "{said}");
    mark.gone_within(SOON);
    // Nothing to check is no yes.
    let done = run(serve(&folder).args(["--smoke"]), "").expect(1);
    assert!(done.stderr.contains("nothing was checked"), "{}", done.stderr);
    // One that serves is a yes.
    let (folder, good) = (scratch(), candidates(&zoo_plan("{}")));
    run(serve(&folder).args(["--smoke", "--grace", "1"]), &good).expect(0);
}

#[test]
fn memory_that_comes_back_late_is_waited_for_and_memory_that_rises_is_not_free() {
    // The figure changes from look to look: held for the next few, or more each time. A look may be cut short.
    let late = "n=$(cat left); u=4; [ $n -gt 0 ] && { u=29000; echo $((n - 1)) > new; mv new left; }";
    let rising = "u=$(cat left); echo $((u + 40)) > new; mv new left";
    for (look, limit, code) in [(late, "30", 0), (rising, "2", 2)] {
        let (folder, mark) = (scratch(), Mark::new("late"));
        std::fs::write(folder.path().join("left"), "0").unwrap();
        let script = folder.path().join("look");
        let line = FREE_GPU.replace(" 4,", " $u,");
        std::fs::write(&script, format!("cd '{}'\n{look}\necho \"{}\"\n", folder.path().display(), line.trim()))
            .unwrap();
        let chain = if code == 0 { format!("echo 3 > '{}/left'", folder.path().display()) } else { "true".into() };
        let mut command = serve(&folder);
        command.arg("--gpu-probe-cmd").arg(format!("bash '{}'", script.display()));
        command.args(["--gpu-release-timeout", limit, "--", "sh", "-c", &chain]).env("XDG_RUNTIME_DIR", folder.path());
        let done = run(mark.put(&mut command), &candidates(&zoo_plan("{}"))).expect(code);
        let stop = &done.records("server_end")[0]["stop"];
        match code {
            0 => assert!(stop.get("held").is_none(), "{stop:#}"),
            _ => assert!(stop["held"][0].as_str().unwrap().contains("is not steady"), "{stop:#}"),
        }
        mark.gone_within(SOON);
    }
}

#[test]
fn what_a_plan_names_stays_a_name() {
    // No secret by its look: a number, a word, a path, two letters; and none by the flag before it.
    for value in ["918273645546", "correcthorse", "/run/secret", "pw"] {
        let (folder, mark) = (scratch(), Mark::new("named"));
        let rows =
            candidates(&(zoo_plan("{}") + "    extra_args: [\"--prints\", \"${MY_API_KEY}\", \"--api-key\", \"x\"]\n"));
        let mut command = serve(&folder);
        let done = run(mark.put(command.env("MY_API_KEY", value).args(["--", "cat"])), &rows).expect(0);
        let server = &done.records("server")[0];
        let launched = server["launched_argv"].as_array().unwrap();
        assert!(launched.contains(&"${MY_API_KEY}".into()), "{server:#}");
        let manifest = std::fs::read_to_string(server["artifacts"]["manifest"].as_str().unwrap()).unwrap();
        assert!(manifest.contains("${MY_API_KEY}"), "{manifest}");
        if value.len() >= 6 {
            assert!(!manifest.contains(value) && !done.stdout.contains(value), "{value}: {manifest}");
            let log = std::fs::read_to_string(server["artifacts"]["server_log"].as_str().unwrap()).unwrap();
            assert!(log.contains("[REDACTED:value]") && !log.contains(value), "{log}");
        }
        mark.gone_within(SOON);
    }
}

#[test]
fn a_client_has_its_cpus_and_the_server_those_that_are_left() {
    let (folder, mark) = (scratch(), Mark::new("cpus"));
    let plan = candidates(&zoo_plan("{options: /proc/self/status}"));
    let chain = format!("bench-load --quiet --client-cpus 0 --frameworks '{}'", fixtures().display());
    // A list that cannot be is an error that says which CPUs there are.
    for args in [["--client-cpus", "1023"], ["--client-cpus", "0-"]] {
        let done = run(serve(&folder).args(args), &plan).expect(2);
        assert!(
            done.stderr.contains("1023: the CPUs of this host") || done.stderr.contains("0-1,4"),
            "{}",
            done.stderr
        );
        let done = run(program("bench-load").args(args), &plan).expect(2);
        assert!(
            done.stderr.contains("1023: the CPUs of this host") || done.stderr.contains("0-1,4"),
            "{}",
            done.stderr
        );
    }
    if std::thread::available_parallelism().is_ok_and(|n| n.get() < 2) {
        return skipped("one CPU has no second one for the server");
    }
    let done = run(mark.put(serve(&folder).args(["--client-cpus", "0", "--", "sh", "-c", &chain])), &plan).expect(0);
    mark.gone_within(SOON);
    let (server, run) = (&done.records("server")[0], &done.records("run")[0]);
    assert_eq!(run["client"]["cpus"], "0", "{run:#}");
    let left = server["cpus"].as_str().unwrap();
    assert!(!left.split([',', '-']).any(|cpu| cpu == "0"), "{left}");
    // The server printed its own status at its start.
    let log = std::fs::read_to_string(server["artifacts"]["server_log"].as_str().unwrap()).unwrap();
    assert!(log.contains(&format!("Cpus_allowed_list:\t{left}\n")), "{left}: {log}");
}
