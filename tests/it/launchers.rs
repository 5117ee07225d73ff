//! Servers that are started through something else, driven through a docker that is a script.

use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Mark, candidates, finish, fixtures, kill, program, run, scratch, wait_until, zoo_plan};

const SOON: Duration = Duration::from_secs(3);

/// Another host: what runs there is no descendant of bench-serve, which can only reach it by its launcher's commands.
struct Elsewhere {
    folder: tempfile::TempDir,
    mark: Mark,
    host: Child,
}

impl Elsewhere {
    fn new(test: &str) -> Self {
        let (folder, mark) = (scratch(), Mark::new(test));
        let mut command = Command::new(fixtures().join("bin/elsewhere"));
        let host = mark.put(Self::put(&folder, &mut command)).arg("serve").spawn().unwrap();
        let queue = folder.path().join("queue");
        wait_until(SOON, || queue.exists().then_some(())).expect("the host takes jobs");
        Self { folder, mark, host }
    }

    fn put<'a>(folder: &tempfile::TempDir, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = crate::harness::bin_dir();
        let bin = fixtures().join("bin");
        command.env("PATH", format!("{}:{1}:{1}/examples:{path}", bin.display(), programs.display()));
        command.env("FAKE_HOST", folder.path())
    }

    fn serve(&self, mode: &str) -> Command {
        let mut command = program("bench-serve");
        self.mark.put(Self::put(&self.folder, &mut command)).env("FAKE_DOCKER_MODE", mode);
        command.arg("--frameworks").arg(fixtures()).arg("--artifacts").arg(self.folder.path().join("logs"));
        command
    }

    /// Panics unless nothing but the host itself is left.
    fn gone(mut self) {
        let left = || Some(self.mark.pids("zoo")).filter(Vec::is_empty);
        assert!(wait_until(SOON, left).is_some(), "still there: {:?}", self.mark.pids("zoo"));
        self.host.kill().unwrap();
        self.host.wait().unwrap();
        self.mark.gone_within(SOON);
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for pid in self.mark.pids("") {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.host.wait();
    }
}

fn rows() -> String {
    candidates(&(zoo_plan("{}") + "    launcher: docker\n    image: the-image\n"))
}

#[test]
fn a_container_is_started_leased_and_gone() {
    let there = Elsewhere::new("docker");
    let done = run(there.serve("").args(["--grace", "1", "--", "cat"]), &rows()).expect(0);
    let server = &done.records("server")[0];
    let environment = &server["environment"];
    let digest = format!("sha256:{}", "a".repeat(64));
    assert_eq!(
        (&environment["image"], &environment["image_digest"]),
        (&"the-image".into(), &digest.as_str().into()),
        "{environment}"
    );
    assert_eq!((&environment["cuda"], &environment["nccl"]), (&"13.0.1".into(), &"2.28.9-1".into()));
    assert!(server["launched_argv"].to_string().contains("docker"), "{server:#}");
    assert!(
        server["server_command"].as_str().unwrap().starts_with("zoo "),
        "the command to deploy is the server's own"
    );
    let end = &done.records("server_end")[0];
    assert_eq!((&end["status"], &end["stop"]["survivors"]), (&"ok".into(), &serde_json::json!([])), "{end:#}");
    there.gone();
}

#[test]
fn the_manifest_tells_how_to_do_it_again() {
    let there = Elsewhere::new("manifest");
    let done = run(there.serve("").args(["--grace", "1", "--", "cat"]), &rows()).expect(0);
    let path = done.records("server_end")[0]["artifacts"]["manifest"].as_str().unwrap().to_string();
    let manifest: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let commands = &manifest["commands"];
    assert_eq!(commands["pull"][0], "docker pull the-image");
    assert!(commands["start"].as_str().unwrap().starts_with("docker run --init --name bench-zoo-"), "{manifest:#}");
    assert!(commands["clean"][0].as_str().unwrap().starts_with("docker rm -f bench-zoo-"), "{manifest:#}");
    assert_eq!(manifest["environment"]["cuda"], "13.0.1");
    there.gone();
}

#[test]
fn containers_of_a_dead_owner_are_removed_before_a_start() {
    let there = Elsewhere::new("leftovers");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string();
    let living = std::process::id();
    // A pid that lives, but was given to another process meanwhile; one that lives; one of another host.
    let listed = format!("bench-dead {host}:{living}:1\nbench-else other:1:1\nbench-odd nonsense\n");
    std::fs::write(there.folder.path().join("leftovers"), listed).unwrap();
    run(there.serve("").args(["--grace", "1", "--", "cat"]), &rows()).expect(0);
    let asked = std::fs::read_to_string(there.folder.path().join("asked")).unwrap();
    let removed: Vec<&str> = asked.lines().filter(|line| line.starts_with("rm -f")).collect();
    assert_eq!(removed.len(), 2, "{asked}");
    assert_eq!(removed[0], "rm -f bench-dead");
    there.gone();
}

/// A server of this launcher whose option file is in its command, used by the chained `cat`.
fn elsewhere(launcher: &str, ssh: &str) -> (Vec<serde_json::Value>, Option<i32>, String) {
    let there = Elsewhere::new("elsewhere");
    let plan = zoo_plan("{options: {a: 1}, children: \"plain,group,session,forked,stubborn\"}")
        + "    launcher: "
        + launcher
        + "\n";
    let mut command = there.serve("");
    command.env("FAKE_SSH_MODE", ssh).args(["--grace", "0.3", "--", "cat"]);
    let done = run(&mut command, &candidates(&plan));
    if ssh == "lost" {
        assert!(!there.mark.pids("zoo --model").is_empty(), "without a connection it cannot have been stopped");
    } else {
        there.gone();
    }
    (done.rows(), done.code, done.stderr)
}

#[test]
fn launchers_nest_and_bring_option_files_along() {
    for (launcher, reached_by, file) in [
        ("{name: docker_exec, container: c}", "same_host", "/tmp/bench-zoo"),
        ("{name: ssh, host: h}", "tunnel", "/tmp/bench-zoo"),
        ("[{name: ssh, host: h}, {name: docker_exec, container: c}]", "tunnel", "-2/options.json"),
    ] {
        let (rows, code, stderr) = elsewhere(launcher, "");
        let kinds: Vec<&str> = rows.iter().map(|row| row["record"].as_str().unwrap()).collect();
        assert_eq!(
            (code, &kinds[..]),
            (Some(0), &["server", "server", "server_end"][..]),
            "{launcher}: {stderr} {rows:#?}"
        );
        let server = &rows[0];
        assert_eq!(server["endpoint"]["reached_by"], reached_by);
        // The fixture server says what it read from the file, which the script put there.
        assert!(server["launched_argv"].to_string().contains(file), "{launcher}: {server:#}");
        assert_eq!(server["facts"]["options"], "{\"a\":1}", "{launcher}: {server:#}");
        assert_eq!(rows[2]["stop"]["survivors"], serde_json::json!([]), "{launcher}: {:#}", rows[2]);
    }
}

#[test]
fn a_lost_connection_proves_nothing() {
    let (rows, code, stderr) = elsewhere("{name: ssh, host: h}", "lost");
    let end = rows.last().unwrap();
    assert_eq!((code, &end["failure_class"]), (Some(2), &"remote_unknown".into()), "{stderr} {end:#}");
}

#[test]
fn a_docker_stop_that_hangs_is_not_waited_for() {
    if crate::harness::times(0, 1) == 0 {
        crate::harness::skipped("it takes 15 s: scripts/test --all");
        return;
    }
    let there = Elsewhere::new("docker-hangs");
    let done = run(there.serve("hangs").args(["--grace", "0.2", "--", "true"]), &rows()).expect(0);
    assert_eq!(done.records("server_end")[0]["stop"]["survivors"], serde_json::json!([]));
    there.gone();
}

#[test]
fn a_server_over_several_nodes_is_attached_or_not_tried() {
    let there = Elsewhere::new("nodes");
    let plan = zoo_plan("{}").replace("gpu_count: 1", "gpu_count: 1, multi_node: true");
    let done = run(there.serve("").args(["--", "true"]), &candidates(&plan)).expect(0);
    let end = &done.records("server_end")[0];
    assert_eq!(end["failure_class"], "unsupported", "{end:#}");
    assert!(end["failure_reason"].as_str().unwrap().contains("--attach URL"), "{end:#}");
}

#[test]
fn a_container_that_goes_on_or_cannot_be_asked_halts_everything() {
    for (mode, said) in [("lies", "still runs"), ("mute", "remote_unknown")] {
        let there = Elsewhere::new("docker-lies");
        let rows = rows();
        let mut command = there.serve(mode);
        let done = run(command.args(["--grace", "0.2", "--", "true"]), &format!("{rows}{rows}"));
        let ends = done.records("server_end");
        let survivors = ends[0]["stop"]["survivors"].to_string();
        assert!(survivors.contains(said), "{survivors}");
        assert_eq!((done.code, ends.len()), (Some(2), 1), "{}", done.stderr);
        // What the liar left is ours to clear away.
        for pid in there.mark.pids("zoo") {
            kill(pid, Signal::SIGKILL);
        }
        there.gone();
    }
}

#[test]
fn kill_9_of_bench_serve_stops_the_container() {
    let there = Elsewhere::new("docker-kill9");
    let path = there.folder.path().join("rows");
    std::fs::write(&path, rows()).unwrap();
    let mut command = there.serve("");
    let command = command.arg(&path).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until(Duration::from_secs(10), || there.mark.pids("zoo --model").first().copied())
        .expect("the container runs");
    kill(i32::try_from(child.id()).unwrap(), Signal::SIGKILL);
    assert_eq!(finish(child, SOON).signal, Some(9));
    there.gone();
}

#[test]
fn what_a_launcher_needs_is_asked_for() {
    let folder = scratch();
    let plan = folder.path().join("plan.yaml");
    for (more, said) in [
        ("launcher: docker", "launcher docker requires image: write `image: NAME`"),
        ("launcher: ssh", "launcher ssh requires host: write `launcher: {name: ssh, host: …}`"),
        ("launcher: {name: ssh, host: \"-oProxyCommand=x\"}", "must not start with -"),
        (
            "launcher: dokcer",
            "unknown launcher \"dokcer\"; known: attach, docker, docker_exec, kubectl, kubectl_in_cluster, local, podman, pyxis, srun, ssh",
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
    let there = Elsewhere::new("attach");
    let rows = candidates(&(zoo_plan("{}") + "    search_space: {token_ms: [2]}\n"));
    let mut command = there.serve("");
    let done = run(command.args(["--attach", &server.url, "--", "cat"]), &rows).expect(0);
    let row = &done.records("server")[0];
    assert_eq!(
        (&row["endpoint"]["base_url"], &row["endpoint"]["reached_by"]),
        (&server.url.as_str().into(), &"network".into())
    );
    assert!(row.get("launched_argv").is_none());
    assert_eq!(done.records("server_end")[0]["status"], "ok");
    // Another candidate's flags are not this server's.
    assert_eq!(done.records("candidate")[0]["status"], "skipped");
    there.gone();
    // It answers as before.
    std::net::TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
}
