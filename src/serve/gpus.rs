//! The GPUs of this host: looked at before a start, sampled while a server is leased, waited for after its stop.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::child::create_private;
use crate::base::error::{Error, Result};
use crate::engines::gpu;
use crate::engines::gpu::{Gpu, GpuSample};
use crate::rows::kinds::GpuSummary;
use crate::system::process::proc::on_path;

const EVERY: Duration = Duration::from_secs(1);
/// The longest time that one look may take.
const LOOK: Duration = Duration::from_secs(15);
/// Readings of memory that differ by no more than this are the same, MiB.
const STEADY_MIB: f64 = 16.0;
/// So many same readings in a row are steady.
const STEADY: usize = 3;

/// How GPUs are looked at.
#[derive(Debug, Clone)]
pub struct GpuProbe(Vec<String>);

impl GpuProbe {
    /// The user's command, else `nvidia-smi` where it is there; `None` on a host without.
    #[must_use]
    pub fn find(given: &[String]) -> Option<Self> {
        if !given.is_empty() {
            return Some(Self(given.to_vec()));
        }
        (!on_path("nvidia-smi").is_empty()).then(|| {
            let query = format!("--query-gpu={}", gpu::QUERY);
            Self(vec!["nvidia-smi".into(), query, "--format=csv,noheader,nounits".into()])
        })
    }

    /// All GPUs now.
    ///
    /// # Errors
    /// When the command fails or prints something else.
    pub async fn look(&self) -> Result<Vec<Gpu>> {
        let name = self.0.join(" ");
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]).stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LOOK, command.output()).await;
        let output = output.map_err(|_| Error::new("the GPU probe does not answer").at(name.clone()))?;
        let output = output.map_err(|e| Error::new("the GPU probe cannot be run").because(e).at(name.clone()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(Error::new(format!("the GPU probe ended with {}: {said}", output.status)).at(name));
        }
        gpu::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// The same GPUs as `before`, now.
    async fn again(&self, before: &[Gpu]) -> Result<Vec<Gpu>> {
        let all = self.look().await?;
        Ok(all.into_iter().filter(|gpu| before.iter().any(|b| b.uuid == gpu.uuid)).collect())
    }

    /// Waits until the memory of these GPUs is back at what it was before the start, and steady.
    ///
    /// # Errors
    /// What is still held after `limit`, GPU by GPU.
    pub async fn released(&self, before: &[Gpu], limit: Duration) -> Result<(), Vec<String>> {
        let end = tokio::time::Instant::now() + limit;
        let mut same = 0;
        let mut last: Vec<f64> = Vec::new();
        loop {
            let now = match self.again(before).await {
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
                return Err(if held.is_empty() {
                    vec!["the memory in use does not become steady".into()]
                } else {
                    held
                });
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Samples that are being taken.
#[derive(Debug)]
pub struct GpuSampler {
    taken: Rc<RefCell<Vec<GpuSample>>>,
    task: JoinHandle<()>,
}

impl GpuSampler {
    /// Begins to look at these GPUs once a second; every sample also goes to a file.
    #[must_use]
    pub fn start(probe: GpuProbe, gpus: Vec<Gpu>, path: &Path) -> Self {
        let taken = Rc::new(RefCell::new(Vec::new()));
        let keep = taken.clone();
        let path = path.to_path_buf();
        let task = tokio::task::spawn_local(async move {
            let mut file = create_private(&path).ok();
            let mut tick = tokio::time::interval(EVERY);
            loop {
                tick.tick().await;
                // A look that fails is a gap in the samples.
                let Ok(now) = probe.again(&gpus).await else { continue };
                let at_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
                if let Some(file) = &mut file {
                    for gpu in &now {
                        let line = json!({"at_ms": at_ms, "uuid": gpu.uuid, "memory_used_mib": gpu.used_mib, "utilization": gpu.utilization,
                            "power_w": gpu.power_w, "sm_clock_mhz": gpu.clock_mhz, "temperature_c": gpu.temperature_c, "throttled": gpu.throttled});
                        let _ = file.write_all(format!("{line}\n").as_bytes());
                    }
                }
                keep.borrow_mut().push(GpuSample { at_ms, gpus: now });
            }
        });
        Self { taken, task }
    }

    /// Stops looking; what was seen.
    #[must_use]
    pub fn stop(self) -> Option<GpuSummary> {
        self.task.abort();
        gpu::summary(&self.taken.borrow())
    }
}
