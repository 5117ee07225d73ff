//! The keys of `dataset` and `benchmark`.

use crate::plan::shape::DefaultValue::{Lengths, Null, Real, Switch, Whole, Word as DefaultWord};
use crate::plan::shape::KeyUser::{Expand, Load, Rank, Serve, Validate};
use crate::plan::shape::Shape::{
    Any, Bool, Count, CountTo, Each, Either, Keys, Limits, List, Nullable, Number, OneOrList, Positive, Rate, Text,
    Word,
};
use crate::plan::shape::{PlanKey, Words};
use crate::rows::kinds::{MAX_OUTPUT_TOKENS, MAX_PROBES, MAX_PROMPT_TOKENS, MAX_REQUESTS, MAX_TURNS, Qps, Users};
use crate::rows::words::{Arrivals, CachePolicy, DatasetKind, Endpoint, UnknownWord};

/// Maximum number of prompts of a smoke test.
pub const SMOKE_PROMPTS: u64 = 20;

/// Default settings of a rate search.
pub const DEFAULT_QPS: Qps =
    Qps { lower: 0.25, upper: 16.0, tolerance: 0.01, max_rounds: 5, max_probes: MAX_PROBES, prune: false };
/// Default settings of a search for the highest number of requests in flight.
pub const DEFAULT_USERS: Users = Users { lower: 1, upper: 256, max_rounds: 8, max_probes: MAX_PROBES, prune: false };

const KIND: Words = Words { all: dataset_kinds, refuses: |word| unless("dataset kind", word, &dataset_kinds()) };
const ENDPOINT: Words = Words {
    all: || Endpoint::ALL.iter().map(|endpoint| endpoint.as_str()).collect(),
    refuses: |word| word.parse::<Endpoint>().err().map(|why| why.to_string()),
};
const ARRIVALS: Words = Words {
    all: || vec!["poisson", "constant", "gamma:SHAPE", "linear:FROM", "exponential:FROM", "trace"],
    refuses: |word| word.parse::<Arrivals>().err(),
};
const PAIRINGS: [&str; 2] = ["aligned", "product"];
const PAIRING: Words = Words { all: || PAIRINGS.to_vec(), refuses: |word| unless("pairing", word, &PAIRINGS) };
const CACHE: Words = Words {
    all: || CachePolicy::ALL.iter().map(|policy| policy.as_str()).collect(),
    refuses: |word| word.parse::<CachePolicy>().err().map(|why| why.to_string()),
};

fn dataset_kinds() -> Vec<&'static str> {
    DatasetKind::of_plans().map(DatasetKind::as_str).collect()
}

/// What is wrong with a word unless it is one of these.
fn unless(what: &'static str, word: &str, all: &[&'static str]) -> Option<String> {
    (!all.contains(&word)).then(|| UnknownWord::new(what, word, all.iter().copied()).to_string())
}

pub(super) const DATASET: &[PlanKey] = &[
    PlanKey::new("kind", Word(KIND), &[Expand, Load], "Generated prompts, or the format of the file path.")
        .or(DefaultWord(DatasetKind::Random.as_str()))
        .also(&["type"]),
    PlanKey::new(
        "num_prompts",
        CountTo(1, MAX_REQUESTS),
        &[Expand, Load],
        "Same as benchmark.num_prompts; set only one of them.",
    )
    .unit("requests"),
    PlanKey::new("scenario_names", List(&Text), &[Expand], "A name for each scenario. Default: in1000_out1000.")
        .also(&["scenarios", "names"]),
    PlanKey::new(
        "weights",
        Each(&Positive),
        &[Rank],
        "Weight of each scenario, by name, in a decision over all of them.",
    ),
    PlanKey::new(
        "input_len",
        OneOrList(&CountTo(1, MAX_PROMPT_TOKENS)),
        &[Expand, Load],
        "Prompt length of each scenario.",
    )
    .unit("tokens")
    .or(Lengths(&[1000, 8000]))
    .also(&[
        "isl",
        "input_length",
        "input_lens",
        "input_tokens",
        "random_input_len",
        "prompt_len",
        "prompt_tokens",
    ]),
    PlanKey::new(
        "output_len",
        OneOrList(&CountTo(1, MAX_OUTPUT_TOKENS)),
        &[Expand, Load],
        "Output length of each scenario; for a file, that of rows that do not specify one.",
    )
    .unit("tokens")
    .or(Lengths(&[1000, 1000]))
    .also(&["osl", "output_length", "output_lens", "output_tokens", "random_output_len", "max_tokens"]),
    PlanKey::new(
        "pairing",
        Word(PAIRING),
        &[Expand],
        "aligned: the n-th input_len with the n-th output_len; product: every combination.",
    )
    .or(DefaultWord("aligned")),
    PlanKey::new(
        "range_ratio",
        Number,
        &[Load],
        "R: lengths are drawn uniformly from length × (1 − R) to length × (1 + R).",
    )
    .unit("share, at least 0 and below 1")
    .or(Whole(0))
    .also(&["random_range_ratio"]),
    PlanKey::new(
        "prefix_len",
        CountTo(1, MAX_PROMPT_TOKENS),
        &[Load],
        "With kind shared_prefix: number of prompt tokens that a group shares.",
    )
    .unit("tokens")
    .also(&["shared_prefix_len", "prefix_length", "random_prefix_len"]),
    PlanKey::new("groups", CountTo(1, MAX_REQUESTS), &[Load], "With kind shared_prefix: number of groups.")
        .or(Whole(1))
        .also(&["num_groups"]),
    PlanKey::new("turns", CountTo(1, MAX_TURNS), &[Load], "With kind multi_turn: number of turns of a conversation.")
        .also(&["num_turns"]),
    PlanKey::new("think_s", Number, &[Load], "With kind multi_turn: pause before the next turn, at least 0.")
        .unit("s")
        .or(Whole(0)),
    PlanKey::new("path", Text, &[Expand, Load], "The file with the prompts.").also(&["file", "dataset_path"]),
    PlanKey::new("canonical_jsonl", Text, &[], "Not supported: write kind: canonical and path."),
    PlanKey::new("prefix_reuse", Bool, &[Load], "Allow sending rows again if the file has too few.").or(Switch(false)),
];

pub(super) const QPS: &[PlanKey] = &[
    PlanKey::new("lower", Number, &[Load], "Lowest rate of the search, above 0.")
        .unit("requests/s")
        .or(Real(DEFAULT_QPS.lower)),
    PlanKey::new("upper", Number, &[Load], "Highest rate of the search, above lower.")
        .unit("requests/s")
        .or(Real(DEFAULT_QPS.upper)),
    PlanKey::new(
        "tolerance",
        Number,
        &[Load],
        "The search ends with a bracket of this width, or of 5 % if that is wider.",
    )
    .unit("requests/s")
    .or(Real(DEFAULT_QPS.tolerance)),
    PlanKey::new("max_rounds", Count(1), &[Load], "Maximum number of bisection steps of a bracket.")
        .unit("steps")
        .or(Whole(DEFAULT_QPS.max_rounds as u64)),
    PlanKey::new("max_probes", Count(1), &[Load], "Maximum number of runs.")
        .unit("runs")
        .or(Whole(DEFAULT_QPS.max_probes as u64)),
    PlanKey::new("prune", Bool, &[Load], "End the search of a candidate that fails at the best rate so far.")
        .or(Switch(DEFAULT_QPS.prune)),
];

const USERS: &[PlanKey] = &[
    PlanKey::new("lower", Count(1), &[Load], "Lowest number of the search.")
        .unit("requests")
        .or(Whole(DEFAULT_USERS.lower as u64)),
    PlanKey::new("upper", Count(1), &[Load], "Highest number of the search.")
        .unit("requests")
        .or(Whole(DEFAULT_USERS.upper as u64)),
    PlanKey::new("max_rounds", Count(1), &[Load], "Maximum number of bisection steps of a bracket.")
        .unit("steps")
        .or(Whole(DEFAULT_USERS.max_rounds as u64)),
    PlanKey::new("max_probes", Count(1), &[Load], "Maximum number of runs.")
        .unit("runs")
        .or(Whole(DEFAULT_USERS.max_probes as u64)),
    PlanKey::new("prune", Bool, &[Load], "End the search of a candidate that fails at the best number so far.")
        .or(Switch(DEFAULT_USERS.prune)),
];

const RATE: &[PlanKey] = &[
    PlanKey::new("rate", Rate, &[Load], "The rate, or trace: the rate of the timestamps in the dataset.")
        .unit("requests/s"),
    PlanKey::new("cap", Count(1), &[Load], "Drop requests that come due while this many are in flight.")
        .unit("requests"),
];

pub(super) const BENCHMARK: &[PlanKey] = &[
    PlanKey::new("endpoint", Word(ENDPOINT), &[Load], "Where requests are sent.").or(DefaultWord("/v1/completions")),
    PlanKey::new("backend", Text, &[], "Not used: endpoint decides."),
    PlanKey::new("framework_set", List(&Text), &[Validate], "Ignored, with a warning if it differs from what is enabled."),
    PlanKey::new("tokenizer", Text, &[Load], "Same as model.tokenizer; set only one of them."),
    PlanKey::new("output_dir", Text, &[], "Ignored: scripts/sweep PLAN --out DIR."),
    PlanKey::new(
        "num_prompts",
        CountTo(1, MAX_REQUESTS),
        &[Expand, Load],
        "Minimum number of requests of a run. Default with smoke: 20. Confirming a p99 takes 299.",
    )
    .unit("requests")
    .or(Whole(80))
    .also(&["num_requests", "requests", "prompts", "number_of_requests"]),
    PlanKey::new("warmup_requests", CountTo(0, MAX_REQUESTS), &[Load], "Number of warmup requests, sent sequentially before a run.")
        .unit("requests")
        .or(Whole(2))
        .also(&["warmup", "num_warmups", "warmups"]),
    PlanKey::new("warmup_s", Positive, &[Load], "Instead of warmup_requests: warm up under the measured load for this long.").unit("s"),
    PlanKey::new("seed", Count(0), &[Expand, Load], "Seed of prompts, arrivals and order.").or(Whole(1)),
    PlanKey::new(
        "max_concurrency",
        OneOrList(&Nullable(&Count(1))),
        &[Load],
        "Closed loop with this many requests in flight; null: open loop, a search for the highest rate (qps). The default \
         applies without request_rates, concurrency and burst.",
    )
    .unit("requests")
    .or(Null)
    .also(&["concurrencies", "max_concurrent_requests"]),
    PlanKey::new(
        "request_rates",
        List(&Either(&Rate, &Keys(RATE))),
        &[Load],
        "Open loop at these rates; trace: the rate of the timestamps in the dataset.",
    )
    .unit("requests/s")
    .also(&["request_rate", "rate", "rates"]),
    PlanKey::new("burst", Bool, &[Load], "Also send all requests at once.").or(Switch(false)),
    PlanKey::new("qps", Keys(QPS), &[Load], "The rate search for a null in max_concurrency.").also(&["rate_search"]),
    PlanKey::new(
        "concurrency",
        Keys(USERS),
        &[Load],
        "Closed loop: also search the highest number of requests in flight that meets the SLA.",
    )
    .also(&["users"]),
    PlanKey::new("duration_s", Positive, &[Load], "Open loop: minimum time in which the requests of a run come due; in any case four answers, so that the run tells \
         whether the server keeps up.")
        .unit("s")
        .also(&["duration"]),
    PlanKey::new("repeats", Count(1), &[Expand], "Number of runs of each load, at most 1000.")
        .unit("runs")
        .or(Whole(1))
        .also(&["repeat", "num_runs", "runs", "repetitions"]),
    PlanKey::new("ignore_eos", Bool, &[Load], "Generate exactly output_len tokens, even if the model would stop earlier.").or(Switch(true)),
    PlanKey::new("extra_request_body", Each(&Any), &[Load], "Members added to each request; temperature is 0 unless set.")
        .also(&["extra_body", "request_body"]),
    PlanKey::new("sla", Limits, &[Load, Rank], "Same as the key sla of the plan; set only one of them."),
    PlanKey::new("arrivals", Word(ARRIVALS), &[Load], "Arrival process of an open loop.")
        .or(DefaultWord("poisson"))
        .also(&["arrival", "arrival_process"]),
    PlanKey::new("cache", Word(CACHE), &[Load], "unique_prompts: no prompt is sent twice to one server; reset: also empty its prefix cache before each run.")
        .or(DefaultWord("unique_prompts")),
    PlanKey::new("stream", Bool, &[Load], "false: responses arrive whole, so no TTFT is measured.").or(Switch(true)),
    PlanKey::new("continuous_usage", Bool, &[Load], "Request the token count in every chunk.").or(Switch(false)),
    PlanKey::new("headers", Each(&Text), &[Load], "Headers of each request; ${NAME} reads a secret from the environment."),
    PlanKey::new(
        "acceptance_length",
        Number,
        &[Expand],
        "Speculative decoding: mean number of output tokens per step to force, the model's own included, above 1. For prompts that are \
         generated: without it, candidates that draft tokens for them are not ranked.",
    )
    .unit("tokens")
    .also(&["acceptance_len", "accept_length", "synthetic_acceptance_length"]),
    PlanKey::new("smoke", Bool, &[Expand, Serve], "Mark the runs as a smoke test, not a benchmark.").or(Switch(false)),
];
