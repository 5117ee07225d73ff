//! The GPUs of this host: checked before a start, sampled while a server is leased, awaited after its stop.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;

use super::private_file::create_private;
use crate::base::error::{Error, Result};
use crate::engines::gpu;
use crate::engines::gpu::{Gpu, GpuSample};
use crate::rows::kinds::GpuSummary;
use crate::system::process::capture::output;
use crate::system::process::proc::on_path;

/// Time between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// How long one run of the probe command may take.
const PROBE_LIMIT: Duration = Duration::from_secs(15);
/// Two readings of memory in use are equal if they differ by at most this, in MiB.
const STEADY_MIB: f64 = 16.0;
/// Memory in use is steady after this number of equal readings in a row.
const STEADY: usize = 3;

/// The command that lists the GPUs.
#[derive(Debug, Clone)]
pub struct GpuProbe(Vec<String>);

impl GpuProbe {
    /// The user's command, else `nvidia-smi` if it is on the PATH, else `None`.
    #[must_use]
    pub fn find(user_command: &[String]) -> Option<Self> {
        if !user_command.is_empty() {
            return Some(Self(user_command.to_vec()));
        }
        (!on_path("nvidia-smi").is_empty()).then(|| {
            let query = format!("--query-gpu={}", gpu::QUERY);
            Self(vec!["nvidia-smi".into(), query, "--format=csv,noheader,nounits".into()])
        })
    }

    /// The state of all GPUs.
    ///
    /// # Errors
    /// When the command fails, takes too long, or its output cannot be parsed.
    pub async fn look(&self) -> Result<Vec<Gpu>> {
        let name = || self.0.join(" ");
        let output = output(&self.0, &[], PROBE_LIMIT).await;
        let output = output.map_err(|e| Error::new("the GPU probe failed").because(e).at(name()))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(Error::new(format!("the GPU probe failed ({}): {message}", output.status)).at(name()));
        }
        gpu::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// The state of the GPUs of `before` now.
    async fn reread(&self, before: &[Gpu]) -> Result<Vec<Gpu>> {
        let all = self.look().await?;
        Ok(all.into_iter().filter(|gpu| before.iter().any(|b| b.uuid == gpu.uuid)).collect())
    }

    /// Waits until the memory in use of these GPUs is steady and back at its level before the start.
    ///
    /// # Errors
    /// The memory still in use after `limit`, GPU by GPU.
    pub async fn released(&self, before: &[Gpu], limit: Duration) -> Result<(), Vec<String>> {
        let end = tokio::time::Instant::now() + limit;
        let mut same = 0;
        let mut last: Vec<f64> = Vec::new();
        loop {
            let now = match self.reread(before).await {
                Ok(now) => now,
                Err(e) => return Err(vec![e.to_string()]),
            };
            let used: Vec<f64> = now.iter().map(|gpu| gpu.used_mib).collect();
            let steady = used.len() == last.len() && used.iter().zip(&last).all(|(a, b)| (a - b).abs() <= STEADY_MIB);
            same = if steady { same + 1 } else { 1 };
            last = used;
            let over = |gpu: &&Gpu| {
                let was = before.iter().find(|b| b.uuid == gpu.uuid).map_or(0.0, |b| b.used_mib);
                gpu.used_mib > was + gpu::FREE_MIB
            };
            let held: Vec<String> =
                now.iter().filter(over).map(|gpu| format!("GPU {}: {:.0} MiB", gpu.index, gpu.used_mib)).collect();
            if held.is_empty() && same >= STEADY {
                return Ok(());
            }
            if tokio::time::Instant::now() >= end {
                return Err(if held.is_empty() { vec!["the GPU memory in use is not steady".into()] } else { held });
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// A running sampling of GPUs.
#[derive(Debug)]
pub struct GpuSampler {
    samples: Rc<RefCell<Vec<GpuSample>>>,
    task: JoinHandle<()>,
}

impl GpuSampler {
    /// Starts to sample these GPUs once a second; every sample is also appended to the file at `path`.
    #[must_use]
    pub fn start(probe: GpuProbe, gpus: Vec<Gpu>, path: &Path) -> Self {
        let samples = Rc::new(RefCell::new(Vec::new()));
        let shared = samples.clone();
        let path = path.to_path_buf();
        let task = tokio::task::spawn_local(async move {
            let mut file = create_private(&path).ok();
            let mut tick = tokio::time::interval(EVERY);
            loop {
                tick.tick().await;
                // A failed probe leaves a gap in the samples.
                let Ok(now) = probe.reread(&gpus).await else { continue };
                let at_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
                if let Some(file) = &mut file {
                    for gpu in &now {
                        let line = json!({"at_ms": at_ms, "uuid": gpu.uuid, "memory_used_mib": gpu.used_mib, "utilization": gpu.utilization,
                            "power_w": gpu.power_w, "sm_clock_mhz": gpu.clock_mhz, "temperature_c": gpu.temperature_c, "throttled": gpu.throttled});
                        let _ = file.write_all(format!("{line}\n").as_bytes());
                    }
                }
                shared.borrow_mut().push(GpuSample { at_ms, gpus: now });
            }
        });
        Self { samples, task }
    }

    /// Stops sampling; a summary of the samples, `None` without any.
    #[must_use]
    pub fn stop(self) -> Option<GpuSummary> {
        self.task.abort();
        gpu::summary(&self.samples.borrow())
    }
}
