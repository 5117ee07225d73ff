//! The keys of one framework.

use crate::plan::shape::KeyUser::{Expand, Serve, Validate};
use crate::plan::shape::Shape::{Any, Bool, Count, Each, Either, List, Nullable, OneOrList, Text, Values};
use crate::plan::shape::{DefaultValue, PlanKey};

pub(super) const FRAMEWORK: &[PlanKey] = &[
    PlanKey::new("enabled", Bool, &[Expand], "false: leave this framework out.").or(DefaultValue::Switch(true)),
    PlanKey::new("definition", Text, &[Validate, Expand, Serve], "Name of its definition. Default: its own name.")
        .also(&["framework", "engine"]),
    PlanKey::new(
        "launcher",
        OneOrList(&Either(&Text, &Each(&Either(&Text, &Count(1))))),
        &[Serve],
        "How the server is started: a name, a map with name and what the launcher needs, or a list of these, outermost first.",
    )
    .or(DefaultValue::Word("local"))
    .also(&["run_with", "runner"]),
    PlanKey::new("image", Text, &[Serve], "Container image, for a launcher that starts containers.").also(&[
        "container_image",
        "docker_image",
        "container",
    ]),
    PlanKey::new(
        "mounts",
        List(&Text),
        &[Serve],
        "HOST:CONTAINER, for a launcher that starts containers; ~ is the home folder.",
    )
    .also(&["volumes", "volume", "mount", "binds"]),
    PlanKey::new(
        "env",
        Each(&Nullable(&Text)),
        &[Serve],
        "Environment variables; null inherits the value of bench-serve.",
    )
    .also(&["environment", "envs", "env_vars"]),
    PlanKey::new("model", Text, &[Expand, Serve], "Instead of the plan's model, for example another checkpoint of it.")
        .also(&["model_path"]),
    PlanKey::new("quantization", Text, &[Validate, Expand], "Instead of model.quantization."),
    PlanKey::new("extra_args", List(&Text), &[Validate, Serve], "Words at the end of the command.").also(&[
        "args",
        "extra_flags",
        "extra_server_args",
    ]),
    PlanKey::new(
        "server_command",
        Text,
        &[Validate, Serve],
        "Command that replaces the definition's; it does not run in a shell, and flags in it become knobs.",
    )
    .also(&["command", "cmd", "server_cmd"]),
    PlanKey::new(
        "base_server_flags",
        Each(&Any),
        &[Validate, Expand, Serve],
        "The baseline: knobs and their values, which every candidate starts from.",
    )
    .also(&["flags", "server_flags", "base", "baseline", "server_args", "knobs"]),
    PlanKey::new("search_space", Each(&Values), &[Validate, Expand], "Knobs, each with a list of values to try.")
        .also(&["search", "space", "grid", "sweep"]),
    PlanKey::new("candidates", List(&Each(&Any)), &[Expand], "With strategy ordered: what each candidate changes."),
    PlanKey::new("version", Text, &[Validate], "Version of the framework, for checks without captured help."),
    PlanKey::new("backend_policy", Text, &[], "For the reader."),
    PlanKey::new("config_source", Text, &[], "For the reader."),
    PlanKey::new("notes", Any, &[], "Notes for the reader."),
];
