//! What the host has, whatever the plan.

use std::path::Path;

use serde_json::Value;

use super::examination::Examination;
use crate::plan::{Plan, is_hub_id};
use crate::programs::local::local_facts;
use crate::programs::preflight::DISK_GB;
use crate::rows::kinds::Members;
use crate::rows::words::HealthState;
use crate::system::process::{host, proc};

/// Number of open files below which a client with many connections may fail.
const OPEN_FILES: u64 = 4096;
/// Size of /dev/shm below which ranks that share memory may fail, GB.
const SHARED_MEMORY_GB: f64 = 1.0;
/// Free disk space below which rows and logs of a sweep may find no room, GB.
const RESULTS_GB: f64 = 1.0;
/// The programs that a sweep starts.
const PROGRAMS: [&str; 6] =
    ["bench-validate", "bench-expand", "bench-serve", "bench-load", "bench-normalize", "bench-rank"];

/// What does not depend on a plan: `seen` is the environment as the preflight found it, `path` the PATH of a sweep.
pub fn examine(examination: &mut Examination, seen: &Members, path: &str) {
    let missing: Vec<&str> =
        PROGRAMS.into_iter().filter(|name| proc::on_path_of(name, Some(path)).is_empty()).collect();
    match missing.is_empty() {
        true => {
            examination.host_is(HealthState::Ok, format!("all programs of version {}", crate::base::version::VERSION))
        }
        false => examination.host_needs(
            HealthState::Problem,
            format!("{} not found beside bench-sweep or on PATH", missing.join(", ")),
            "install all programs of one package into one folder",
        ),
    }
    let text = |key: &str| seen.get(key).filter(|value| !value.is_null()).map(plain);
    let (cpus, kernel) = (text("cpus").unwrap_or_default(), text("kernel").unwrap_or_default());
    examination.host_is(HealthState::Ok, format!("{cpus} CPUs, Linux {kernel}"));
    if let Some(gpus) = seen.get("gpus").and_then(Value::as_array).filter(|gpus| !gpus.is_empty()) {
        let name = gpus[0]["name"].as_str().unwrap_or("of an unknown model");
        let more = ["driver", "cuda"].into_iter().filter_map(|key| Some(format!(", {key} {}", text(key)?)));
        examination.host_is(HealthState::Ok, format!("{} × {name}{}", gpus.len(), more.collect::<String>()));
    }
    if let Some(free) = seen.get("disk_free_gb").and_then(Value::as_f64) {
        space(
            examination,
            free,
            DISK_GB,
            "where models are downloaded",
            "HF_HOME=DIR of a file system with more space",
        );
    }
    if let Some(free) = host::disk_free_gb(Path::new(".")) {
        space(
            examination,
            free,
            RESULTS_GB,
            "in this folder, for results",
            "bench-sweep --out DIR of a file system with more space",
        );
    }
    limits(examination);
    if let Some(tools) = seen.get("tools").and_then(Value::as_array) {
        let tools: Vec<&str> = tools.iter().filter_map(Value::as_str).collect();
        let text = if tools.is_empty() { "none".to_string() } else { tools.join(", ") };
        examination.host_is(HealthState::Ok, format!("launchers' programs: {text}"));
    }
}

/// Free disk space, GB, and how much there should be.
fn space(examination: &mut Examination, free: f64, enough: f64, place: &str, fix: &str) {
    match free < enough {
        true => examination.host_needs(HealthState::Warning, format!("only {free} GB free {place}"), fix),
        false => examination.host_is(HealthState::Ok, format!("{free} GB free {place}")),
    }
}

fn limits(examination: &mut Examination) {
    if let Some((soft, hard)) = host::open_files() {
        match hard < OPEN_FILES {
            true => examination.host_needs(
                HealthState::Warning,
                format!("at most {hard} open files: a load of many requests needs more"),
                "ulimit -n 65536; LimitNOFILE= of a systemd unit; --ulimit nofile=65536 of a container",
            ),
            false => examination.host_is(HealthState::Ok, format!("open files: {soft}, at most {hard}")),
        }
    }
    match host::hard_limits().memlock {
        Some(bytes) => examination.host_needs(
            HealthState::Warning,
            format!("locked memory is limited to {} MiB: servers on several GPUs may fail", bytes >> 20),
            "ulimit -l unlimited; LimitMEMLOCK=infinity of a systemd unit; --ulimit memlock=-1 of a container",
        ),
        None => examination.host_is(HealthState::Ok, "locked memory: unlimited".into()),
    }
    match host::disk_size_gb(Path::new("/dev/shm")) {
        Some(size) if size >= SHARED_MEMORY_GB => {
            examination.host_is(HealthState::Ok, format!("/dev/shm: {size} GB"));
        }
        size => examination.host_needs(
            HealthState::Warning,
            format!(
                "/dev/shm has {}: ranks of a server share memory there",
                size.map_or("no size".into(), |gb| format!("{gb} GB"))
            ),
            "mount -o remount,size=16g /dev/shm; --shm-size 16g or --ipc host of a container",
        ),
    }
}

/// A model that has to be downloaded, and no token for it.
pub fn token(examination: &mut Examination, plan: &Plan, seen: &Members, simulated: bool) {
    let tokens = seen.get("tokens").and_then(Value::as_array);
    let has_token = tokens.is_some_and(|tokens| {
        tokens.iter().filter_map(Value::as_str).any(|name| name.contains("HUGGING") || name.starts_with("HF_"))
    });
    if !simulated && !has_token && is_hub_id(&plan.model) && local_facts(&plan.model).is_none() {
        examination.host_needs(
            HealthState::Warning,
            format!("{} is not on this host, and no token for the Hugging Face hub is set: models with a licence to accept need one", plan.model),
            "export HF_TOKEN=…, or download the model: hf download MODEL",
        );
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}
