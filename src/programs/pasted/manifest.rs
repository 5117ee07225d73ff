//! Services of Docker Compose and pods of Kubernetes as the lines of a shell: a `docker run` for each container.

use serde_json::{Map, Value};

use super::compose::of_service;
use super::run_line::{ManifestContainer, RunLine, each};
use crate::base::yaml;
use crate::plan::shape::plain_text;

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
