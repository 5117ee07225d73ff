//! What is looked at before a candidate is started: its launchers, its GPUs.

use super::{CandidateFailure, Supervisor};
use crate::engines::gpu;
use crate::engines::gpu::Gpu;
use crate::engines::launcher::resolve;
use crate::rows::kinds::{Candidate, LauncherStep};
use crate::rows::words::FailureClass;

impl Supervisor<'_> {
    /// The candidate, with `--attach` on the server that is there already.
    pub(super) fn attached(&self, mut candidate: Candidate) -> Candidate {
        if let Some(url) = &self.options.attach {
            let options = [("url".to_string(), url.clone())].into();
            candidate.server.launcher = vec![LauncherStep { name: "attach".into(), options }];
        }
        candidate
    }

    /// Whether its launchers can start it.
    pub(super) fn launchable(&self, candidate: &Candidate) -> std::result::Result<(), String> {
        let launchers = resolve(self.options.frameworks.launchers(), &candidate.server.launcher);
        let launchers = launchers.map_err(|e| e.to_string())?;
        if candidate.hardware.multi_node && !launchers.iter().any(|launcher| launcher.multi_node) {
            let names: Vec<&str> = launchers.iter().map(|launcher| launcher.name.as_str()).collect();
            return Err(format!(
                "the plan says multi_node, and the launcher {} starts a server on one node: start it yourself and give \
                 --attach URL, or define a launcher that says multi_node",
                names.join(" within ")
            ));
        }
        Ok(())
    }

    /// The GPUs that a candidate asks for, free; none on a host where they cannot be looked at.
    pub(super) async fn gpus(&self, candidate: &Candidate) -> Result<Vec<Gpu>, CandidateFailure> {
        let Some(probe) =
            self.probe.as_ref().filter(|_| !candidate.simulated && candidate.hardware.gpu_count != Some(0))
        else {
            return Ok(Vec::new());
        };
        let all = probe.look().await.map_err(|e| CandidateFailure::of(FailureClass::GpuUnknown, e.to_string()))?;
        let asked = &candidate.hardware;
        let gpus = gpu::choose(all, asked.visible_devices.as_deref(), asked.gpu_count)
            .map_err(|why| CandidateFailure::of(FailureClass::GpuCount, why))?;
        match &gpu::busy(&gpus)[..] {
            [] => Ok(gpus),
            busy => {
                let why =
                    format!("{}: nothing was started; free them, or name others in visible_devices", busy.join(", "));
                Err(CandidateFailure::of(FailureClass::GpuBusy, why))
            }
        }
    }
}
