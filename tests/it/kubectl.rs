//! A pod for each server, driven through a kubectl that is a script, with a cluster that is a folder: no cluster was at hand.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Mark, Output, bash, candidates, finish, fixtures, kill, program, run, scratch, wait_until, zoo_plan,
};

const SOON: Duration = Duration::from_secs(10);

/// A cluster of one node; its containers are no descendants of who asked for them.
struct Cluster {
    folder: tempfile::TempDir,
    mark: Mark,
    node: Child,
}

impl Cluster {
    /// `None`, said aloud, without Python.
    fn start(test: &str, mode: &str) -> Option<Self> {
        if run(&mut bash("command -v python3"), "").code != Some(0) {
            crate::harness::skipped("the stand-in of kubectl needs python3");
            return None;
        }
        let (folder, mark) = (scratch(), Mark::new(test));
        std::fs::write(folder.path().join("mode"), mode).unwrap();
        let mut command = Command::new(fixtures().join("bin/kubectl"));
        let node = mark.put(Self::put(&folder, &mut command)).arg("fake-node").spawn().unwrap();
        let pods = folder.path().join("pods");
        wait_until(SOON, || pods.exists().then_some(())).expect("the node is there");
        Some(Self { folder, mark, node })
    }

    fn put<'a>(folder: &tempfile::TempDir, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = crate::harness::bin_dir();
        let bin = fixtures().join("bin");
        command.env("PATH", format!("{}:{1}:{1}/examples:{path}", bin.display(), programs.display()));
        command.env("FAKE_CLUSTER", folder.path())
    }

    fn serve(&self) -> Command {
        let mut command = program("bench-serve");
        self.mark.put(Self::put(&self.folder, &mut command));
        command.arg("--frameworks").arg(fixtures()).arg("--artifacts").arg(self.folder.path().join("logs"));
        command
    }

    fn pods(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("pods")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("asked")).unwrap()
    }

    /// Panics unless no pod and nothing of a server is left.
    fn is_empty(&self) {
        let left =
            || Some((self.pods(), self.mark.pids("zoo"))).filter(|(pods, pids)| pods.is_empty() && pids.is_empty());
        assert!(wait_until(SOON, left).is_some(), "still there: {:?} {:?}", self.pods(), self.mark.pids("zoo"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for pid in self.mark.pids("") {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.node.wait();
    }
}

fn rows(flags: &str, launcher: &str, more: &str) -> String {
    candidates(&format!("{}    launcher: {launcher}\n    image: the-image\n{more}", zoo_plan(flags)))
}

fn end(done: &Output) -> Value {
    done.records("server_end").into_iter().next().unwrap_or_else(|| panic!("{done:?}"))
}

#[test]
fn a_pod_is_made_leased_and_deleted() {
    let Some(cluster) = Cluster::start("kubectl", "cuts") else { return };
    // Its log goes on after a connection that was cut; its option file is there; its secret is the cluster's.
    let more = "    env: {HF_TOKEN: null, NUMBER: \"8000\"}\n    mounts: [\"/models:/models:ro\", \"weights:/w\"]\n";
    let rows = rows(
        "{options: {a: 1}, says: \"KV cache: 1,024 tokens\"}",
        "{name: kubectl, keys_from: tokens, options: \"-n bench\"}",
        more,
    );
    let done = run(
        cluster.serve().env("HF_TOKEN", "hf_of_this_host").args(["--grace", "2", "--", "bash", "-c", "sleep 3; cat"]),
        &rows,
    )
    .expect(0);
    let server = &done.records("server")[0];
    let endpoint = &server["endpoint"];
    assert_eq!(endpoint["reached_by"], "tunnel");
    assert!(endpoint["base_url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{endpoint}");
    assert_eq!(
        (&server["environment"]["pod_node"], &server["environment"]["image_digest"]),
        (&"node-1".into(), &format!("sha256:{}", "a".repeat(64)).into())
    );
    assert_eq!(
        (&server["facts"]["options"], &server["facts"]["kv_cache_tokens"]),
        (&"{\"a\":1}".into(), &json!(1024.0)),
        "{server:#}"
    );
    let end = end(&done);
    assert_eq!((&end["status"], &end["stop"]["survivors"]), (&"ok".into(), &json!([])), "{end:#}");
    cluster.is_empty();
    assert!(cluster.asked().lines().all(|line| line.contains("-n bench ")), "{}", cluster.asked());
    assert!(cluster.asked().contains("--since=2s"), "the log was asked for again: {}", cluster.asked());
    // The pod as it was made.
    let log = std::path::PathBuf::from(server["artifacts"]["server_log"].as_str().unwrap());
    let text = std::fs::read_to_string(log.with_file_name("pod.json")).unwrap();
    assert!(!text.contains("hf_of_this_host"));
    let pod: Value = serde_json::from_str(&text).unwrap();
    let container = &pod["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["resources"]["limits"]),
        (&"the-image".into(), &json!({"nvidia.com/gpu": 1}))
    );
    assert_eq!(
        container["env"],
        json!([{"name": "NUMBER", "value": "8000"},
               {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "HF_TOKEN"}}}])
    );
    assert_eq!(
        container["volumeMounts"],
        json!([{"name": "shm", "mountPath": "/dev/shm"}, {"name": "folder-0", "mountPath": "/models", "readOnly": true},
               {"name": "claim-0", "mountPath": "/w", "readOnly": false}])
    );
    assert_eq!(
        pod["spec"]["volumes"][2],
        json!({"name": "claim-0", "persistentVolumeClaim": {"claimName": "weights"}})
    );
    // Against the schemas that the API publishes, where a program that ships them is installed.
    let check = format!(
        "command -v kubernetes-validate > /dev/null || exit 42; kubernetes-validate --strict -k 1.33 {}",
        log.with_file_name("pod.json").display()
    );
    match run(&mut bash(&check), "") {
        Output { code: Some(42), .. } => crate::harness::skipped("kubernetes-validate is not installed"),
        done => drop(done.expect(0)),
    }
}

#[test]
fn in_the_cluster_s_network_clients_use_the_pod_s_address() {
    let Some(cluster) = Cluster::start("kubectl-in", "") else { return };
    let rows = rows("{}", "kubectl_in_cluster", "");
    assert!(rows.contains("\"--host\",\"0.0.0.0\""), "{rows}");
    let done = run(cluster.serve().args(["--grace", "2", "--", "cat"]), &rows).expect(0);
    let server = &done.records("server")[0];
    let port = server["launched_argv"].to_string().contains("follow.sh");
    assert!(port && server["endpoint"]["reached_by"] == "network", "{server:#}");
    assert_eq!(end(&done)["status"], "ok");
    assert!(!cluster.asked().contains("port-forward"), "{}", cluster.asked());
    cluster.is_empty();
}

#[test]
fn why_a_pod_does_not_serve_is_said() {
    for (mode, flags, said) in [
        ("no-image", "{}", "ImagePullBackOff"),
        ("", "{exits: 3, says: \"KeyError: rope\"}", "KeyError: rope"),
        ("no-node", "{}", "3 Insufficient nvidia.com/gpu"),
    ] {
        let Some(cluster) = Cluster::start("kubectl-why", mode) else { return };
        let done = run(
            cluster.serve().args(["--ready-timeout", "4", "--grace", "1", "--", "true"]),
            &rows(flags, "kubectl", ""),
        )
        .expect(0);
        let end = end(&done);
        let log = std::fs::read_to_string(end["artifacts"]["server_log"].as_str().unwrap()).unwrap();
        assert!(
            end["failure_reason"].as_str().unwrap().contains(said) || mode == "no-node" && log.contains(said),
            "{end:#} {log}"
        );
        assert_eq!(end["stop"]["survivors"], json!([]), "{end:#}");
        cluster.is_empty();
    }
}

#[test]
fn no_pod_outlives_ctrl_c_or_kill_9() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        // It ignores SIGTERM.
        let Some(cluster) = Cluster::start("kubectl-kill", "") else { return };
        let path = cluster.folder.path().join("rows");
        std::fs::write(&path, rows("{ignores_term: true}", "kubectl", "")).unwrap();
        let mut command = cluster.serve();
        command.args(["--grace", "1"]).arg(&path).args(["--", "sleep", "60"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until(SOON, || cluster.mark.pids("zoo --model").first().copied()).expect("the pod runs");
        kill(i32::try_from(child.id()).unwrap(), signal);
        assert_eq!(finish(child, Duration::from_secs(30)).signal, Some(signal as i32));
        cluster.is_empty();
    }
}

#[test]
fn a_pod_that_goes_on_or_cannot_be_asked_halts_everything() {
    for (mode, said) in [("lies", "still runs"), ("mute", "remote_unknown")] {
        let Some(cluster) = Cluster::start("kubectl-lies", "") else { return };
        let rows = rows("{}", "kubectl", "");
        let chain = format!("printf {mode} > {}; cat > /dev/null", cluster.folder.path().join("mode").display());
        let mut command = cluster.serve();
        let done = run(command.args(["--grace", "1", "--", "bash", "-c", &chain]), &format!("{rows}{rows}"));
        let ends = done.records("server_end");
        let survivors = ends[0]["stop"]["survivors"].to_string();
        assert!(survivors.contains(said), "{survivors}");
        assert_eq!((done.code, ends.len()), (Some(2), 1), "{}", done.stderr);
    }
}

#[test]
fn pods_of_a_dead_owner_are_removed_before_a_start() {
    let Some(cluster) = Cluster::start("kubectl-leftovers", "") else { return };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string();
    for (name, owner) in
        [("bench-dead", format!("{host}:{}:1", std::process::id())), ("bench-else", "other:1:1".into())]
    {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "serving-bench"}, "annotations": {"bench-owner": owner}},
            "spec": {"containers": [{"name": "server", "command": ["sleep", "1000"], "env": []}]}, "status": {"phase": "Pending"},
        });
        let folder = cluster.folder.path().join("pods").join(format!("{name}.part"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("pod.json"), pod.to_string()).unwrap();
        std::fs::write(folder.join("log"), "").unwrap();
        std::fs::rename(&folder, folder.with_file_name(name)).unwrap();
    }
    run(cluster.serve().args(["--grace", "1", "--", "cat"]), &rows("{}", "kubectl", "")).expect(0);
    let left = || (cluster.pods() == ["bench-else"]).then_some(());
    assert!(wait_until(SOON, left).is_some(), "{:?}", cluster.pods());
}
