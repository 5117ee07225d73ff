//! Preflight checks: GPUs, driver, disk, open files, ports, tools, names of tokens. The results are the `environment` of the
//! plan row; anything that would stop the run is an error.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::capture::HelpSource;
use crate::base::notice::Notice;
use crate::base::yaml::escape;
use crate::engines::gpu;
use crate::engines::gpu::Gpu;
use crate::plan::{Finding, MISSING_WAY_OUT, Plan};
use crate::rows::kinds::{LoadMode, Members, Rejection};
use crate::rows::words::FindingCode as Code;
use crate::system::process::{capture, host, proc};

/// Maximum time for one command.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// Free disk space below which a start may fail, GB.
pub const DISK_GB: f64 = 10.0;
/// Number of open files that a client needs besides its connections.
const OTHER_FILES: u64 = 64;
/// Variables that hold tokens; only their names are recorded, if they are set.
const TOKENS: [&str; 7] = [
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HUGGINGFACE_HUB_TOKEN",
    "NGC_API_KEY",
    "OPENAI_API_KEY",
    "BENCH_API_KEY",
    "NVIDIA_API_KEY",
];

/// Results of the preflight checks.
#[derive(Debug, Default)]
pub struct Preflight {
    /// `gpus, gpu_tool, driver, cuda, disk_free_gb, open_files, container_tools, tokens, ports, cpus, kernel`.
    pub environment: Members,
    /// Findings, by their place in the plan.
    pub found: Vec<Finding>,
    /// Frameworks whose program was not found.
    pub rejections: Vec<Rejection>,
}

/// Settings of the preflight checks.
#[derive(Debug, Clone, Copy)]
pub struct PreflightOptions<'a> {
    /// Command that lists the GPUs; empty for nvidia-smi.
    pub gpu_probe: &'a [String],
    /// True if the help of the servers was captured, which shows whether they can run.
    pub help_captured: bool,
    /// True: a framework that cannot be started is skipped; false: it is an error.
    pub allow_missing: bool,
    /// True: images that are missing are pulled.
    pub pull: bool,
}

/// Checks the host of a plan's servers.
#[must_use]
pub fn inspect(plan: &Plan, places: &[HelpSource], options: PreflightOptions, notice: &Notice) -> Preflight {
    let gpu_probe = options.gpu_probe;
    let mut seen = Preflight::default();
    seen.host(plan);
    for place in places {
        seen.tools(place, options, notice);
        seen.model(plan, place);
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
                let why = format!("only {free} GB free where models are downloaded (HF_HOME, otherwise HOME)");
                self.found.push(Finding::value(Code::HostWarning, "/model", why));
            }
        }
        if let Some((soft, hard)) = host::open_files() {
            self.put("open_files", json!({"soft": soft, "hard": hard}));
            let in_flight = plan.loads.iter().map(|load| match load.mode {
                LoadMode::Closed => load.concurrency.unwrap_or(1).into(),
                LoadMode::Open | LoadMode::Burst => load.cap.map_or(u64::from(plan.benchmark.num_prompts), u64::from),
            });
            let needed = in_flight.max().unwrap_or(0) + OTHER_FILES;
            if hard < needed {
                let why = format!(
                    "the load needs up to {needed} open files, but the limit is {hard}: raise it with ulimit -n"
                );
                self.found.push(Finding::value(Code::Host, "/benchmark", why));
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
                let why = format!("{name} should be inherited but is not set");
                self.found.push(Finding::key(Code::HostWarning, &at, why));
            }
        }
    }

    /// The program that starts the server must exist, in a container too.
    fn tools(&mut self, place: &HelpSource, options: PreflightOptions, notice: &Notice) {
        // A missing server has already been reported when its help was captured.
        if options.help_captured && place.has_help() {
            return;
        }
        let at = format!("/frameworks/{}", escape(&place.name));
        let why = match place.look(options.pull, notice) {
            Ok(None) => return,
            Ok(Some(note)) => return self.found.push(Finding::key(Code::HostUnchecked, &at, note)),
            Err(e) => format!("{} cannot be started: {e}", place.framework.title),
        };
        if !options.allow_missing {
            return self.found.push(Finding::key(Code::FrameworkMissing, &at, format!("{why}; {MISSING_WAY_OUT}")));
        }
        self.found.push(Finding::key(Code::FrameworkSkipped, &at, format!("{why}; its candidates are skipped")));
        let (knob, value) = (None, None);
        self.rejections.push(Rejection { framework: place.name.clone(), knob, value, reason: why });
    }

    /// A model that is a path must exist, where its server reads it on this host.
    fn model(&mut self, plan: &Plan, place: &HelpSource) {
        let Some(section) = plan.frameworks.iter().find(|section| section.name == place.name) else { return };
        if place.framework.simulated || !place.is_local() {
            return;
        }
        // The command may name the path, and the plan only what it is called.
        let words = section.command.as_ref().and_then(|command| command.model.as_ref());
        let at = format!("/frameworks/{}", escape(&section.name));
        let (model, at) = match (words.and_then(|words| words.last()), &section.model) {
            (Some(word), _) => {
                (word.split_once('=').map_or(word.as_str(), |(_, value)| value), format!("{at}/server_command"))
            }
            (None, Some(own)) => (own.as_str(), format!("{at}/model")),
            (None, None) => (plan.model.as_str(), "/model".into()),
        };
        let file = Path::new(model);
        let is_path =
            model.starts_with(['/', '.']) || file.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
        let known = self.found.iter().any(|finding| finding.pointer == at && finding.code == Code::Host);
        // `repository/name.gguf` may be one of the hub's.
        let may_be_an_id =
            !model.starts_with(['/', '.']) && model.contains('/') && !file.parent().is_some_and(Path::is_dir);
        if is_path && !may_be_an_id && !known && !file.exists() {
            let why = format!(
                "the model {model} is not on this host: correct the path, or set launcher if the server runs elsewhere"
            );
            self.found.push(Finding::value(Code::Host, &at, why));
        }
    }

    /// The GPUs of the plan must exist and be free.
    fn gpus(&mut self, plan: &Plan, place: &HelpSource, gpu_probe: &[String]) {
        let query = format!("--query-gpu={}", gpu::QUERY);
        let own = ["nvidia-smi".to_string(), query, "--format=csv,noheader,nounits".into()];
        let probe = if gpu_probe.is_empty() { &own } else { gpu_probe };
        let ask = |command: &[String]| {
            let command = place.on_host(command).map_err(|e| e.to_string())?;
            capture::succeeding(&command, &[], COMMAND_LIMIT).map_err(|e| e.to_string())
        };
        let text = match ask(probe) {
            Ok(text) => text,
            // The tool exists, or was requested, but fails: a server would have the same problem.
            Err(why) if !gpu_probe.is_empty() || !proc::on_path("nvidia-smi").is_empty() => {
                let why = format!("GPU check failed: {why}");
                return self.found.push(Finding::key(Code::Host, "/hardware", why));
            }
            Err(why) => return self.without_nvidia(&ask, &why),
        };
        self.put("gpu_tool", probe[0].as_str().into());
        let all = match gpu::parse(&text) {
            Ok(all) => all,
            Err(e) => return self.found.push(Finding::key(Code::Host, "/hardware", e.to_string())),
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
            Err(why) => self.found.push(Finding::key(Code::Host, "/hardware", why)),
            Ok(chosen) => {
                for busy in gpu::busy(&chosen) {
                    let why = format!("{busy}: free it, or select other GPUs with visible_devices");
                    self.found.push(Finding::key(Code::Host, "/hardware", why));
                }
                let other = plan.hardware.gpu_model.as_ref().filter(|model| {
                    chosen.iter().any(|gpu| !gpu.name.to_lowercase().contains(&last_word(model).to_lowercase()))
                });
                if let (Some(model), Some(found)) = (other, chosen.first()) {
                    let why = format!("the plan has {model}, but this host has {}", found.name);
                    self.found.push(Finding::key(Code::HostWarning, "/hardware/gpu_model", why));
                }
            }
        }
    }

    /// Uses AMD's tool if it is installed; otherwise nothing is known about the GPUs.
    fn without_nvidia(&mut self, ask: &dyn Fn(&[String]) -> Result<String, String>, why: &str) {
        let rocm = ["rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json"].map(String::from);
        if let Ok(text) = ask(&rocm) {
            self.put("gpu_tool", "rocm-smi".into());
            self.put("gpus", serde_json::from_str(&text).unwrap_or(Value::Null));
            return;
        }
        self.put("gpu_tool", Value::Null);
        let why = format!("GPU check skipped: {why}");
        self.found.push(Finding::key(Code::HostUnchecked, "/hardware", why));
    }

    /// Records which processes listen on the default ports: bench-serve uses free ports, a deploy command does not.
    fn ports(&mut self, places: &[HelpSource]) {
        let mut taken = Members::new();
        for port in places.iter().map(|place| place.framework.default_port) {
            if !proc::port_is_free(port) {
                let owner = proc::listeners(port).first().map_or("unknown process".into(), proc::Process::label);
                taken.insert(port.to_string(), owner.into());
            }
        }
        self.put("ports_taken", taken.into());
    }
}

fn last_word(model: &str) -> &str {
    model.split_whitespace().find(|word| word.chars().any(|c| c.is_ascii_digit())).unwrap_or(model)
}

/// The name of the GPUs found, if all have the same.
#[must_use]
pub fn same_name(environment: &Members) -> Option<String> {
    let gpus = environment.get("gpus")?.as_array()?;
    let mut names = gpus.iter().filter_map(|gpu| gpu["name"].as_str());
    let first = names.next()?;
    names.all(|name| name == first).then(|| first.to_string())
}

/// The name of this host's GPUs, if all have the same.
#[must_use]
pub fn detect() -> Option<String> {
    if proc::on_path("nvidia-smi").is_empty() {
        return None;
    }
    let command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"].map(String::from);
    let text = capture::succeeding(&command, &[], COMMAND_LIMIT).ok()?;
    let mut names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    let first = names.next()?.to_string();
    names.all(|name| name == first).then_some(first)
}
