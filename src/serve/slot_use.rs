//! Which slot a candidate gets, by its row; and what a slot means for its start.

use super::options::SlotPlan;
use crate::base::cpus::CpuList;
use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::engines::framework::Frameworks;
use crate::rows::kinds::{Candidate, LauncherStep, Slot};
use crate::rows::words::SlotPart;

/// The variable that shows a server only some GPUs.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
/// Other variables that do, which a plan may set: two of them would number the GPUs twice.
const OTHERS: [&str; 4] =
    ["NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"];

/// How a candidate uses the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotUse {
    /// In any slot, beside others.
    Beside,
    /// In the first slot, while nothing else runs.
    Alone,
    /// With the GPUs of all slots, while nothing else runs: it needs more than one slot has.
    All,
    /// In every slot at the same time, leased together: a slot check.
    Together,
}

impl SlotUse {
    /// That of a candidate: baselines, and finalists in their repeats, run alone.
    #[must_use]
    pub fn of(candidate: &Candidate, plan: &SlotPlan) -> Self {
        let size = plan.slots.slots()[0].devices().len();
        let is_wide = candidate.needed_gpus().is_some_and(|needed| needed as usize > size);
        match candidate.search.slot_check {
            _ if is_wide => Self::All,
            Some(SlotPart::Beside) => Self::Together,
            Some(SlotPart::Alone) => Self::Alone,
            None if candidate.runs_alone(size) => Self::Alone,
            None => Self::Beside,
        }
    }

    /// What a candidate gets of slot `index`; `left` are the CPUs that the client leaves to servers.
    ///
    /// # Errors
    /// It cannot run in slots: why not.
    pub fn slot(self, candidate: &Candidate, plan: &SlotPlan, index: usize, left: Option<&CpuList>) -> Result<Slot> {
        let own = if self == Self::All { plan.slots.all() } else { plan.slots.slots()[index].clone() };
        let set =
            plan.cpus.as_ref().map(|cpus| if self == Self::All { cpus.all() } else { cpus.slots()[index].clone() });
        let mut slot = Slot {
            slots: plan.slots.to_string(),
            of: plan.slots.slots().len(),
            index: (self != Self::All).then_some(index),
            gpus: None,
            cpus: set
                .map(|cpus| cpus.cpus())
                .transpose()
                .map_err(|e| Error::new(e).at("--slot-cpus"))?
                .map(|c| c.to_string()),
            alone: matches!(self, Self::Alone | Self::All),
        };
        if candidate.hardware.gpu_count == Some(0) {
            let cpus = own.cpus().map_err(|why| Error::new(why).at("--slots"))?;
            if left.is_some_and(|left| !cpus.without(left).0.is_empty()) {
                return Err(Error::new(format!("its slot has CPUs {cpus}, and --client-cpus takes some of them")));
            }
            slot.cpus = Some(cpus.to_string());
            return Ok(slot);
        }
        let budget = candidate.hardware.gpu_count.map_or(usize::MAX, |n| n as usize);
        let gpus: Vec<&str> = own.devices().iter().map(String::as_str).take(budget).collect();
        let needed = candidate.needed_gpus().unwrap_or(0);
        if gpus.len() < needed as usize {
            return Err(Error::new(format!(
                "it needs {needed} GPUs, and --slots {} has {} in all",
                plan.slots,
                own.devices().len()
            )));
        }
        if let Some(named) = &candidate.hardware.visible_devices {
            let known: Vec<&str> = named.split(',').map(str::trim).collect();
            // Of whichever slot is free: the same candidates run each time.
            if let Some(gpu) = plan.slots.all().devices().iter().find(|gpu| !known.contains(&gpu.as_str())) {
                return Err(Error::new(format!("--slots has GPU {gpu}, and the plan's visible_devices are {named}")));
            }
        }
        if let Some(name) = OTHERS.iter().find(|name| candidate.server.env.get(**name).is_some_and(Option::is_some)) {
            return Err(Error::new(format!(
                "its environment sets {name}, and --slots sets {VISIBLE}: remove {name} from the plan"
            )));
        }
        slot.gpus = Some(gpus.join(","));
        Ok(slot)
    }
}

/// The candidate with the GPUs of its slot.
#[must_use]
pub fn in_slot(mut candidate: Candidate, frameworks: &Frameworks) -> Candidate {
    if let Some(gpus) = candidate.slot.as_ref().and_then(|slot| slot.gpus.clone()) {
        candidate.hardware.visible_devices = Some(gpus.clone());
        if !candidate.simulated && !renumbers_gpus(&candidate.server.launcher, frameworks) {
            candidate.server.env.insert(VISIBLE.into(), Some(gpus));
        }
    }
    candidate
}

/// Whether the innermost launcher shows a server only its own GPUs, so that their numbers on the host mean nothing there.
fn renumbers_gpus(steps: &[LauncherStep], frameworks: &Frameworks) -> bool {
    let Some(step) = steps.last() else { return false };
    let options = step.options.get("options").and_then(|line| shell::split(line).ok()).unwrap_or_default();
    frameworks.launchers().get(&step.name).is_some_and(|launcher| launcher.renumbers_gpus(&options))
}
