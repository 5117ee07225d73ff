//! Checks before a candidate is started: its launchers, its GPUs.

use super::failure::CandidateFailure;
use super::gpus::GpuProbe;
use crate::engines::framework::Frameworks;
use crate::engines::gpu;
use crate::engines::gpu::Gpu;
use crate::engines::launcher::{Launcher, resolve};
use crate::rows::kinds::{Candidate, LauncherStep};
use crate::rows::words::FailureClass;

/// The candidate, with `--attach` as one that the server at `url` runs.
pub(super) fn attached(mut candidate: Candidate, url: Option<&str>) -> Candidate {
    if let Some(url) = url {
        let options = [("url".to_string(), url.to_string())].into();
        candidate.server.launcher = vec![LauncherStep { name: "attach".into(), options }];
    }
    candidate
}

/// Whether the candidate's launchers can start it.
pub(super) fn launchable(candidate: &Candidate, frameworks: &Frameworks) -> Result<(), String> {
    let launchers = resolve(frameworks.launchers(), &candidate.server.launcher);
    let launchers = launchers.map_err(|e| e.to_string())?;
    let steps = launchers.iter().zip(&candidate.server.launcher);
    let spans = |(launcher, step): (&&Launcher, &LauncherStep)| launcher.multi_node || launcher.nodes(step).is_some();
    if candidate.hardware.multi_node && !steps.into_iter().any(spans) {
        let names: Vec<&str> = launchers.iter().map(|launcher| launcher.name.as_str()).collect();
        return Err(format!(
            "the plan sets multi_node, but the launcher {} starts a server on one node: set its nodes (srun and pyxis \
             have them), start it yourself and use --attach URL, or define a launcher with multi_node",
            names.join(" within ")
        ));
    }
    Ok(())
}

/// The GPUs that a candidate asks for; none for a simulation or an engine on the CPU.
pub(super) async fn gpus(probe: &GpuProbe, candidate: &Candidate) -> Result<Vec<Gpu>, CandidateFailure> {
    if candidate.simulated || candidate.hardware.gpu_count == Some(0) {
        return Ok(Vec::new());
    }
    let all = probe.look().await.map_err(|e| CandidateFailure::new(FailureClass::GpuUnknown, e.to_string()))?;
    let hardware = &candidate.hardware;
    // A slot may have fewer GPUs than the budget, and a candidate that needs no more.
    let count = hardware.gpu_count.filter(|_| candidate.slot.is_none());
    gpu::choose(all, hardware.visible_devices.as_deref(), count)
        .map_err(|why| CandidateFailure::new(FailureClass::GpuCount, why))
}

/// Whether no other process uses these GPUs.
pub(super) fn free(gpus: &[Gpu]) -> Result<(), CandidateFailure> {
    match &gpu::busy(gpus)[..] {
        [] => Ok(()),
        busy => {
            let why = format!("{}: no server was started; free them, or set other visible_devices", busy.join(", "));
            Err(CandidateFailure::new(FailureClass::GpuBusy, why))
        }
    }
}
