//! One flag set of a framework as a candidate row.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::render;
use super::space::FlagSet;
use super::unit::{UnitKeys, units};
use crate::base::{digest, shell};
use crate::engines::framework::Framework;
use crate::engines::launcher::{LaunchTarget, Launchers, launch_command, server_command};
use crate::plan::{FrameworkPlan, Plan, is_smoke, nested};
use crate::rows::kinds::{
    Benchmark, Candidate, CandidateServer, CheckSettings, Hardware, LauncherStep, Load, Members, Scenario,
    SearchPosition, Shared, Speculation, ValidatedFlags,
};
use crate::rows::words::ReachedBy;

/// What all candidates of a plan have in common.
pub struct PlanMembers {
    hardware: Shared<Hardware>,
    scenarios: Shared<Vec<Scenario>>,
    loads: Shared<Vec<Load>>,
    benchmark: Shared<Benchmark>,
    check: Option<Shared<CheckSettings>>,
    sla: Shared<Members>,
    weights: Shared<Members>,
    caveats: Shared<Vec<String>>,
    /// The scenarios and loads, as the keys of units have them.
    keys: UnitKeys,
    /// The hardware, as it goes into the id of a candidate.
    hardware_id: String,
}

impl PlanMembers {
    pub fn of(plan: &Plan) -> Self {
        let benchmark = Shared::from(plan.benchmark.clone());
        Self {
            hardware: plan.hardware.clone().into(),
            scenarios: plan.scenarios.clone().into(),
            loads: plan.loads.clone().into(),
            check: plan.check.clone().map(Shared::from),
            sla: plan.sla.clone().into(),
            weights: plan.weights.clone().into(),
            caveats: plan.checked.caveats.clone().into(),
            keys: UnitKeys::of_plan(&plan.scenarios, &plan.loads, &plan.hardware, &benchmark),
            hardware_id: digest::canonical(&json!(plan.hardware)),
            benchmark,
        }
    }
}

/// Builds the candidates of one framework.
pub struct CandidateBuilder<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What its candidates have in common.
    pub shared: &'a PlanMembers,
    /// The framework's section of it.
    pub section: &'a FrameworkPlan,
    /// Its definition.
    pub framework: &'a Framework,
    /// All launchers.
    pub launchers: &'a Launchers,
}

impl CandidateBuilder<'_> {
    /// The place of a flag set in the search.
    pub fn search(&self, set: &FlagSet, index: usize, of: usize, space: usize) -> SearchPosition {
        SearchPosition {
            strategy: self.plan.strategy,
            index,
            of,
            space,
            baseline: set.changed.is_empty(),
            calibration: false,
            slot_check: None,
            why: set.why.clone(),
            stage: None,
            never_tried: Members::new(),
        }
    }

    /// The candidate with this flag set.
    pub fn candidate(&self, set: FlagSet, search: SearchPosition) -> Candidate {
        let (plan, shared, section, framework) = (self.plan, self.shared, self.section, self.framework);
        let model = section.model.clone().unwrap_or_else(|| plan.model.clone());
        // Flags that do not nest have been reported as an error of the plan.
        let rendered = nested(&set.flags).unwrap_or_else(|_| set.flags.clone());
        let launcher = launchers(section, framework, &set.flags, self.launchers);
        let mut env = framework.env.clone();
        env.extend(section.env.clone());
        if let Some(devices) = plan.hardware.visible_devices.as_ref().filter(|_| !self.renumbers_gpus(&launcher)) {
            env.entry("CUDA_VISIBLE_DEVICES".into()).or_insert_with(|| Some(devices.clone()));
        }
        if plan.hardware.gpu_count == Some(0) && !framework.simulated {
            // A build for GPUs uses every GPU it sees.
            env.entry("CUDA_VISIBLE_DEVICES".into()).or_insert_with(|| Some(String::new()));
        }
        let mut server = CandidateServer {
            launcher,
            definition: framework.name.clone(),
            served_name: render::served_name(framework, section, &set.flags).filter(|name| *name != model),
            argv: Vec::new(),
            followers: Vec::new(),
            env,
            files: BTreeMap::new(),
            flags: set.flags,
            changed: set.changed,
            image: section.image.clone(),
            mounts: section.mounts.clone(),
        };
        let speculation = framework.is_drafting(&rendered).then(|| speculation(framework, plan.acceptance_length));
        self.render(&mut server, rendered, &model);
        let length = speculation.as_ref().and_then(|own| own.forced_acceptance_length);
        // Nobody deploys a server with a forced acceptance length: its text is meaningless.
        let to_deploy = length.map(|length| {
            let forced = self.forced(&server, length, &model);
            std::mem::replace(&mut server, forced)
        });
        let mut content = vec![
            digest::canonical_of(&server.definition),
            digest::canonical_of(&server.argv),
            digest::canonical_of(&server.env),
            digest::canonical_of(&server.files),
            digest::canonical_of(&model),
            shared.hardware_id.clone(),
        ];
        // Absent settings do not change the id.
        content.extend(server.image.as_ref().map(digest::canonical_of));
        content.extend((!server.followers.is_empty()).then(|| digest::canonical_of(&server.followers)));
        content.extend((!server.mounts.is_empty()).then(|| digest::canonical_of(&server.mounts)));
        if !server.launcher.is_empty() && server.launcher != [LauncherStep::local()] {
            content.push(digest::canonical(&json!(server.launcher)));
        }
        let content = format!("[{}]", content.join(","));
        let validated = self.validated(&server.argv);
        let own = plan.checked.substitutions.iter().filter(|substitution| substitution.framework == section.name);
        let smoke = plan.benchmark.smoke || is_smoke(plan, section, framework, &server.flags);
        let mut benchmark = shared.benchmark.clone();
        if benchmark.smoke != smoke {
            benchmark.smoke = smoke;
        }
        let takes = framework.parallelism.gpus(&server.flags).and_then(|gpus| u32::try_from(gpus).ok());
        let fewer = takes.filter(|gpus| plan.hardware.gpu_count.is_some_and(|budget| *gpus < budget));
        let candidate_id = format!("{}-{}", section.name, digest::short_of(&content));
        let port = framework.default_port.to_string();
        let (gpus, refused_limits) = (plan.hardware.devices(), &[]);
        let target = LaunchTarget { name: &candidate_id, port: &port, gpus: gpus.as_deref(), refused_limits };
        // What a launcher lacks has been reported as an error of the plan.
        let launch_command =
            launch_command(self.launchers, to_deploy.as_ref().unwrap_or(&server), &target).unwrap_or_default();
        let mut candidate = Candidate {
            framework: section.name.clone(),
            candidate_id,
            model,
            tokenizer: plan.tokenizer.clone(),
            precision: plan.precision.clone(),
            quantization: section.quantization.clone().or_else(|| plan.quantization.clone()),
            hardware: shared.hardware.clone(),
            gpus: fewer,
            server_command: server_command(to_deploy.as_ref().unwrap_or(&server), &port),
            launch_command,
            server: server.into(),
            scenarios: shared.scenarios.clone(),
            loads: shared.loads.clone(),
            units: Vec::new(),
            benchmark,
            check: shared.check.clone(),
            speculation,
            sla: shared.sla.clone(),
            weights: shared.weights.clone(),
            search,
            position: None,
            claim: None,
            slot: None,
            version: validated.as_ref().and_then(|validated| validated.version.clone()),
            validated_cli_flags: validated,
            substitutions: own.cloned().collect(),
            caveats: shared.caveats.clone(),
            simulated: framework.simulated,
            status: None,
            failure_class: None,
            failure_reason: None,
        };
        candidate.units = units(&candidate, &shared.keys, plan.repeats);
        candidate
    }

    /// Adds what processes on several nodes need to find each other, where the launcher starts one on each; the words that all but
    /// the first have besides.
    fn over_nodes(&self, steps: &[LauncherStep], flags: &mut Members) -> Vec<String> {
        let Some(step) = steps.last() else { return Vec::new() };
        let asked = self.launchers.get(&step.name).and_then(|launcher| launcher.nodes(step));
        let several = asked.and_then(|nodes| nodes.parse::<u32>().ok()).is_some_and(|nodes| nodes > 1);
        let Some(nodes) = self.framework.nodes.as_ref().filter(|_| several) else { return Vec::new() };
        for (knob, text) in &nodes.flags {
            flags.entry(knob.clone()).or_insert_with(|| text.as_str().into());
        }
        nodes.followers.clone()
    }

    /// How clients reach the server.
    fn reached(&self, steps: &[LauncherStep]) -> ReachedBy {
        // The command of a server that runs already is only a description.
        let known = steps.iter().filter_map(|step| Some((self.launchers.get(&step.name)?, step)));
        known
            .filter(|(launcher, _)| launcher.base_url.is_none())
            .map(|(launcher, step)| launcher.reached(step))
            .max()
            .unwrap_or_default()
    }

    /// A server with what forces an acceptance length.
    fn forced(&self, server: &CandidateServer, length: f64, model: &str) -> CandidateServer {
        let (mut server, mut flags) = (server.clone(), server.flags.clone());
        if let Some(force) = self.framework.speculation.as_ref().and_then(|style| style.force.as_ref()) {
            flags.extend(force.flags_for(length));
            server.env.extend(force.env_for(length).into_iter().map(|(name, value)| (name, Some(value))));
        }
        self.render(&mut server, nested(&flags).unwrap_or(flags), model);
        server
    }

    /// Writes these flags into the command of a server.
    fn render(&self, server: &mut CandidateServer, mut flags: Members, model: &str) {
        server.files = render::files(self.framework, &mut flags);
        server.followers = self.over_nodes(&server.launcher, &mut flags);
        server.argv = render::argv(self.framework, self.section, model, &flags, self.reached(&server.launcher));
    }

    /// Whether the innermost launcher shows a server only its own GPUs, so that their numbers on the host mean nothing there.
    fn renumbers_gpus(&self, steps: &[LauncherStep]) -> bool {
        let Some(step) = steps.last() else { return false };
        let options = step.options.get("options").and_then(|line| shell::split(line).ok()).unwrap_or_default();
        self.launchers.get(&step.name).is_some_and(|launcher| launcher.renumbers_gpus(&options))
    }

    /// The flags of a command that the captured help accepts.
    fn validated(&self, argv: &[String]) -> Option<ValidatedFlags> {
        let check = self.plan.checked.validated_cli_flags.get(&self.section.name)?;
        let flags: BTreeSet<&str> = argv.iter().filter_map(|word| word.split('=').next()).collect();
        let own = |list: &[String]| list.iter().filter(|flag| flags.contains(flag.as_str())).cloned().collect();
        Some(ValidatedFlags {
            version: check.version.clone(),
            server: own(&check.server.accepted),
            benchmark: check.benchmark.as_ref().map(|verdicts| verdicts.accepted.clone()).unwrap_or_default(),
            unverifiable: own(&check.server.unverifiable),
        })
    }
}

/// How drafts are accepted, with the length that is forced, if the framework can.
fn speculation(framework: &Framework, length: Option<f64>) -> Speculation {
    let force = framework.speculation.as_ref().and_then(|style| style.force.as_ref());
    let Some((length, force)) = length.zip(force) else { return Speculation::default() };
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let flags = force.flags_for(length);
    let flags = flags.iter().filter(|(_, value)| !value.is_boolean());
    let flags = flags.map(|(knob, value)| format!("{knob}={}", word(value)));
    let env = force.env_for(length).into_iter().map(|(name, value)| format!("{name}={value}"));
    Speculation { forced_acceptance_length: Some(length), forced_by: flags.chain(env).collect() }
}

/// The plan's launchers, with the framework's default settings for them.
fn launchers(section: &FrameworkPlan, framework: &Framework, flags: &Members, known: &Launchers) -> Vec<LauncherStep> {
    let command = section.command.as_ref().map_or(&[] as &[String], |command| &command.head);
    let mut steps = section.launcher.clone();
    for step in &mut steps {
        if let (Some(options), Some(launcher)) = (framework.launcher_options.get(&step.name), known.get(&step.name)) {
            let own = step.options.remove("options").unwrap_or_default();
            step.options.insert("options".into(), launcher.with_defaults(options, &own));
        }
        for (key, value) in framework.rank_settings(&step.name, flags, command) {
            step.options.entry(key).or_insert(value);
        }
    }
    steps
}
