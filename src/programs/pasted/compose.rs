//! Services of Docker Compose, each as a `docker run`.

use serde_json::Value;

use super::run_line::{ManifestContainer, RunLine, each};
use crate::base::shell;
use crate::plan::shape::plain_text;

/// Keys of a service that bench-serve itself takes care of.
const UNUSED: [&str; 17] = [
    "image",
    "command",
    "entrypoint",
    "container_name",
    "hostname",
    "restart",
    "depends_on",
    "healthcheck",
    "logging",
    "labels",
    "networks",
    "expose",
    "stdin_open",
    "tty",
    "init",
    "pull_policy",
    "profiles",
];
/// Keys of a service with one value, and the option of `docker run` for it.
const OPTIONS: [(&str, &str); 9] = [
    ("ipc", "--ipc"),
    ("shm_size", "--shm-size"),
    ("network_mode", "--network"),
    ("runtime", "--runtime"),
    ("user", "--user"),
    ("working_dir", "--workdir"),
    ("pid", "--pid"),
    ("mem_limit", "--memory"),
    ("platform", "--platform"),
];
/// Keys of a service with a list, and the option of `docker run` for each item.
const LISTS: [(&str, &str); 7] = [
    ("ports", "--publish"),
    ("devices", "--device"),
    ("security_opt", "--security-opt"),
    ("cap_add", "--cap-add"),
    ("group_add", "--group-add"),
    ("extra_hosts", "--add-host"),
    ("env_file", "--env-file"),
];

/// The container of a service.
pub(super) fn of_service(service: &Value) -> ManifestContainer {
    let mut line = RunLine::default();
    let mut unknown = Vec::new();
    for (key, value) in service.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        if let Some((_, option)) = OPTIONS.iter().find(|(known, _)| known == key) {
            match scalar(value) {
                Some(text) => line.option(option, text),
                None => unknown.push(key.clone()),
            }
        } else if let Some((_, option)) = LISTS.iter().find(|(known, _)| known == key) {
            match items(key, value) {
                Some(items) => items.into_iter().for_each(|item| line.option(option, item)),
                None => unknown.push(key.clone()),
            }
        } else {
            match key.as_str() {
                "environment" => environment(value, &mut line),
                "volumes" => each(value).into_iter().for_each(|item| volume(item, &mut line)),
                "ulimits" => ulimits(value, &mut line),
                "privileged" if *value == true => line.words.push("--privileged".into()),
                "gpus" if value.is_array() => each(value).into_iter().for_each(|device| gpus(device, &mut line)),
                "gpus" => line.option("--gpus", plain(value)),
                "deploy" => {
                    let devices = &value["resources"]["reservations"]["devices"];
                    devices.as_array().into_iter().flatten().for_each(|device| gpus(device, &mut line));
                }
                known if UNUSED.contains(&known) || *value == false => {}
                other => unknown.push(other.to_string()),
            }
        }
    }
    if !unknown.is_empty() {
        line.notes.push(format!("ignoring {} of the service: write what the server needs of it", unknown.join(", ")));
    }
    line.finish(&plain(&service["image"]), words(&service["entrypoint"]), words(&service["command"]))
}

/// A text, with `$` for the `$$` of Compose.
fn plain(value: &Value) -> String {
    plain_text(value).replace("$$", "$")
}

/// The words of a command: a list, or a line.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(plain).collect(),
        line => shell::split(&plain(line)).unwrap_or_else(|_| vec![plain(line)]),
    }
}

/// A text, a number or a word; `None` for a map, a list or nothing.
fn scalar(value: &Value) -> Option<String> {
    (!value.is_object() && !value.is_array() && !value.is_null()).then(|| plain(value))
}

/// The items of a key, in the short or the long form of Compose, as `docker run` takes them; `None` for another form.
fn items(key: &str, value: &Value) -> Option<Vec<String>> {
    if let ("extra_hosts", Value::Object(hosts)) = (key, value) {
        let addresses = |(host, all): (&String, &Value)| {
            each(all).into_iter().map(|address| Some(format!("{host}:{}", scalar(address)?))).collect::<Vec<_>>()
        };
        return hosts.iter().flat_map(addresses).collect();
    }
    each(value).into_iter().map(|item| if item.is_object() { long_item(key, item) } else { scalar(item) }).collect()
}

/// An item that is a map.
fn long_item(key: &str, item: &Value) -> Option<String> {
    let part = |name: &str| item.get(name).and_then(scalar);
    let joined = |names: &[&str]| names.iter().filter_map(|name| part(name)).collect::<Vec<_>>().join(":");
    match key {
        "ports" => {
            let protocol = part("protocol").filter(|protocol| protocol != "tcp");
            let protocol = protocol.map_or(String::new(), |protocol| format!("/{protocol}"));
            part("target").map(|_| joined(&["host_ip", "published", "target"]) + &protocol)
        }
        "devices" => {
            // Without a place in the container, a device has its own path there.
            let target = part("target").or_else(|| part("permissions").and(part("source")));
            let parts = [part("source"), target, part("permissions")].into_iter().flatten();
            part("source").map(|_| parts.collect::<Vec<_>>().join(":"))
        }
        "env_file" => part("path"),
        _ => None,
    }
}

fn environment(value: &Value, line: &mut RunLine) {
    for (name, value) in value.as_object().into_iter().flatten() {
        line.option("--env", if value.is_null() { name.clone() } else { format!("{name}={}", plain(value)) });
    }
    for item in value.as_array().into_iter().flatten() {
        line.option("--env", plain(item));
    }
}

fn volume(item: &Value, line: &mut RunLine) {
    let mount = match (item["type"].as_str(), item["source"].as_str(), item["target"].as_str()) {
        (Some("tmpfs"), ..) => return,
        (_, Some(source), Some(target)) => {
            format!("{source}:{target}{}", if item["read_only"] == true { ":ro" } else { "" })
        }
        (_, None, Some(target)) => target.to_string(),
        _ => plain(item),
    };
    // A path in a Compose file is one of its folder.
    line.option("--volume", mount.strip_prefix("./").map_or(mount.clone(), |rest| format!("$PWD/{rest}")));
}

fn ulimits(value: &Value, line: &mut RunLine) {
    for (name, limit) in value.as_object().into_iter().flatten() {
        let text = match (limit.get("soft"), limit.get("hard")) {
            (Some(soft), Some(hard)) if soft != hard => format!("{}:{}", plain(soft), plain(hard)),
            (Some(soft), _) => plain(soft),
            _ => plain(limit),
        };
        line.option("--ulimit", format!("{name}={text}"));
    }
}

/// An item of `gpus`, or of `deploy.resources.reservations.devices`.
fn gpus(device: &Value, line: &mut RunLine) {
    match (&device["device_ids"], &device["count"]) {
        (Value::Array(ids), _) => {
            let ids: Vec<String> = ids.iter().map(plain).collect();
            line.option("--gpus", format!("device={}", ids.join(",")));
        }
        (_, Value::Null) => line.option("--gpus", "all"),
        // Compose says -1 for all of them.
        (_, count) if count.as_i64() == Some(-1) => line.option("--gpus", "all"),
        (_, count) => line.option("--gpus", plain(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::containers;

    #[test]
    fn a_service_of_compose() {
        let text = "services:\n  redis: {image: 'redis:7'}\n  llm:\n    image: vllm/vllm-openai:v0.30.0\n    ipc: host\n    \
                    ports: ['8000:8000', {target: 80, published: 81}]\n    environment: {HF_TOKEN: null, A: 1}\n    volumes: ['./m:/m', \
                    {type: bind, source: /d, target: /e, read_only: true}]\n    ulimits: {memlock: -1, stack: {soft: 5, hard: 5}}\n    \
                    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 2, capabilities: [gpu]}]}}}\n    \
                    command: >\n      --model m/x\n      -tp 2\n    secrets: [x]\n";
        let all = containers(text).unwrap().unwrap();
        assert_eq!(all[0].line, "docker run redis:7");
        assert_eq!(
            all[1].line,
            "docker run --ipc host --publish 8000:8000 --publish 81:80 --env HF_TOKEN --env A=1 --volume '$PWD/m:/m' --volume /d:/e:ro \
             --ulimit memlock=-1 --ulimit stack=5 --gpus 2 vllm/vllm-openai:v0.30.0 --model m/x -tp 2"
        );
        assert_eq!(all[1].notes, ["ignoring secrets of the service: write what the server needs of it"]);
    }

    #[test]
    fn the_long_forms_of_compose() {
        let service = |keys: &str| {
            let all = containers(&format!("services:\n  llm:\n    image: i\n{keys}")).unwrap().unwrap();
            (all[0].line.clone(), all[0].notes.clone())
        };
        for (keys, options) in [
            ("    env_file: [{path: ./a.env, required: false}, b.env]\n", "--env-file ./a.env --env-file b.env"),
            ("    env_file: one.env\n", "--env-file one.env"),
            (
                "    extra_hosts: {a: 10.0.0.1, b: [10.0.0.2, '::1']}\n",
                "--add-host a:10.0.0.1 --add-host b:10.0.0.2 --add-host b:::1",
            ),
            (
                "    devices: [{source: /dev/kfd}, {source: /dev/dri, target: /dev/dri, permissions: rw}]\n",
                "--device /dev/kfd --device /dev/dri:/dev/dri:rw",
            ),
            ("    devices: [{source: /dev/kfd, permissions: r}]\n", "--device /dev/kfd:/dev/kfd:r"),
            (
                "    ports: [{target: 80, published: '81', host_ip: 127.0.0.1}, {target: 9}]\n",
                "--publish 127.0.0.1:81:80 --publish 9",
            ),
            ("    gpus: [{driver: nvidia, count: 2}]\n", "--gpus 2"),
            ("    gpus: [{device_ids: ['0', '3']}]\n", "--gpus device=0,3"),
            ("    gpus: [{driver: nvidia, count: -1}]\n", "--gpus all"),
            ("    volumes: [{type: volume, target: /c}]\n", "--volume /c"),
        ] {
            assert_eq!(service(keys), (format!("docker run {options} i"), Vec::new()), "{keys}");
        }
        let (line, notes) = service("    cap_add: [{a: b}]\n    user: [x]\n");
        assert_eq!(line, "docker run i");
        assert_eq!(notes, ["ignoring cap_add, user of the service: write what the server needs of it"]);
    }
}
