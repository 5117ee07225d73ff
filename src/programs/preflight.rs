//! What is looked at before anything is started: GPUs, driver, disk, open files, ports, tools, tokens by their names. The
//! answers are the `environment` of the plan row; what would stop the run is an error.

use std::time::Duration;

use serde_json::{Value, json};

use super::capture::HelpSource;
use crate::base::yaml::escape;
use crate::engines::gpu;
use crate::engines::gpu::Gpu;
use crate::plan::{Finding, Level, MISSING_WAY_OUT, Plan};
use crate::rows::kinds::{LoadMode, Members, Rejection};
use crate::system::process::{capture, host, proc};

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(30);
/// Free space below which a start may fail, GB.
const DISK_GB: f64 = 10.0;
/// Files that a client needs beside its connections.
const OTHER_FILES: u64 = 64;
/// Variables that hold tokens; only whether they are set is recorded.
const TOKENS: [&str; 7] = [
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HUGGINGFACE_HUB_TOKEN",
    "NGC_API_KEY",
    "OPENAI_API_KEY",
    "BENCH_API_KEY",
    "NVIDIA_API_KEY",
];

/// What was seen, what is wrong with it, and what cannot run.
#[derive(Debug, Default)]
pub struct Preflight {
    /// `gpus, gpu_tool, driver, cuda, disk_free_gb, open_files, container_tools, tokens, ports, cpus, kernel`.
    pub environment: Members,
    /// What is wrong, by the place in the plan.
    pub found: Vec<Finding>,
    /// Frameworks whose program is not there.
    pub rejections: Vec<Rejection>,
}

/// How a plan is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Looking<'a> {
    /// The command that lists the GPUs; empty: nvidia-smi.
    pub gpu_probe: &'a [String],
    /// The servers were asked for their help, which tells whether they are there.
    pub asked: bool,
    /// A framework that cannot be started is left out; else that is an error.
    pub allow_missing: bool,
}

/// Looks at the host of a plan's servers.
#[must_use]
pub fn look(plan: &Plan, places: &[HelpSource], looking: Looking) -> Preflight {
    let gpu_probe = looking.gpu_probe;
    let mut seen = Preflight::default();
    seen.host(plan);
    for place in places {
        seen.tools(place, looking);
    }
    let real: Vec<&HelpSource> = places.iter().filter(|place| !place.framework.simulated).collect();
    if let Some(first) = real.first().filter(|_| plan.hardware.gpu_count != Some(0)) {
        seen.gpus(plan, first, gpu_probe);
    }
    seen.ports(places);
    seen
}

impl Preflight {
    fn put(&mut self, key: &str, value: Value) {
        self.environment.insert(key.into(), value);
    }

    fn host(&mut self, plan: &Plan) {
        let hub = std::env::var_os("HF_HOME").or_else(|| std::env::var_os("HOME")).unwrap_or_else(|| ".".into());
        if let Some(free) = host::disk_free_gb(std::path::Path::new(&hub)) {
            self.put("disk_free_gb", free.into());
            if free < DISK_GB {
                let why = format!("{free} GB are free where models are downloaded to (HF_HOME, else HOME)");
                self.found.push(Finding::value(Level::Warning, "/model", why));
            }
        }
        if let Some((soft, hard)) = host::open_files() {
            self.put("open_files", json!({"soft": soft, "hard": hard}));
            let flying = plan.loads.iter().map(|load| match load.mode {
                LoadMode::Closed => load.concurrency.unwrap_or(1).into(),
                LoadMode::Open | LoadMode::Burst => load.cap.map_or(u64::from(plan.benchmark.num_prompts), u64::from),
            });
            let needed = flying.max().unwrap_or(0) + OTHER_FILES;
            if hard < needed {
                let why = format!("up to {needed} open files are needed, and the limit is {hard} (ulimit -n)");
                self.found.push(Finding::value(Level::Error, "/benchmark", why));
            }
        }
        let set = TOKENS.iter().filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        self.put("tokens", set.copied().collect::<Vec<_>>().into());
        let tools = ["docker", "podman", "srun", "ssh"].into_iter().filter(|tool| !proc::on_path(tool).is_empty());
        self.put("tools", tools.collect::<Vec<_>>().into());
        self.put("cpus", std::thread::available_parallelism().map_or(Value::Null, |n| n.get().into()));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        self.put("kernel", kernel.map_or(Value::Null, |text| text.trim().into()));
        for given in plan.frameworks.iter().filter(|given| given.enabled) {
            for (name, _) in
                given.env.iter().filter(|(name, value)| value.is_none() && std::env::var_os(name).is_none())
            {
                let at = format!("/frameworks/{}/env/{}", escape(&given.name), escape(name));
                let why = format!("{name} is to be inherited, and is not set");
                self.found.push(Finding::key(Level::Warning, &at, why));
            }
        }
    }

    /// What starts the server has to be there.
    fn tools(&mut self, place: &HelpSource, looking: Looking) {
        let at = format!("/frameworks/{}", escape(&place.name));
        let title = &place.framework.title;
        let local = place.server.launcher.iter().all(|step| step.name == "local");
        let (program, path) = if local {
            (place.server.argv.first().cloned(), place.server.env.get("PATH").and_then(Option::as_deref))
        } else {
            let Ok(command) = place.on_host(&["true".into()]) else { return };
            let start = place.short(&["true".into()]).ok().flatten().unwrap_or(command);
            (start.first().cloned(), None)
        };
        let Some(program) = program.filter(|program| proc::on_path_of(program, path).is_empty()) else { return };
        // A server that was asked for its help said so itself.
        if local && looking.asked && place.is_asked() {
            return;
        }
        let where_ = if program.contains('/') { "" } else { " on PATH" };
        let why = match local {
            true => format!("{title} cannot be started: no {program}{where_}"),
            false => format!("{title} cannot be started: its launcher needs {program}, which is not on PATH"),
        };
        if !looking.allow_missing {
            return self.found.push(Finding::key(Level::Error, &at, format!("{why}; {MISSING_WAY_OUT}")));
        }
        self.found.push(Finding::key(Level::Warning, &at, format!("{why}; its candidates are skipped")));
        let (knob, value) = (None, None);
        self.rejections.push(Rejection { framework: place.name.clone(), knob, value, reason: why });
    }

    /// The GPUs that the plan asks for: there, as many, and free.
    fn gpus(&mut self, plan: &Plan, place: &HelpSource, gpu_probe: &[String]) {
        let query = format!("--query-gpu={}", gpu::QUERY);
        let own = ["nvidia-smi".to_string(), query, "--format=csv,noheader,nounits".into()];
        let probe = if gpu_probe.is_empty() { &own } else { gpu_probe };
        let ask = |command: &[String]| {
            let command = place.on_host(command).map_err(|e| e.to_string())?;
            capture::succeeding(&command, &[], LOOK).map_err(|e| e.to_string())
        };
        let text = match ask(probe) {
            Ok(text) => text,
            // A tool that is there, or was asked for, and fails: whatever is wrong with it, a server would meet it too.
            Err(why) if !gpu_probe.is_empty() || !proc::on_path("nvidia-smi").is_empty() => {
                let why = format!("the GPUs cannot be looked at: {why}");
                return self.found.push(Finding::key(Level::Error, "/hardware", why));
            }
            Err(why) => return self.without_nvidia(&ask, &why),
        };
        self.put("gpu_tool", probe[0].as_str().into());
        let all = match gpu::parse(&text) {
            Ok(all) => all,
            Err(e) => return self.found.push(Finding::key(Level::Error, "/hardware", e.to_string())),
        };
        let shown = |gpu: &Gpu| {
            json!({"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name, "used_mib": gpu.used_mib,
                   "total_mib": gpu.total_mib, "busy": gpu.used_mib > gpu::FREE_MIB})
        };
        self.put("gpus", all.iter().map(shown).collect::<Vec<_>>().into());
        self.put("driver", all.first().and_then(|gpu| gpu.driver.clone()).map_or(Value::Null, Value::from));
        let cuda = ask(&["nvidia-smi".into()]).ok();
        let cuda =
            cuda.and_then(|text| Some(text.split("CUDA Version:").nth(1)?.split_whitespace().next()?.to_string()));
        self.put("cuda", cuda.map_or(Value::Null, Value::from));
        let asked = &plan.hardware;
        match gpu::choose(all, asked.visible_devices.as_deref(), asked.gpu_count) {
            Err(why) => self.found.push(Finding::key(Level::Error, "/hardware", why)),
            Ok(chosen) => {
                for busy in gpu::busy(&chosen) {
                    let why = format!("{busy}: free it, or name others in visible_devices; no other number is used");
                    self.found.push(Finding::key(Level::Error, "/hardware", why));
                }
                let other = plan.hardware.gpu_model.as_ref().filter(|model| {
                    chosen.iter().any(|gpu| !gpu.name.to_lowercase().contains(&last_word(model).to_lowercase()))
                });
                if let (Some(model), Some(there)) = (other, chosen.first()) {
                    let why = format!("the plan says {model}, and {} is there", there.name);
                    self.found.push(Finding::key(Level::Warning, "/hardware/gpu_model", why));
                }
            }
        }
    }

    /// AMD's tool where that is there; else nothing is known about GPUs.
    fn without_nvidia(&mut self, ask: &dyn Fn(&[String]) -> Result<String, String>, why: &str) {
        let rocm = ["rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json"].map(String::from);
        if let Ok(text) = ask(&rocm) {
            self.put("gpu_tool", "rocm-smi".into());
            self.put("gpus", serde_json::from_str(&text).unwrap_or(Value::Null));
            return;
        }
        self.put("gpu_tool", Value::Null);
        let why = format!("the GPUs were not looked at: {why}");
        self.found.push(Finding::key(Level::Note, "/hardware", why));
    }

    /// Who listens on the default ports: bench-serve takes free ones, a deploy command does not.
    fn ports(&mut self, places: &[HelpSource]) {
        let mut taken = Members::new();
        for port in places.iter().map(|place| place.framework.default_port) {
            if !proc::port_is_free(port) {
                let owner = proc::listeners(port).first().map_or("somebody".into(), proc::Process::label);
                taken.insert(port.to_string(), owner.into());
            }
        }
        self.put("ports_taken", taken.into());
    }
}

fn last_word(model: &str) -> &str {
    model.split_whitespace().find(|word| word.chars().any(|c| c.is_ascii_digit())).unwrap_or(model)
}

/// The name of the GPUs that were seen, where all are the same.
#[must_use]
pub fn same_name(environment: &Members) -> Option<String> {
    let gpus = environment.get("gpus")?.as_array()?;
    let mut names = gpus.iter().filter_map(|gpu| gpu["name"].as_str());
    let first = names.next()?;
    names.all(|name| name == first).then(|| first.to_string())
}

/// The name of this host's GPUs, where all are the same.
#[must_use]
pub fn detect() -> Option<String> {
    if proc::on_path("nvidia-smi").is_empty() {
        return None;
    }
    let command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"].map(String::from);
    let text = capture::succeeding(&command, &[], LOOK).ok()?;
    let mut names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    let first = names.next()?.to_string();
    names.all(|name| name == first).then_some(first)
}
