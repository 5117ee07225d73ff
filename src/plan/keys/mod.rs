//! Every key of a plan file, each described once: type, unit, default, who uses it, meaning. The checks of types, the
//! defaults of a plan, the JSON Schema of the plan file and the table in bench-plan(5) are made from here.

mod framework;
mod workload;

use serde_json::Value;

use super::shape::KeyUser::{Expand, Load, Rank, Serve, Validate};
use super::shape::Shape::{
    Any, Bool, Count, Each, Either, Keys, Limits, List, Nullable, OneOrList, Positive, Text, Word,
};
use super::shape::{DefaultValue, PlanKey, Shape, Words};
use crate::rows::kinds::{DEFAULT_MAX_TOKENS, DEFAULT_QUESTIONS};
use crate::rows::words::{CheckScope, Strategy, UnknownWord};

pub use self::workload::{DEFAULT_QPS, DEFAULT_USERS, SMOKE_PROMPTS};

/// The shape of a whole plan.
pub const WHOLE: Shape = Keys(PLAN);

/// The key at a JSON pointer; in a map with any names, such as `frameworks`, any name leads on.
#[must_use]
pub fn at(pointer: &str) -> Option<&'static PlanKey> {
    let (mut shape, mut found) = (&WHOLE, None);
    for part in pointer.split('/').skip(1) {
        (shape, found) = inside(shape, part)?;
    }
    found
}

/// The shape of the part of a value, and its key if it has one.
fn inside(shape: &'static Shape, part: &str) -> Option<(&'static Shape, Option<&'static PlanKey>)> {
    match shape {
        Keys(keys) => keys.iter().find(|key| key.name == part).map(|key| (&key.shape, Some(key))),
        Each(inner) | List(inner) => Some((inner, None)),
        OneOrList(inner) if part.parse::<usize>().is_ok() => Some((inner, None)),
        Either(_, inner) | Nullable(inner) | OneOrList(inner) => inside(inner, part),
        _ => None,
    }
}

/// The default of the key at a JSON pointer; null if it has none.
#[must_use]
pub fn default_at(pointer: &str) -> Value {
    at(pointer).and_then(|key| key.default).map_or(Value::Null, DefaultValue::value)
}

const STRATEGY: Words = Words {
    all: || Strategy::OF_PLANS.map(Strategy::as_str).to_vec(),
    refuses: |word| {
        let known = Strategy::OF_PLANS.map(Strategy::as_str);
        (!known.contains(&word)).then(|| UnknownWord::new("strategy", word, known.into_iter()).to_string())
    },
};

const SCOPE: Words = Words {
    all: || CheckScope::ALL.iter().map(|scope| scope.as_str()).collect(),
    refuses: |word| word.parse::<CheckScope>().err().map(|why| why.to_string()),
};

const CHECK: &[PlanKey] = &[
    PlanKey::new(
        "candidates",
        Word(SCOPE),
        &[Load],
        "all: check every candidate; winners: those that meet the SLA and are the best of their framework so far; none.",
    )
    .or(DefaultValue::Word(CheckScope::Winners.as_str())),
    PlanKey::new("questions", Count(1), &[Load], "Number of questions: 64 to screen, 400 for a release.")
        .unit("questions")
        .or(DefaultValue::Whole(DEFAULT_QUESTIONS as u64))
        .also(&["num_questions", "limit"]),
    PlanKey::new(
        "file",
        Text,
        &[Load],
        "File of questions, JSONL with prompt, answer and extract (number, choice, exact or regex), or GSM8K's. Default: questions \
         made from benchmark.seed.",
    )
    .also(&["path"]),
    PlanKey::new(
        "max_tokens",
        Count(1),
        &[Load],
        "Maximum number of output tokens of an answer; one that is cut off is neither right nor wrong.",
    )
    .unit("tokens")
    .or(DefaultValue::Whole(DEFAULT_MAX_TOKENS as u64)),
];

const MODEL: &[PlanKey] = &[
    PlanKey::new("path", Text, &[Expand, Serve, Load], "Path or id of the model."),
    PlanKey::new("model_path", Text, &[Expand, Serve, Load], "Another name of path."),
    PlanKey::new("name", Text, &[Expand, Serve, Load], "Another name of path."),
    PlanKey::new("id", Text, &[Expand, Serve, Load], "Another name of path."),
    PlanKey::new(
        "tokenizer",
        Text,
        &[Load],
        "Path or id of the tokenizer, for other clients, if it is not the model's.",
    ),
    PlanKey::new("tokenizer_path", Text, &[Load], "Another name of tokenizer."),
    PlanKey::new(
        "revision",
        Text,
        &[],
        "Commit or tag of the model, for the reader. The server's own flag selects it.",
    ),
    PlanKey::new("precision", Text, &[Validate, Expand], "Data type of the weights, for the check that they fit."),
    PlanKey::new("dtype", Text, &[Validate, Expand], "Another name of precision."),
    PlanKey::new(
        "quantization",
        Nullable(&Text),
        &[Validate, Expand],
        "Quantization of the weights; none is the same as null.",
    ),
    PlanKey::new("parameters", Positive, &[Validate], "Number of parameters, for the check that the weights fit.")
        .also(&["params", "num_parameters"]),
    PlanKey::new("weights_bits", Positive, &[Validate], "Size of one weight in the checkpoint.").unit("bits"),
];

const HARDWARE: &[PlanKey] = &[
    PlanKey::new(
        "gpu_model",
        Text,
        &[Validate, Expand],
        "GPU model. Default: that of this host's GPUs, if all are the same.",
    )
    .also(&["gpu", "gpu_type", "gpu_name"]),
    PlanKey::new(
        "gpu_count",
        Count(0),
        &[Validate, Expand, Serve],
        "Maximum number of GPUs of one server; 0: an engine on the CPU.",
    )
    .unit("GPUs")
    .or(DefaultValue::Whole(1))
    .also(&["gpus", "num_gpus", "n_gpus", "ngpus"]),
    PlanKey::new("visible_devices", Either(&Text, &List(&Any)), &[Serve], "Indexes or ids of the GPUs to use: 0,1.")
        .also(&["cuda_visible_devices", "devices", "gpu_ids"]),
    PlanKey::new("multi_node", Bool, &[Validate, Expand], "Allow servers that span several nodes.")
        .or(DefaultValue::Switch(false)),
];

const SEARCH: &[PlanKey] = &[
    PlanKey::new("tier", Count(1), &[Expand], "1: smoke test, 2: bounded, 3: all combinations.")
        .or(DefaultValue::Whole(2)),
    PlanKey::new(
        "strategy",
        Word(STRATEGY),
        &[Expand],
        "How candidates are generated. Default in tier 1: one_at_a_time.",
    )
    .or(DefaultValue::Word(Strategy::BoundedProduct.as_str())),
    PlanKey::new("candidate_generation", Word(STRATEGY), &[Expand], "Another name of strategy."),
    PlanKey::new(
        "max_candidates_per_framework",
        Count(1),
        &[Expand],
        "Maximum number of candidates of each framework. Tier 3 has no limit unless this is set.",
    )
    .or(DefaultValue::Whole(10))
    .also(&["max_candidates", "candidates"]),
    PlanKey::new("allow", List(&Text), &[Validate, Expand], "Names of rules to lift; each is noted in the report."),
    PlanKey::new(
        "stages",
        Count(1),
        &[Expand, Load],
        "1: search every candidate. 2: compare all of them shortly, then search the best two of each framework and their ties, then \
         repeat the finalists.",
    )
    .or(DefaultValue::Whole(1)),
    PlanKey::new(
        "fit",
        Text,
        &[Expand],
        "Time in which the runs are to end, such as 8h, from the start of the command: what does not fit is left out, as with --fit of \
         bench-expand and bench-sweep. Has no effect on several hosts that share a sweep.",
    ),
    PlanKey::new("seed", Count(0), &[Expand], "Seed of random choices. Default: benchmark.seed."),
    PlanKey::new("resume", Bool, &[], "Ignored: scripts/sweep PLAN --out DIR resumes in DIR."),
    PlanKey::new("output_dir", Text, &[], "Ignored: scripts/sweep PLAN --out DIR."),
];

/// The keys of a plan.
pub const PLAN: &[PlanKey] = &[
    PlanKey::new("schema_version", Count(1), &[Validate], "Version of this format, at most 2.")
        .or(DefaultValue::Whole(1)),
    PlanKey::new("name", Text, &[], "A name for the reader."),
    PlanKey::new("notes", Any, &[], "Notes for the reader."),
    PlanKey::new("source", Any, &[], "Where the plan comes from, for the reader."),
    PlanKey::new(
        "model",
        Either(&Text, &Keys(MODEL)),
        &[Validate, Expand, Serve, Load],
        "The model: a path or an id, or a map with these keys.",
    ),
    PlanKey::new("precision", Text, &[Validate, Expand], "Another name of model.precision."),
    PlanKey::new("hardware", Keys(HARDWARE), &[Validate, Expand, Serve], "The GPU budget.").also(&["resources"]),
    PlanKey::new(
        "dataset",
        Keys(workload::DATASET),
        &[Expand, Load],
        "The prompts, one scenario for each pair of lengths.",
    )
    .also(&["data", "workload"]),
    PlanKey::new("benchmark", Keys(workload::BENCHMARK), &[Expand, Load], "The load, and how it is measured.")
        .also(&["bench", "load"]),
    PlanKey::new("search", Keys(SEARCH), &[Expand], "Which candidates are tested."),
    PlanKey::new("sla", Limits, &[Load, Rank], "The SLA limits, each named by its statistic and latency.")
        .also(&["slo", "slos", "slas", "goodput"]),
    PlanKey::new(
        "frameworks",
        Each(&Keys(framework::FRAMEWORK)),
        &[Validate, Expand, Serve],
        "The frameworks to compare, by name; a name is that of a definition unless definition says otherwise.",
    )
    .also(&["engines", "servers", "backends"]),
    PlanKey::new(
        "check",
        Either(&Word(SCOPE), &Keys(CHECK)),
        &[Load, Rank],
        "Which candidates have their answers checked, all, winners or none, or a map with these keys.",
    )
    .also(&["checks", "accuracy", "eval"]),
    PlanKey::new("version_manifest", Any, &[], "Versions of images and packages, for the reader."),
];

/// The names of the top-level keys of a plan.
pub fn names() -> impl Iterator<Item = &'static str> {
    PLAN.iter().map(|key| key.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_found_by_its_pointer() {
        let name = |pointer: &str| at(pointer).map(|key| key.name);
        assert_eq!(name("/benchmark/qps/lower"), Some("lower"));
        assert_eq!(name("/frameworks/vllm/launcher"), Some("launcher"));
        assert_eq!(name("/model/path"), Some("path"));
        assert_eq!(name("/no/such"), None);
        assert_eq!(default_at("/benchmark/qps/max_rounds"), json!(5));
        assert_eq!(default_at("/dataset/input_len"), json!([1000, 8000]));
    }

    /// Each spelling of another tool occurs once among the keys of a map, and is not one of them.
    #[test]
    fn other_spellings_are_not_ambiguous() {
        fn check(keys: &[PlanKey]) {
            for key in keys {
                for also in key.also {
                    let own = keys.iter().filter(|other| other.name == *also || other.also.contains(also));
                    assert_eq!(own.count(), 1, "{also}");
                }
                assert!(key.meaning.ends_with('.'), "{}", key.name);
                check(key.members());
            }
        }
        check(PLAN);
    }
}
