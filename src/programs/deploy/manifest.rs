//! Manifests of containers: of Docker Compose and of Kubernetes. They are JSON, which is YAML, too.

use serde_json::{Map, Value, json};

use super::container::DeployedContainer;
use crate::base::error::{Context, Result};
use crate::programs::pasted::container::ContainerGpus;

/// How much longer than in the measurement a start may take.
const PATIENCE: f64 = 4.0;
/// Seconds between two looks at a server that starts.
const PERIOD_S: u64 = 10;

/// A Compose file of one service.
///
/// # Errors
/// None that is known.
pub fn compose(container: &DeployedContainer) -> Result<String> {
    let mut service = Map::new();
    service.insert("image".into(), container.image.clone().into());
    if let Some(entry) = &container.entry {
        service.insert("entrypoint".into(), json!(entry));
    }
    // A dollar would begin a variable of Compose.
    let open = |text: &String| text.replace('$', "$$");
    let words: Vec<String> = container.words.iter().map(open).collect();
    service.insert("command".into(), json!(words));
    let env: Map<String, Value> =
        container.env.iter().map(|(name, value)| (name.clone(), json!(value.as_ref().map(open)))).collect();
    let mut put = |key: &str, value: Value, given: bool| {
        if given {
            service.insert(key.into(), value);
        }
    };
    put("environment", env.into(), !container.env.is_empty());
    put("volumes", json!(container.mounts), !container.mounts.is_empty());
    // As it was measured: docker run --network host --ipc host --ulimit …
    put("network_mode", json!("host"), true);
    put("ipc", json!("host"), container.option("--shm-size").is_none());
    for (option, key) in [("--shm-size", "shm_size"), ("--workdir", "working_dir"), ("--user", "user")] {
        put(key, json!(container.option(option)), container.option(option).is_some());
    }
    put("privileged", json!(true), container.option("--privileged").is_some());
    put("ulimits", json!({"memlock": -1, "stack": 67_108_864}), true);
    put("init", json!(true), true);
    put("restart", json!("on-failure"), true);
    let (key, which) = match &container.devices {
        ContainerGpus::Devices(ids) => ("device_ids", json!(ids.split(',').collect::<Vec<_>>())),
        ContainerGpus::All => ("count", json!("all")),
        ContainerGpus::Count(count) => ("count", json!(count)),
        ContainerGpus::Unstated => ("count", json!(container.gpus)),
    };
    let device = json!({"driver": "nvidia", key: which, "capabilities": ["gpu"]});
    put("deploy", json!({"resources": {"reservations": {"devices": [device]}}}), container.gpus > 0);
    let name = container.name.clone();
    written(&json!({"services": {name: service}}))
}

/// A Deployment with one replica.
///
/// # Errors
/// None that is known.
pub fn kubernetes(container: &DeployedContainer) -> Result<String> {
    let labels = json!({"app.kubernetes.io/name": container.name});
    let secret =
        |name: &String| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": container.name, "key": name}}});
    let env = container.env.iter().map(|(name, value)| match value {
        Some(value) => json!({"name": name, "value": value}),
        None => secret(name),
    });
    let mut volumes = vec![json!({"name": "shm", "emptyDir": {"medium": "Memory"}})];
    let mut mounts = vec![json!({"name": "shm", "mountPath": "/dev/shm"})];
    for (n, mount) in container.mounts.iter().enumerate() {
        let mut parts = mount.split(':');
        let (from, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let name = format!("mount-{n}");
        volumes.push(json!({"name": name, "hostPath": {"path": from}}));
        mounts.push(json!({"name": name, "mountPath": to, "readOnly": parts.any(|option| option == "ro")}));
    }
    let mut server = Map::new();
    server.insert("name".into(), json!("server"));
    server.insert("image".into(), json!(container.image));
    match &container.entry {
        Some(entry) => server.insert("command".into(), json!([entry.as_slice(), container.words.as_slice()].concat())),
        None => server.insert("args".into(), json!(container.words)),
    };
    server.insert("env".into(), env.collect::<Vec<_>>().into());
    if let Some(port) = container.port {
        let look = json!({"port": port});
        let failures = (container.ready_s * PATIENCE / PERIOD_S as f64).ceil().max(6.0) as u64;
        server.insert("ports".into(), json!([{"name": "http", "containerPort": port}]));
        server.insert(
            "startupProbe".into(),
            json!({"tcpSocket": look, "periodSeconds": PERIOD_S, "failureThreshold": failures}),
        );
        server.insert("readinessProbe".into(), json!({"tcpSocket": look, "periodSeconds": PERIOD_S}));
    }
    if container.gpus > 0 {
        server.insert("resources".into(), json!({"limits": {"nvidia.com/gpu": container.gpus}}));
    }
    server.insert("volumeMounts".into(), mounts.into());
    written(&json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": container.name, "labels": labels},
        "spec": {
            "replicas": 1,
            // Two at once would ask for twice the GPUs.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [server], "volumes": volumes, "terminationGracePeriodSeconds": 120},
            },
        },
    }))
}

fn written(manifest: &Value) -> Result<String> {
    let text = serde_json::to_string_pretty(manifest).context("cannot write the manifest")?;
    Ok(format!("{text}\n"))
}
