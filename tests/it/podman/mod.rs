//! Real containers by Podman, also under Docker's name: where it is not installed the tests say so and end.

mod image;
mod place;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use self::image::podman;
use self::place::Place;
use crate::harness::{candidates, finish, fixtures, kill, read_until, run, times, wait_until};

const SOON: Duration = Duration::from_secs(30);

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// The name of a server's container from the rows so far.
fn container(rows: &str) -> String {
    let row: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    format!("bench-{}", row["server_id"].as_str().unwrap())
}

#[test]
fn an_engine_on_the_cpu_is_asked_started_and_gone() {
    let Some(place) = Place::new("asked") else { return };
    for (launcher, options) in [("podman", "--ipc=host --shm-size 64m"), ("docker", "")] {
        let plan = format!(
            "model: m\nhardware: {{gpu_count: 0}}\n\
             dataset: {{num_prompts: 4, scenario_names: [s], input_len: [8], output_len: [3]}}\n\
             sla: {{max_mean_ttft_ms: 5000}}\nbenchmark: {{max_concurrency: [1]}}\n\
             frameworks: {{sim: {{launcher: {{name: {launcher}, options: \"{options}\"}}, image: \"{}\", \
             base_server_flags: {{load_ms: 0}}}}}}\n",
            place.image.0
        );
        let mut validate = place.program("bench-validate");
        let help = format!("help-{launcher}");
        validate.args(["--preflight", "--capture-help", &help, "--format", "jsonl", "-"]);
        let done = run(&mut validate, &plan).expect(0);
        let row = &done.rows()[0]["validated_cli_flags"]["sim"];
        assert!(row["server"]["accepted"].to_string().contains("--load-ms"), "{}", done.stderr);
        assert_eq!(row["version"], "0.1.0", "{row:#}");
        let rows = candidates(&plan);
        let mut serve = place.serve(&rows);
        let done = run(serve.args(["--", "cat"]), "").expect(0);
        let (server, end) = (&done.records("server")[0], &done.records("server_end")[0]);
        assert_eq!((&end["status"], &end["stop"]["survivors"]), (&"ok".into(), &serde_json::json!([])), "{end:#}");
        assert!(server["environment"]["image_digest"].as_str().unwrap().starts_with("sha256:"), "{server:#}");
        // What the host's hard limits forbid is neither run nor recommended.
        let limited = server["launched_argv"].to_string().contains("memlock");
        assert_eq!(server["launch_command"].as_str().unwrap().contains("memlock"), limited, "{server:#}");
        place.gone(&container(&done.stdout));
    }
}

#[test]
fn option_files_and_variables_by_name_arrive() {
    let all = ["podman", "docker_exec", "ssh podman", "docker", "ssh", "ssh docker_exec"];
    for names in &all[..times(3, 6) as usize] {
        let Some(mut place) = Place::new("arrive") else { return };
        let Some(rows) = place.rows(names, "") else { return };
        let mut serve = place.serve(&rows).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let text = read_until(&mut serve, "\"record\":\"server\"");
        let row: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        // The fixture server says what it read.
        assert_eq!(row["facts"]["options"], "{\"a\":1}", "{names}: {row:#}");
        assert_eq!(place.servers().len(), 1, "{names}: one server has the variable");
        kill(pid(&serve), Signal::SIGTERM);
        let done = finish(serve, SOON);
        assert!(done.stdout.contains("\"survivors\":[]"), "{names}: {} {}", done.stdout, done.stderr);
        place.gone(&container(&text));
    }
}

#[test]
fn kill_9_of_bench_serve_and_of_its_client_leaves_nothing() {
    let all = [
        ("podman", true, false),
        ("docker", false, true),
        ("ssh docker_exec", true, true),
        ("podman", true, true),
        ("docker_exec", true, false),
        ("ssh podman", false, true),
    ];
    for (names, serve_too, load_too) in all.into_iter().take(times(3, 6) as usize) {
        let Some(mut place) = Place::new("kill9") else { return };
        let Some(rows) = place.rows(names, ", token_ms: 300") else { return };
        let mut serve = place.serve(&rows).stdout(Stdio::piped()).spawn().unwrap();
        let mut load = place.program("bench-load");
        load.arg("--frameworks").arg(fixtures());
        let mut load = load.stdin(serve.stdout.take().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
        let name = container(&read_until(&mut load, "\"record\":\"server\""));
        assert_eq!(place.servers().len(), 1, "{names}");
        let killed = [(serve_too, pid(&serve)), (load_too, pid(&load))];
        killed.into_iter().filter(|(too, _)| *too).for_each(|(_, pid)| kill(pid, Signal::SIGKILL));
        let (served, loaded) = (finish(serve, SOON), finish(load, SOON));
        assert_eq!((served.signal == Some(9), loaded.signal == Some(9)), (serve_too, load_too), "{names}");
        place.gone(&name);
    }
}

#[test]
fn what_outlived_both_bench_serve_and_its_guard_is_removed_before_the_next_start() {
    let Some(mut place) = Place::new("leftovers") else { return };
    let Some(rows) = place.rows("podman", "") else { return };
    let mut serve = place.serve(&rows).stdout(Stdio::piped()).spawn().unwrap();
    let name = container(&read_until(&mut serve, "\"record\":\"server\""));
    let guard = place.mark.pids("bench-guard")[0];
    kill(pid(&serve), Signal::SIGKILL);
    kill(guard, Signal::SIGKILL);
    finish(serve, SOON);
    assert_eq!(place.servers().len(), 1, "nobody is left to stop it");
    let mut serve = place.serve(&rows);
    run(serve.args(["--", "true"]), "").expect(0);
    place.gone(&name);
}

/// Starts a command line as a reader does who pastes it, with another port; stops it by its container's name, else by its mark.
fn paste(place: &Place, line: &str, name: Option<&str>) {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let line = line.replace("--port 9000", &format!("--port {port}"));
    let mut shell = Command::new("sh");
    let path = place.program("bench-serve").get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap().to_owned();
    place.mark.put(&mut shell).args(["-c", &line]).env("PATH", path).current_dir(place.folder.path());
    let mut shell = shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let up = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
    if wait_until(SOON, up).is_none() {
        let _ = shell.kill();
        panic!("{line}\n{}", finish(shell, SOON).stderr);
    }
    match name {
        Some(name) => assert!(podman(&["stop", "-t", "1", name]).unwrap().status.success()),
        None => place.servers().into_iter().for_each(|pid| kill(pid, Signal::SIGKILL)),
    }
    let said = finish(shell, SOON).stderr;
    assert!(said.contains("options are {\"a\":1}"), "{line}\n{said}");
}

#[test]
fn a_printed_command_is_pasted_and_starts() {
    let Some(mut place) = Place::new("paste") else { return };
    let all = ["podman", "ssh docker_exec", "docker", "docker_exec"];
    for names in all.into_iter().take(times(3, 4) as usize) {
        let Some(mut plan) = place.plan(names, "") else { return };
        let name = format!("{}-{}", place.mark.text(), names.len());
        let container = names == "podman" || names == "docker";
        if container {
            let options = format!("launcher: {{name: {names}, options: \"--rm --name {name}\"}}");
            plan = plan.replace(&format!("launcher: [{names}]"), &options);
        }
        let rows = candidates(&plan);
        let row: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        let launch = row["launch_command"].as_str().unwrap();
        assert!(!launch.contains("bench.owner") && !launch.contains("cidfile"), "{launch}");
        // Docker may raise limits that Podman under its name may not: bench-serve says which it could.
        let limited = launch.replace(" --ulimit memlock=-1", "").replace(" --ulimit stack=67108864", "");
        paste(&place, &limited, container.then_some(name.as_str()));
        // bench-serve prints the same command, the server's own beside it.
        let dry = run(place.serve(&rows).args(["--dry-run", "--port", "9000"]), "").expect(0);
        let lines: Vec<&str> = dry.stdout.lines().collect();
        assert_eq!(lines[2], launch);
        let own = format!("# the server in it: {}", row["server_command"].as_str().unwrap());
        assert_eq!(lines[1], own);
        place.gone(&name);
    }
}

#[test]
fn an_image_and_the_program_in_it_must_exist() {
    let Some(mut place) = Place::new("missing") else { return };
    let Some(plan) = place.plan("podman", "") else { return };
    let image = place.image.0.clone();
    let none = plan.replace(&image, "localhost/bench-it/none:1");
    let elsewhere = plan.clone() + "    server_command: /opt/none/zoo\n";
    for (plan, allowed, status, said) in [
        (&none, None, 1, "error: E-FRAMEWORK-MISSING: zoo cannot be started: image localhost/bench-it/none:1: "),
        (
            &elsewhere,
            None,
            1,
            "error: E-FRAMEWORK-MISSING: zoo cannot be started: /opt/none/zoo not found in image localhost/bench-it/",
        ),
        (
            &elsewhere,
            Some("--allow-missing"),
            0,
            "warning: W-FRAMEWORK-MISSING: zoo cannot be started: /opt/none/zoo not found in image",
        ),
    ] {
        // Another framework, or none would be left.
        let plan = plan.clone() + "  sim: {}\n";
        let mut validate = place.program("bench-validate");
        validate.arg("--frameworks").arg(fixtures()).args(["--preflight", "-"]).args(allowed);
        let done = run(&mut validate, &plan).expect(status);
        let found: Vec<&str> = done.stderr.lines().filter(|line| line.contains("cannot be started")).collect();
        assert!(found.len() == 1 && found[0].contains(said), "{}", done.stderr);
    }
    let mut validate = place.program("bench-validate");
    validate.arg("--frameworks").arg(fixtures()).args(["--preflight", "-"]);
    run(&mut validate, &plan).expect(0);
}
