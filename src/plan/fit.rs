//! Whether the weights fit: their size over the GPUs that share them, against the memory of one.

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::model::{ModelFacts, bits};
use super::named::NamedSize;
use super::read::Plan;
use super::shape::nearest_name;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, KnobRole};
use crate::engines::gpu_model::{GpuModel, memory_gb};
use crate::rows::words::FindingCode as Code;

/// Share of a GPU's memory available to weights; the rest is for the KV cache, activations and the runtime.
const USABLE: f64 = 0.9;
/// A size in a name is rounded: share of it that a model has at least.
const ROUNDED: f64 = 0.9;
/// Bits of a weight where nothing says them: those of most checkpoints, and the fewest that are served.
const BITS: (f64, f64) = (16.0, 4.0);

/// Adds findings about weights that do not fit, with the arithmetic. It is an error if they certainly exceed the memory of all
/// GPUs of the plan, whose model the plan itself names.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    let on_gpus = plan.hardware.gpu_count != Some(0);
    let Some(gpu) = plan.hardware.gpu_model.as_ref().filter(|_| on_gpus) else { return };
    let Some(memory) = memory_gb(gpu) else { return found.extend(unknown_gpu(plan, gpu, context)) };
    for (section, framework) in plan.enabled(context.frameworks) {
        if has_other_weights(section, framework) {
            continue;
        }
        let model = plan.model_of(section);
        let facts = context.models.get(model).cloned().unwrap_or_default();
        let Some(weights) = Weights::of(plan, section, framework, model, &facts) else { continue };
        let shared = Sharing::of(plan, section, framework);
        let each = weights.gb / shared.gpus;
        if each <= memory * USABLE {
            continue;
        }
        let at = format!("/frameworks/{}/base_server_flags", escape(&section.name));
        let sure = weights.least_gb / shared.gpus > memory;
        let own = !plan.defaults.contains_key("hardware.gpu_model");
        let code = match sure && own && !shared.searched && framework.parallelism.tensor.is_some() {
            true => Code::MemorySurely,
            false => Code::Memory,
        };
        let how = if each > memory { "do not fit" } else { "barely fit" };
        let way_out = match (code, weights.by_name) {
            (Code::MemorySurely, true) => "; if the name misleads, set model.parameters and model.weights_bits",
            _ => "",
        };
        let where_ = match shared.gpus > 1.0 {
            true => format!(", {each:.0} GB on each of {}", shared.what),
            false => " on one GPU".into(),
        };
        let why = format!(
            "the weights {how}: {} take {:.0} GB{where_}, but {gpu} has {memory:.0} GB, about {:.0} % of it available to weights{way_out}",
            weights.what,
            weights.gb,
            USABLE * 100.0
        );
        found.push(Finding::value(code, &at, why));
    }
}

/// A warning for a GPU whose memory is unknown, so that the weights cannot be checked.
fn unknown_gpu(plan: &Plan, gpu: &str, context: &CheckContext) -> Option<Finding> {
    let real = |section: &FrameworkPlan| context.frameworks.get(&section.definition).is_some_and(|own| !own.simulated);
    plan.frameworks.iter().any(|section| section.enabled && real(section)).then(|| {
        let near = nearest_name(&gpu.to_ascii_uppercase(), GpuModel::names());
        let near = near.map_or(String::new(), |near| format!(" (similar: {near})"));
        let why = format!(
            "unknown GPU model {gpu}{near}: cannot check that the weights fit; write its name as nvidia-smi prints it, or add its \
             memory (\"{gpu} 80GB\")"
        );
        Finding::value(Code::GpuUnknown, "/hardware/gpu_model", why)
    })
}

/// True if a flag, or a value of the search, leaves weights off the GPUs or changes the model.
fn has_other_weights(section: &FrameworkPlan, framework: &Framework) -> bool {
    let listed = section.list.iter().flat_map(|changes| changes.keys());
    let all = section.base.keys().chain(section.space.iter().map(|(knob, _)| knob)).chain(listed);
    let other = &framework.parallelism.other_weights;
    all.into_iter().any(|knob| other.iter().any(|name| knob == name || knob.starts_with(&format!("{name}."))))
}

/// The size of the weights, and the source of that number.
struct Weights {
    /// Their likely size, GB.
    gb: f64,
    /// Their size at least, GB; 0 where the number is not sure.
    least_gb: f64,
    /// What takes that much.
    what: String,
    /// True if only the name of the model says how large it is.
    by_name: bool,
}

impl Weights {
    fn of(
        plan: &Plan,
        section: &FrameworkPlan,
        framework: &Framework,
        model: &str,
        facts: &ModelFacts,
    ) -> Option<Self> {
        let mut words =
            framework.with_role(KnobRole::Quantization).filter_map(|(name, _)| section.base.get(name)?.as_str());
        let words = words.next().or(section.quantization.as_deref()).or(plan.quantization.as_deref());
        let quantized = words.filter(|word| *word != "none");
        let by_flag = quantized.and_then(bits);
        if let (Some(bytes), None) = (facts.bytes, by_flag) {
            let gb = bytes / 1e9;
            return Some(Self { gb, least_gb: gb, what: "its files".into(), by_name: false });
        }
        let gb = |parameters: f64, bits: f64| parameters * bits / 8e9;
        let billions = |parameters: f64| format!("{:.1}e9 parameters", parameters / 1e9);
        let stated = by_flag.or_else(|| plan.precision.as_deref().and_then(bits)).or(plan.weights_bits).or(facts.bits);
        let named = NamedSize::of(model);
        if let Some(parameters) = plan.parameters.or(facts.parameters) {
            let (likely, least, assumed) = range(stated.or(named.bits), quantized);
            // What a config.json says is an estimate for layers that it does not describe in full.
            let least_gb = plan.parameters.map_or(0.0, |_| gb(parameters, least));
            let what = format!("{} at {likely} bits{assumed}", billions(parameters));
            return Some(Self { gb: gb(parameters, likely), least_gb, what, by_name: false });
        }
        let parameters = named.parameters?;
        // A checkpoint keeps the format in its name, whatever the precision of the computation is.
        let (likely, least, assumed) = range(by_flag.or(named.bits).or(stated), quantized);
        let least_gb = if named.stated { gb(parameters, least) * ROUNDED } else { 0.0 };
        let what = format!("{} (by its name) at {likely} bits{assumed}", billions(parameters));
        Some(Self { gb: gb(parameters, likely), least_gb, what, by_name: true })
    }
}

/// The likely bits of a weight, the fewest possible, and a word if they are assumed.
fn range(known: Option<f64>, quantized: Option<&str>) -> (f64, f64, &'static str) {
    match (known, quantized) {
        (Some(bits), _) => (bits, bits, ""),
        // In a format that is not known here.
        (None, Some(_)) => (BITS.1, BITS.1, " (assumed)"),
        (None, None) => (BITS.0, BITS.1, " (assumed)"),
    }
}

/// The GPUs that share the weights; replicas do not share.
struct Sharing {
    /// How many they are.
    gpus: f64,
    /// The degrees of parallelism behind it.
    what: String,
    /// True if the search varies these degrees.
    searched: bool,
}

impl Sharing {
    fn of(plan: &Plan, section: &FrameworkPlan, framework: &Framework) -> Self {
        let parallel = &framework.parallelism;
        let roles = [KnobRole::TensorParallel, KnobRole::PipelineParallel];
        let sharing: Vec<&str> =
            roles.into_iter().flat_map(|role| framework.with_role(role)).map(|(name, _)| name).collect();
        let experts: Vec<&str> = framework.with_role(KnobRole::ExpertParallel).map(|(name, _)| name).collect();
        let listed = section.list.iter().flat_map(|changes| changes.keys());
        let mut varied = section.space.iter().map(|(knob, _)| knob).chain(listed);
        let searched = varied.any(|knob| {
            let knob = knob.as_str();
            sharing.contains(&knob) || experts.contains(&knob) || parallel.multiply.iter().any(|other| other == knob)
        });
        // Whole experts are dealt out over the replicas too.
        let dealt = |knob: &&str| {
            section.base.get(*knob).is_some_and(|value| *value == true || value.as_u64().is_some_and(|n| n > 1))
        };
        let over_all = experts.iter().any(dealt);
        let shares = |knob: &&String| over_all || sharing.contains(&knob.as_str());
        let degree = |knob: &String| Some((knob.clone(), section.base.get(knob)?.as_u64().filter(|n| *n > 1)?));
        let terms: Vec<(String, u64)> = parallel.multiply.iter().filter(shares).filter_map(degree).collect();
        if terms.is_empty() {
            let named = parallel.multiply.iter().any(|knob| section.base.contains_key(knob));
            let all = plan.hardware.gpu_count.filter(|_| !named).unwrap_or(1);
            return Self { gpus: all.into(), what: format!("{all} GPUs"), searched };
        }
        let gpus = terms.iter().fold(1.0, |product, (_, n)| product * *n as f64);
        let what = terms.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(" × ");
        Self { gpus, what, searched }
    }
}
