//! Servers that are started through something else, driven through a docker that is a script.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Mark, candidates, finish, fixtures, kill, program, run, scratch, wait_until, zoo_plan};

const SOON: Duration = Duration::from_secs(3);

fn serve(folder: &tempfile::TempDir, mode: &str) -> Command {
    let mut command = program("bench-serve");
    let path = std::env::var("PATH").unwrap_or_default();
    let programs = crate::harness::bin_dir();
    let bin = fixtures().join("bin");
    command.env("PATH", format!("{}:{1}:{1}/examples:{path}", bin.display(), programs.display()));
    command.env("FAKE_DOCKER", folder.path()).env("FAKE_DOCKER_MODE", mode);
    command.arg("--frameworks").arg(fixtures()).arg("--artifacts").arg(folder.path().join("logs"));
    command
}

fn rows() -> String {
    candidates(&(zoo_plan("{}") + "    launcher: docker\n    image: the-image\n"))
}

#[test]
fn a_container_is_started_leased_and_gone() {
    let (folder, mark) = (scratch(), Mark::new("docker"));
    let done = run(mark.put(serve(&folder, "").args(["--grace", "1", "--", "cat"])), &rows()).expect(0);
    let server = &done.records("server")[0];
    assert_eq!(server["environment"]["image"], "the-image");
    assert!(server["launched_argv"].to_string().contains("docker"), "{server:#}");
    assert!(
        server["server_command"].as_str().unwrap().starts_with("zoo "),
        "the command to deploy is the server's own"
    );
    let end = &done.records("server_end")[0];
    assert_eq!((&end["status"], &end["stop"]["survivors"]), (&"ok".into(), &serde_json::json!([])), "{end:#}");
    mark.gone_within(SOON);
}

#[test]
fn a_container_that_goes_on_or_cannot_be_asked_halts_everything() {
    for (mode, said) in [("lies", "still runs"), ("mute", "remote_unknown")] {
        let (folder, mark) = (scratch(), Mark::new("docker-lies"));
        let rows = rows();
        let mut command = serve(&folder, mode);
        let done = run(mark.put(command.args(["--grace", "0.2", "--", "true"])), &format!("{rows}{rows}"));
        let ends = done.records("server_end");
        let survivors = ends[0]["stop"]["survivors"].to_string();
        assert!(survivors.contains(said), "{survivors}");
        assert_eq!((done.code, ends.len()), (Some(2), 1), "{}", done.stderr);
        // What the liar left is ours to clear away.
        for pid in mark.pids("zoo") {
            kill(pid, Signal::SIGKILL);
        }
        mark.gone_within(SOON);
    }
}

#[test]
fn kill_9_of_bench_serve_stops_the_container() {
    let (folder, mark) = (scratch(), Mark::new("docker-kill9"));
    let path = folder.path().join("rows");
    std::fs::write(&path, rows()).unwrap();
    let mut command = serve(&folder, "");
    let command = mark.put(command.arg(&path)).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until(Duration::from_secs(10), || mark.pids("zoo --model").first().copied()).expect("the container runs");
    kill(i32::try_from(child.id()).unwrap(), Signal::SIGKILL);
    assert_eq!(finish(child, SOON).signal, Some(9));
    mark.gone_within(SOON);
}

#[test]
fn what_a_launcher_needs_is_asked_for() {
    let folder = scratch();
    let plan = folder.path().join("plan.yaml");
    for (more, said) in [
        ("launcher: docker", "the launcher docker needs image: write `image: NAME`"),
        ("launcher: ssh", "the launcher ssh needs host: write `launcher: {name: ssh, host: …}`"),
        ("launcher: {name: ssh, host: \"-oProxyCommand=x\"}", "would be taken for a flag"),
        (
            "launcher: dokcer",
            "there is no launcher \"dokcer\"; there are attach, docker, docker_exec, local, podman, srun, ssh",
        ),
    ] {
        std::fs::write(&plan, zoo_plan("{}") + "    " + more + "\n").unwrap();
        let done = run(program("bench-validate").arg("--frameworks").arg(fixtures()).arg(&plan), "").expect(1);
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
}

#[test]
fn an_attached_server_is_leased_and_never_stopped() {
    let server = crate::harness::Running::zoo(&[]);
    let (folder, mark) = (scratch(), Mark::new("attach"));
    let rows = candidates(&(zoo_plan("{}") + "    search_space: {token_ms: [2]}\n"));
    let mut command = serve(&folder, "");
    let done = run(mark.put(command.args(["--attach", &server.url, "--", "cat"])), &rows).expect(0);
    let row = &done.records("server")[0];
    assert_eq!(
        (&row["endpoint"]["base_url"], &row["endpoint"]["reached_by"]),
        (&server.url.as_str().into(), &"network".into())
    );
    assert!(row.get("launched_argv").is_none());
    assert_eq!(done.records("server_end")[0]["status"], "ok");
    // Another candidate's flags are not this server's.
    assert_eq!(done.records("candidate")[0]["status"], "skipped");
    mark.gone_within(SOON);
    // It answers as before.
    std::net::TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
}
