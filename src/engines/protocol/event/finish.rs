//! Whether an answer ended well, by the server's finish reason.

use serde_json::value::RawValue;

/// Finish reasons of complete answers, in the words of OpenAI, vLLM, SGLang, TensorRT-LLM, llama.cpp, Text
/// Generation Inference, Ollama and the gateways before them.
const WHOLE: [&str; 42] = [
    "stop",
    "length",
    "eos",
    "eos_token",
    "eos_token_id",
    "stop_token",
    "stop_token_id",
    "stop_sequence",
    "stop_str",
    "stop_string",
    "stop_words",
    "max_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "max_length",
    "model_length",
    "repetition",
    "tool_calls",
    "tool_call",
    "tool_use",
    "function_call",
    "end_turn",
    "complete",
    "completed",
    "finished",
    "finished_stopped",
    "finished_length_capped",
    "function_calls",
    "stopped",
    "stop_word",
    "end",
    "end_of_text",
    "end_of_sequence",
    "eot",
    "done",
    "limit",
    "length_limit",
    "token_limit",
    "context_length",
    "max_context_length",
    "model_context_window_exceeded",
    "success",
];
/// Parts of finish reasons of answers that a filter ended early.
const FILTERED: [&str; 9] =
    ["filter", "safety", "recitation", "refusal", "sensitive", "blocklist", "prohibited", "guardrail", "spii"];
/// Finish reasons of answers that have not ended.
const NOT_YET: [&str; 9] = ["", "null", "none", "not_finished", "unfinished", "in_progress", "running", "0", "false"];
/// Parts of finish reasons of aborted answers.
const GAVE_UP: [&str; 22] = [
    "abort",
    "error",
    "cancel",
    "timeout",
    "timed_out",
    "time_limit",
    "malformed",
    "ignored",
    "preempt",
    "evict",
    "fail",
    "fault",
    "overload",
    "insufficient",
    "exhaust",
    "unavailable",
    "reject",
    "exception",
    "disconnect",
    "interrupt",
    "incomplete",
    "dead",
];

/// A finish reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish<'a> {
    /// `length`; also for `{"type": "length", …}`.
    pub reason: String,
    /// The JSON text of the server.
    raw: &'a str,
}

impl<'a> Finish<'a> {
    /// The finish reason in a member; `None` until the answer ends.
    #[must_use]
    pub fn read(raw: Option<&'a RawValue>) -> Option<Self> {
        let raw = raw.map(RawValue::get).filter(|raw| !matches!(*raw, "null" | "\"\""))?;
        let value: serde_json::Value = serde_json::from_str(raw).ok()?;
        let reason = value.as_str().or(value["type"].as_str()).unwrap_or(raw);
        let reason = reason.trim();
        let ended = NOT_YET.iter().all(|word| !reason.eq_ignore_ascii_case(word));
        ended.then(|| Self { reason: reason.to_string(), raw })
    }

    /// Why an answer with this reason is a failure; `None` if it is complete. An unknown reason is a failure too: otherwise an
    /// engine that aborts with a new word would be the fastest of all.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        // Also in the form of a Python enumeration (FinishReason.LENGTH), and with hyphens.
        let word = self.reason.to_ascii_lowercase().replace('-', "_");
        let word = word.rsplit('.').next().unwrap_or_default();
        let raw = self.raw;
        if WHOLE.contains(&word) {
            return None;
        }
        if FILTERED.iter().any(|part| word.contains(part)) {
            return Some(format!("a filter ended the answer early: finish_reason {raw}"));
        }
        if GAVE_UP.iter().any(|part| word.contains(part)) {
            return Some(format!("the server aborted the answer: finish_reason {raw}"));
        }
        Some(format!(
            "unknown finish_reason {raw}; if it ends a complete answer, add it to src/engines/protocol/event/finish.rs"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Finish<'_>> {
        Finish::read(Some(serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn aborted_answers_are_failures() {
        for good in [
            "\"stop\"",
            "\"length\"",
            "\"STOP\"",
            "{\"type\":\"length\",\"length\":8}",
            "\"eos_token\"",
            "\"FinishReason.LENGTH\"",
            "\"tool-calls\"",
        ] {
            assert_eq!(read(good).unwrap().failure(), None, "{good}");
        }
        for bad in [
            "\"abort\"",
            "\"error\"",
            "\"Cancelled\"",
            "\"insufficient_system_resource\"",
            "\"network_error\"",
            "{\"type\":\"abort\",\"message\":\"out of memory\"}",
        ] {
            assert!(read(bad).unwrap().failure().unwrap().contains("aborted"), "{bad}");
        }
        for filtered in ["\"content_filter\"", "\"SAFETY\"", "\"content_filtered\"", "\"refusal\""] {
            assert!(read(filtered).unwrap().failure().unwrap().contains("filter"), "{filtered}");
        }
        assert!(read(bad_with_words()).unwrap().failure().unwrap().contains("out of memory"));
        for unknown in ["\"banana\"", "7", "{\"kind\":\"x\"}", "true"] {
            assert!(read(unknown).unwrap().failure().unwrap().contains("unknown finish_reason"), "{unknown}");
        }
        for not_yet in ["null", "\"\"", "\"null\"", "\"not_finished\"", "0", "false"] {
            assert_eq!(read(not_yet), None, "{not_yet}");
        }
    }

    fn bad_with_words() -> &'static str {
        "{\"type\":\"abort\",\"message\":\"out of memory\"}"
    }
}
