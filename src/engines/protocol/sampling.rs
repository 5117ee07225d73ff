//! Members of a request that say how its tokens are chosen.

/// Their names, beside the model, the prompt and the number of tokens.
pub const SAMPLING: [&str; 17] = [
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "reasoning_effort",
    "logit_bias",
    "stop",
    "stop_token_ids",
    "seed",
    "ignore_eos",
    "min_tokens",
    "response_format",
    "guided_json",
    "chat_template_kwargs",
];
