//! Services of Docker Compose and pods of Kubernetes as the lines of a shell: a `docker run` for each container.

use serde_json::{Map, Value};

use crate::base::shell;
use crate::base::yaml;
use crate::plan::shape::plain_text;

/// A container of a manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ManifestContainer {
    /// The `docker run` that starts the same.
    pub line: String,
    /// What of it a plan cannot have, as sentences.
    pub notes: Vec<String>,
}

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

/// The containers of a manifest; `None` for another text.
///
/// # Errors
/// A text that is a manifest by its keys, and is not valid YAML.
pub fn containers(text: &str) -> Result<Option<Vec<ManifestContainer>>, String> {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    let is_manifest = has("services:") || (has("kind:") && has("apiVersion:"));
    if !is_manifest {
        return Ok(None);
    }
    let mut all = Vec::new();
    let documents: Vec<String> =
        text.split("\n---").map(|one| format!("{}\n", one.trim_start_matches("---"))).collect();
    for document in documents.iter().filter(|one| !one.trim().is_empty()) {
        let value = yaml::load(document, "the manifest").map_err(|e| e.to_string())?.value;
        for service in value["services"].as_object().into_iter().flatten().map(|(_, service)| service) {
            all.extend(service.is_object().then(|| of_service(service)));
        }
        pods(&value, &mut all);
    }
    Ok(Some(all))
}

/// One container on the way to its line.
#[derive(Default)]
struct RunLine {
    words: Vec<String>,
    notes: Vec<String>,
}

impl RunLine {
    fn option(&mut self, option: &str, value: impl Into<String>) {
        self.words.extend([option.to_string(), value.into()]);
    }

    /// `entry` in place of the image's entry point, and `arguments` for it.
    fn finish(mut self, image: &str, entry: Vec<String>, arguments: Vec<String>) -> ManifestContainer {
        let mut entry = entry.into_iter();
        if let Some(first) = entry.next() {
            self.option("--entrypoint", first);
        }
        let words = ["docker".to_string(), "run".to_string()].into_iter().chain(self.words);
        let words: Vec<String> = words.chain([image.to_string()]).chain(entry).chain(arguments).collect();
        ManifestContainer { line: shell::join(&words), notes: self.notes }
    }
}

fn of_service(service: &Value) -> ManifestContainer {
    let mut line = RunLine::default();
    let mut unknown = Vec::new();
    for (key, value) in service.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        if let Some((_, option)) = OPTIONS.iter().find(|(known, _)| known == key) {
            line.option(option, plain(value));
        } else if let Some((_, option)) = LISTS.iter().find(|(known, _)| known == key) {
            each(value).into_iter().for_each(|item| line.option(option, port(item)));
        } else {
            match key.as_str() {
                "environment" => environment(value, &mut line),
                "volumes" => each(value).into_iter().for_each(|item| volume(item, &mut line)),
                "ulimits" => ulimits(value, &mut line),
                "privileged" if *value == true => line.words.push("--privileged".into()),
                "gpus" => line.option("--gpus", plain(value)),
                "deploy" => devices(value, &mut line),
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

fn each(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

/// A port, a device or another item: text, or a map with `published` and `target`.
fn port(item: &Value) -> String {
    let parts: Vec<String> = ["published", "target"].iter().filter_map(|key| item.get(key)).map(plain).collect();
    if item.is_object() { parts.join(":") } else { plain(item) }
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

/// The GPUs of `deploy.resources.reservations.devices`.
fn devices(deploy: &Value, line: &mut RunLine) {
    for device in deploy["resources"]["reservations"]["devices"].as_array().into_iter().flatten() {
        match (&device["device_ids"], &device["count"]) {
            (Value::Array(ids), _) => {
                let ids: Vec<String> = ids.iter().map(plain).collect();
                line.option("--gpus", format!("device={}", ids.join(",")));
            }
            (_, Value::Null) => line.option("--gpus", "all"),
            (_, count) => line.option("--gpus", plain(count)),
        }
    }
}

/// The containers of every pod in a resource of Kubernetes, however deep it is.
fn pods(value: &Value, all: &mut Vec<ManifestContainer>) {
    match value {
        Value::Object(members) if members.get("containers").is_some_and(Value::is_array) => {
            for container in each(&members["containers"]) {
                all.extend(container["image"].is_string().then(|| of_pod(container, members)));
            }
        }
        Value::Object(members) => members.values().for_each(|inner| pods(inner, all)),
        Value::Array(items) => items.iter().for_each(|inner| pods(inner, all)),
        _ => {}
    }
}

fn of_pod(container: &Value, pod: &Map<String, Value>) -> ManifestContainer {
    let mut line = RunLine::default();
    line.notes.push(
        "the plan starts the container of this pod with docker on this host; elsewhere change launcher, or leave launcher and \
         image out and run the programs in the pod"
            .into(),
    );
    let mut values: Vec<(String, String)> = Vec::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = plain_text(&variable["name"]);
        if variable["value"].is_null() {
            // From a secret or a field of the pod: the plan inherits it.
            line.option("--env", name.clone());
            values.push((name.clone(), format!("${{{name}}}")));
        } else {
            let value = plain_text(&variable["value"]);
            line.option("--env", format!("{name}={value}"));
            values.push((name, value));
        }
    }
    if !container["envFrom"].is_null() {
        line.notes.push("ignoring envFrom: write the variables that the server needs into env".into());
    }
    let resources = ["limits", "requests"].map(|part| &container["resources"][part]);
    let count = |name: &str| resources.iter().find_map(|part| part.get(name)).map(plain_text);
    if let Some(gpus) = count("nvidia.com/gpu") {
        line.option("--gpus", gpus);
    } else if count("amd.com/gpu").is_some() {
        line.option("--device", "/dev/kfd");
        line.option("--device", "/dev/dri");
    }
    if !container["workingDir"].is_null() {
        line.option("--workdir", plain_text(&container["workingDir"]));
    }
    if container["securityContext"]["privileged"] == true {
        line.words.push("--privileged".into());
    }
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let path = plain_text(&mount["mountPath"]);
        let volumes = pod.get("volumes").and_then(Value::as_array);
        let volume = volumes.into_iter().flatten().find(|volume| volume["name"] == mount["name"]);
        match volume.and_then(|volume| volume["hostPath"]["path"].as_str()) {
            Some(host) => {
                let only = if mount["readOnly"] == true { ":ro" } else { "" };
                line.option("--volume", format!("{host}:{path}{only}"));
            }
            // The launcher shares the memory of its host.
            None if path == "/dev/shm" => {}
            None => line.notes.push(format!(
                "the volume {} at {path} is not on this host: mount a folder there",
                plain_text(&mount["name"])
            )),
        }
    }
    let with_values = |value: &Value| -> Vec<String> {
        let fill =
            |word: String| values.iter().fold(word, |word, (name, value)| word.replace(&format!("$({name})"), value));
        value.as_array().into_iter().flatten().map(plain_text).map(fill).collect()
    };
    line.finish(&plain_text(&container["image"]), with_values(&container["command"]), with_values(&container["args"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        containers(text).unwrap().unwrap().into_iter().map(|one| one.line).collect()
    }

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
    fn a_pod_of_kubernetes() {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n---\napiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    \
                    spec:\n      volumes: [{name: m, hostPath: {path: /models}}, {name: shm, emptyDir: {medium: Memory}}, {name: c, \
                    persistentVolumeClaim: {claimName: c}}]\n      containers:\n      - name: llm\n        image: lmsysorg/sglang:v0.5.23\n        \
                    command: [python3, -m, sglang.launch_server]\n        args: [--model-path, $(MODEL), --tp, '4']\n        env: [{name: MODEL, \
                    value: m/x}, {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}]\n        resources: {limits: \
                    {nvidia.com/gpu: '4'}}\n        volumeMounts: [{name: m, mountPath: /models}, {name: shm, mountPath: /dev/shm}, {name: c, \
                    mountPath: /c}]\n";
        assert_eq!(
            lines(text),
            [
                "docker run --env MODEL=m/x --env HF_TOKEN --gpus 4 --volume /models:/models --entrypoint python3 lmsysorg/sglang:v0.5.23 -m \
              sglang.launch_server --model-path m/x --tp 4"
            ]
        );
        let notes = &containers(text).unwrap().unwrap()[0].notes;
        assert!(notes.iter().any(|note| note.contains("the volume c at /c")), "{notes:?}");
    }

    #[test]
    fn other_texts_are_no_manifests() {
        for text in ["vllm serve m", "model: x\nframeworks: {}\n", "echo 'kind: x'"] {
            assert_eq!(containers(text), Ok(None), "{text}");
        }
        assert!(containers("services:\n  a: [\n").is_err());
    }
}
