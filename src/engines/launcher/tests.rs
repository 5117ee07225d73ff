//! The shipped launchers, filled in.

use super::*;
use crate::base::shell;
use crate::rows::kinds::{CandidateServer, LauncherStep};
use serde_json::json;

fn chain(launchers: &Launchers, steps: serde_json::Value) -> crate::base::error::Result<LauncherChain<'_>> {
    let server: CandidateServer = serde_json::from_value(json!({
        "definition": "vllm", "argv": ["vllm", "serve", "my model"], "launcher": steps, "flags": {}, "image": "vllm/vllm:1",
        "env": {"HF_TOKEN": null, "A": "b c"}, "mounts": ["/models:/models:ro"], "files": {"o.yaml": "a: 'b'"},
    }))
    .unwrap();
    let start = StartValues {
        name: "v-1",
        port: 8123,
        tunnel_port: 8124,
        files: "/logs/v-1",
        gpus: Some("0,1"),
        gpu_count: Some(2),
        leader_port: 8125,
        cpus: Some("2-7"),
        owner: "here:1:2",
        refused_limits: &[],
    };
    let argv: Vec<String> = ["vllm", "serve", "my model", "{files}/o.yaml"].map(String::from).into();
    LauncherChain::new(launchers, &server, &argv, &start)
}

#[test]
fn shipped_launchers_are_current() {
    crate::engines::framework::shipped::is_current("configs/launchers", Launcher::check);
}

#[test]
fn a_container_of_its_own() {
    let launchers = Launchers::load(&[]).unwrap();
    let docker = chain(&launchers, json!([{"name": "docker", "options": {"options": "--shm-size 16g"}}])).unwrap();
    let start = shell::join(&docker.start);
    for part in [
        "--name bench-v-1",
        "--cidfile /logs/v-1/cid",
        "--shm-size 16g",
        "-e 'A=b c' -e HF_TOKEN",
        "-v /models:/models:ro -v /logs/v-1:/logs/v-1:ro",
        "--gpus '\"device=0,1\"'",
        "--cpuset-cpus 2-7",
        "vllm/vllm:1 vllm serve 'my model' /logs/v-1/o.yaml",
    ] {
        assert!(start.contains(part), "{part}: {start}");
    }
    let outside = &docker.outside().unwrap()[0];
    assert_eq!(outside.stop[0].join(" "), "docker stop -t {grace_s} bench-v-1");
    assert_eq!(outside.inspect[3], "{{.State.Running}}");
    assert_eq!(docker.reached_by(), ReachedBy::SameHost);
    assert_eq!(launchers.get("docker").unwrap().missing(|need| need == "image"), Vec::<&str>::new());
}

#[test]
fn settings_are_what_its_commands_name() {
    let launchers = Launchers::load(&[]).unwrap();
    let settings = |name: &str| launchers.get(name).unwrap().settings().into_iter().collect::<Vec<_>>();
    assert_eq!(settings("docker"), ["image", "mounts", "options"]);
    assert_eq!(settings("podman"), ["image", "mounts", "options"]);
    assert_eq!(settings("srun"), ["mpi", "nodes", "options", "ranks", "wrapper"]);
    assert_eq!(settings("pyxis"), ["image", "mounts", "mpi", "nodes", "options", "ranks", "wrapper"]);
    assert_eq!(settings("ssh"), ["host", "options"]);
    assert_eq!(settings("docker_exec"), ["container"]);
    assert_eq!(settings("attach"), ["url"]);
    assert_eq!(settings("kubectl"), ["image", "keys_from", "mounts", "options", "service_account"]);
    assert!(settings("local").is_empty());
}

#[test]
fn words_of_its_own_yield_to_options_of_the_plan() {
    let launchers = Launchers::load(&[]).unwrap();
    let start = |options: &str| {
        let step = json!([{"name": "podman", "options": {"options": options}}]);
        chain(&launchers, step).unwrap().start.join(" ")
    };
    let plain = start("");
    assert!(plain.contains("--ipc host --ulimit host --cpuset-cpus 2-7 --device nvidia.com/gpu=0"), "{plain}");
    for options in ["--shm-size 16g", "--shm-size=16g", "--ipc private"] {
        let start = start(options);
        assert!(!start.contains("--ipc host") && start.contains(options), "{start}");
    }
    let limited = start("--ulimit memlock=-1 --ulimit stack=67108864");
    assert!(!limited.contains("--ulimit host") && limited.contains("--ipc host"), "{limited}");
    let own = start("--cpuset-cpus 0-3");
    assert!(own.contains("--cpuset-cpus 0-3") && !own.contains("2-7"), "{own}");
    // A short command too.
    let step = json!([{"name": "docker", "options": {"options": "--gpus all"}}]);
    let short = chain(&launchers, step).unwrap().before(&["true".into()]).unwrap().unwrap().join(" ");
    assert!(short.contains("--gpus all") && !short.contains("device="), "{short}");
}

#[test]
fn what_podman_refuses_and_what_a_host_forbids_is_left_out() {
    let launchers = Launchers::load(&[]).unwrap();
    let podman = launchers.get("podman").unwrap();
    assert_eq!(podman.with_defaults("--entrypoint '' --shm-size 16g", "-v a:b"), "--entrypoint '' -v a:b");
    assert_eq!(podman.with_defaults("--entrypoint ''", "--entrypoint=/x"), "--entrypoint=/x");
    for options in ["--ipc=host --shm-size 32g --rm", "--shm-size=32g --ipc host --rm"] {
        let step = json!([{"name": "podman", "options": {"options": options}}]);
        let start = chain(&launchers, step).unwrap().start.join(" ");
        assert!(!start.contains("shm-size") && start.contains("--rm") && start.contains("--ipc"), "{start}");
    }
    let server: CandidateServer = serde_json::from_value(json!({
        "definition": "vllm", "argv": ["vllm"], "launcher": [{"name": "docker"}], "flags": {}, "image": "i",
    }))
    .unwrap();
    for (refused, said) in [
        (&[][..], "--ulimit memlock=-1 --ulimit stack=67108864"),
        (&[ResourceLimit::Memlock], "--ipc host --ulimit stack=67108864 --rm i"),
        (&[ResourceLimit::Memlock, ResourceLimit::Stack], "--ipc host --rm i"),
    ] {
        let target = LaunchTarget { name: "n", port: "1", gpus: None, refused_limits: refused };
        let line = launch_command(&launchers, &server, &target).unwrap().unwrap();
        assert!(line.contains(said), "{line}");
    }
    let docker = launchers.get("docker").unwrap();
    assert_eq!(docker.options_by_hand(&["--gpus".into(), "all".into()]), ["--rm"]);
    for options in ["--rm", "--restart=always", "--restart unless-stopped"] {
        assert!(docker.options_by_hand(&shell::split(options).unwrap()).is_empty(), "{options}");
    }
}

#[test]
fn the_command_to_deploy_brings_everything_along() {
    let launchers = Launchers::load(&[]).unwrap();
    let line = |steps: serde_json::Value| {
        let server: CandidateServer = serde_json::from_value(json!({
            "definition": "vllm", "launcher": steps, "flags": {}, "image": "img:1", "env": {"HF_TOKEN": null, "A": "b c"},
            "argv": ["vllm", "serve", "my model", "--c", "{files}/o.yaml", "--key", "${KEY}", "--port", "{port}"],
            "mounts": ["/models:/models:ro"], "files": {"o.yaml": "a: \"b\""},
        }))
        .unwrap();
        let target = LaunchTarget { name: "v-1", port: "8000", gpus: Some("0,1"), refused_limits: &[] };
        launch_command(&launchers, &server, &target).unwrap()
    };
    assert_eq!(line(json!([{"name": "local"}])), None);
    assert_eq!(line(json!([{"name": "attach", "options": {"url": "http://h:1"}}])), None);
    assert_eq!(
        line(json!([{"name": "podman", "options": {"options": "--rm"}}])).unwrap(),
        "printf %s 'a: \"b\"' > o.yaml && podman run --init --network host --ipc host --ulimit host \
         --device nvidia.com/gpu=0 --device nvidia.com/gpu=1 -e 'A=b c' -e HF_TOKEN -v /models:/models:ro \
         -v \"${PWD}/o.yaml:/o.yaml:ro\" --rm img:1 vllm serve 'my model' --c /o.yaml --key \"${KEY}\" --port 8000"
    );
    assert_eq!(
        line(json!([{"name": "pyxis", "options": {"options": "-p gpu"}}])).unwrap(),
        "printf %s 'a: \"b\"' > o.yaml && A='b c' srun --ntasks=1 --unbuffered --container-image=img:1 \
         --container-mounts=/models:/models:ro \"--container-mounts=${PWD}/o.yaml:/o.yaml:ro\" -p gpu vllm serve 'my model' \
         --c /o.yaml --key \"${KEY}\" --port 8000"
    );
    assert_eq!(
        line(json!([{"name": "srun", "options": {"options": "-p gpu"}}])).unwrap(),
        "printf %s 'a: \"b\"' > o.yaml && A='b c' srun --ntasks=1 --unbuffered -p gpu vllm serve 'my model' --c o.yaml \
         --key \"${KEY}\" --port 8000"
    );
    let exec = json!({"name": "docker_exec", "options": {"container": "c"}});
    let nested = line(json!([{"name": "ssh", "options": {"host": "gpu1"}}, exec])).unwrap();
    let (write, start) = nested.split_once(" && ").unwrap();
    let last = |line: &str| shell::split(shell::split(line).unwrap().last().unwrap()).unwrap();
    let script = last(write).pop().unwrap();
    let file = "/tmp/bench-v-1-2/o.yaml";
    assert_eq!(script, format!("umask 077; mkdir -p /tmp/bench-v-1-2; printf %s 'a: \"b\"' > {file}"));
    let start = last(start);
    assert_eq!(start[..4], ["exec", "env", "A=b c", "docker"]);
    assert!(start.windows(2).any(|pair| pair == ["--c", file]), "{start:?}");
}

#[test]
fn ranks_are_tasks_of_a_job_step() {
    let launchers = Launchers::load(&[]).unwrap();
    let start = |options: serde_json::Value| {
        let step = json!([{"name": "srun", "options": options}]);
        chain(&launchers, step).unwrap().start.join(" ")
    };
    let one = start(json!({"options": "-p gpu"}));
    assert!(one.contains("--ntasks=1 --unbuffered -p gpu vllm serve"), "{one}");
    let ranks = json!({"ranks": "8", "mpi": "pmix", "wrapper": "trtllm-llmapi-launch", "options": "-p gpu"});
    let several = start(ranks.clone());
    let words = "--ntasks=8 --mpi=pmix --unbuffered -p gpu trtllm-llmapi-launch vllm serve";
    assert!(several.contains(words), "{several}");
    let mut own = ranks;
    own["options"] = "--ntasks=4 --mpi=pmi2".into();
    let own = start(own);
    assert!(!own.contains("--ntasks=8") && !own.contains("--mpi=pmix"), "{own}");
}

#[test]
fn a_server_over_several_nodes_is_told_its_ranks() {
    let launchers = Launchers::load(&[]).unwrap();
    let server: CandidateServer = serde_json::from_value(json!({
        "definition": "vllm", "launcher": [{"name": "srun", "options": {"nodes": "2", "options": "-p gpu"}}], "flags": {},
        "argv": ["vllm", "serve", "m", "--nnodes", "{nodes}", "--node-rank", "{rank}", "--master-addr", "{leader}", "--master-port",
                 "{leader_port}", "--api-key", "${KEY}"],
        "followers": ["--headless"],
    }))
    .unwrap();
    let start = StartValues { name: "v-1", port: 8123, leader_port: 8125, ..StartValues::default() };
    let chain = LauncherChain::new(&launchers, &server, &server.argv, &start).unwrap();
    let (head, script) = chain.start.split_at(chain.start.len() - 1);
    assert_eq!(
        head.join(" "),
        "srun --job-name=bench-v-1 --ntasks=2 --nodes=2 --label --kill-on-bad-exit=0 --wait=2 --unbuffered -p gpu sh -c"
    );
    let end = "set --; [ \"$rank\" = 0 ] || set -- --headless; exec vllm serve m --nnodes 2 --node-rank \"$rank\" --master-addr \
               \"$leader\" --master-port 8125 --api-key '${KEY}' \"$@\"";
    assert!(script[0].ends_with(end) && script[0].starts_with("rank=$SLURM_PROCID leader="), "{script:?}");
    assert!(chain.over_nodes().is_some() && chain.address().unwrap()[2].contains("s/^bench-v-1 *//p"));
    assert_eq!(chain.reached_by(), ReachedBy::Network);
    // By hand the same, but for the name.
    let target = LaunchTarget { name: "v-1", port: "8000", gpus: None, refused_limits: &[] };
    let line = launch_command(&launchers, &server, &target).unwrap().unwrap();
    let words = shell::split(&line).unwrap();
    assert_eq!(words[..3], ["srun", "--ntasks=2", "--nodes=2"]);
    assert!(words.last().unwrap().contains("--master-port 29500"), "{line}");
    // On one node the only rank is the first.
    let alone = CandidateServer { launcher: vec![LauncherStep::plain("srun")], ..server.clone() };
    let chain = LauncherChain::new(&launchers, &alone, &alone.argv, &start).unwrap();
    assert!(
        chain
            .start
            .join(" ")
            .contains("--ntasks=1 --unbuffered vllm serve m --nnodes 1 --node-rank 0 --master-addr 127.0.0.1")
    );
    assert!(chain.over_nodes().is_none() && chain.address().unwrap().is_empty());
    assert_eq!(chain.reached_by(), ReachedBy::SameHost);
    let through = vec![
        LauncherStep { name: "ssh".into(), options: [("host".to_string(), "login".to_string())].into() },
        server.launcher[0].clone(),
    ];
    let chain =
        LauncherChain::new(&launchers, &CandidateServer { launcher: through, ..alone }, &server.argv, &start).unwrap();
    assert!(chain.address().unwrap_err().to_string().contains("run the sweep where srun runs"));
}

#[test]
fn the_first_node_of_a_list_leads() {
    let launchers = Launchers::load(&[]).unwrap();
    let setup = &launchers.get("srun").unwrap().over_nodes.as_ref().unwrap().setup;
    // Without Slurm's own command, as in a container.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/false", folder.path().join("scontrol")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    for (list, leader) in [
        ("n1", "n1"),
        ("n1,n7", "n1"),
        ("n[1-4,7]", "n1"),
        ("gpu-[07,09]", "gpu-07"),
        ("gpu-[007-010]", "gpu-007"),
        ("login,n[1-2]", "login"),
        ("10.0.0.[3-4]", "10.0.0.3"),
    ] {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("{setup}\nprintf '%s %s' \"$rank\" \"$leader\"")]);
        command.env("SLURM_PROCID", "1").env("SLURM_STEP_NODELIST", list).env("PATH", &path);
        let said = command.output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap(), format!("1 {leader}"), "{list}");
    }
}

#[test]
fn a_pod_is_the_same_however_it_is_reached() {
    let launchers = Launchers::load(&[]).unwrap();
    let (near, far) = (launchers.get("kubectl").unwrap(), launchers.get("kubectl_in_cluster").unwrap());
    assert_eq!(near.documents, far.documents);
    assert_eq!(
        (&near.stop, &near.kill, &near.inspect, &near.deploy),
        (&far.stop, &far.kill, &far.inspect, &far.deploy)
    );
    let options = json!([{"name": "kubectl", "options": {"options": "-n x", "keys_from": "tokens"}}]);
    let kubectl = chain(&launchers, options.clone()).unwrap();
    let [_, (_, pod)] = &kubectl.documents().unwrap()[..] else { panic!("two documents") };
    let pod: serde_json::Value = serde_json::from_str(pod).unwrap();
    assert_eq!(pod["metadata"]["name"], "bench-v-1");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], 2);
    let script = container["command"][2].as_str().unwrap();
    assert!(script.contains("> /tmp/bench-v-1/o.yaml; exec vllm serve 'my model' /tmp/bench-v-1/o.yaml"), "{script}");
    assert_eq!(kubectl.reached_by(), ReachedBy::Tunnel);
    assert!(chain(&launchers, json!([{"name": "kubectl"}])).unwrap().documents().is_err(), "HF_TOKEN needs a secret");
    let within = json!([{"name": "ssh", "options": {"host": "h"}}, options[0]]);
    assert!(
        chain(&launchers, within).unwrap().documents().unwrap_err().to_string().contains("cannot be inside another")
    );
    // The command to deploy brings the pod along.
    let server: CandidateServer = serde_json::from_value(json!({
        "definition": "vllm", "launcher": options, "flags": {}, "image": "i", "argv": ["vllm", "--key", "${KEY}"], "env": {"A_B": "x"},
    }))
    .unwrap();
    let target = LaunchTarget { name: "tensorrt_llm-1", port: "8000", gpus: Some("0,1"), refused_limits: &[] };
    let line = launch_command(&launchers, &server, &target).unwrap().unwrap();
    assert!(line.contains(" > pod.json && ") && line.ends_with("kubectl -n x create -f pod.json"), "{line}");
    let mut output = std::process::Command::new("sh");
    output.env("KEY", "k1").args(["-c", &line.replace("kubectl -n", "echo kubectl -n")]);
    let folder = tempfile::tempdir().unwrap();
    assert!(output.current_dir(folder.path()).output().unwrap().status.success());
    let pod: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("pod.json")).unwrap()).unwrap();
    assert_eq!(pod["metadata"]["name"], "bench-tensorrt-llm-1");
    assert!(pod["spec"]["containers"][0]["command"][2].as_str().unwrap().ends_with("exec vllm --key 'k1'"), "{pod:#}");
}

#[test]
fn no_shipped_framework_gives_podman_what_it_refuses() {
    let frameworks = crate::engines::framework::Frameworks::load(&[], &[]).unwrap();
    let launchers = frameworks.launchers();
    for framework in frameworks.iter() {
        for (name, options) in &framework.launcher_options {
            let step = json!([{"name": name, "options": {"options": options}}]);
            let start = chain(launchers, step).unwrap().start;
            let has = |word: &str| start.iter().any(|own| own.starts_with(word));
            let host = start.windows(2).any(|pair| pair == ["--ipc", "host"]);
            assert!(name != "podman" || !(host && has("--shm-size")), "{}: {start:?}", framework.name);
        }
    }
}

#[test]
fn on_another_host_every_word_survives_its_shells() {
    let launchers = Launchers::load(&[]).unwrap();
    assert_eq!(launchers.get("ssh").unwrap().missing(|need| need == "image"), ["host"]);
    let options = json!({"host": "gpu1", "options": "-p 2222 -i 'my key'"});
    let ssh = chain(&launchers, json!([{"name": "ssh", "options": options}])).unwrap();
    assert!(ssh.start.windows(3).any(|w| w == ["-p", "2222", "-i"]), "{:?}", ssh.start);
    let remote = shell::split(ssh.start.last().unwrap()).unwrap();
    assert_eq!(&remote[..3], ["exec", "env", "A=b c"]);
    // The option file's text is one word of the script.
    let script = shell::split(remote.last().unwrap()).unwrap();
    assert!(script.windows(4).any(|w| w == ["%s", "a: 'b'", ">", "/tmp/bench-v-1/o.yaml;"]), "{script:?}");
    assert!(remote.last().unwrap().ends_with("exec vllm serve 'my model' /tmp/bench-v-1/o.yaml"), "{remote:?}");
    let why = chain(&launchers, json!([{"name": "ssh"}])).unwrap_err().to_string();
    assert!(why.contains("requires \"host\""), "{why}");
}

#[test]
fn one_within_another_is_carried_there() {
    let launchers = Launchers::load(&[]).unwrap();
    let inner = json!({"name": "docker_exec", "options": {"container": "c"}});
    let nested = chain(&launchers, json!([{"name": "ssh", "options": {"host": "gpu1"}}, inner])).unwrap();
    let remote = shell::split(nested.start.last().unwrap()).unwrap();
    let script = shell::split(remote.last().unwrap()).unwrap();
    assert!(script.windows(3).any(|w| w == ["exec", "docker", "exec"]), "{script:?}");
    // The innermost is stopped first, through the outer one; then that.
    let outside = nested.outside().unwrap();
    let what: Vec<&str> = outside.iter().map(|o| o.what.as_str()).collect();
    assert_eq!(what, ["docker exec bench-v-1-2", "ssh bench-v-1"]);
    let stop = &outside[0].stop[0];
    assert_eq!((stop[0].as_str(), stop[stop.len() - 2].as_str()), ("ssh", "gpu1"));
    assert_eq!(shell::split(stop.last().unwrap()).unwrap()[..3], ["docker", "exec", "c"]);
    assert_eq!(nested.reached_by(), ReachedBy::Tunnel);
    let within = json!([{"name": "docker"}, {"name": "ssh", "options": {"host": "h"}}]);
    let why = chain(&launchers, within).unwrap_err().to_string();
    assert!(why.contains("Docker cannot contain another launcher"), "{why}");
}

#[test]
fn every_shipped_launcher_renders() {
    let launchers = Launchers::load(&[]).unwrap();
    assert!(launchers.names().count() >= 7);
    for name in launchers.names() {
        let options = json!({"host": "h", "container": "c", "url": "http://h:1"});
        let chain = chain(&launchers, json!([{"name": name, "options": options}])).unwrap();
        assert!(!chain.start.is_empty() && chain.outside().is_ok() && chain.fact_queries().is_ok(), "{name}");
    }
}
