//! The time that one iteration of the engine takes.

/// The cost of a step: `a + b·p + c·s + d·k + e·n`, with p prefill tokens, s decoding sequences, k KV tokens and n drafted
/// tokens in the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTime {
    /// a: every step, µs (weights are read once, whatever the batch).
    pub base_us: f64,
    /// b: per prefill token, µs (compute).
    pub prefill_token_us: f64,
    /// c: per decoding sequence, µs.
    pub decode_seq_us: f64,
    /// d: per KV token that attention reads, ns.
    pub kv_token_ns: f64,
    /// e: per token that is drafted and checked, µs.
    pub draft_token_us: f64,
}

/// The work of one iteration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepBatch {
    /// Prompt tokens computed.
    pub prefill_tokens: u64,
    /// Number of decoding sequences.
    pub decode_seqs: u64,
    /// KV tokens of all sequences in the step.
    pub kv_tokens: u64,
    /// Drafted tokens of all decoding sequences.
    pub draft_tokens: u64,
}

impl StepTime {
    /// The step's time in µs.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
    pub fn micros(&self, batch: StepBatch) -> f64 {
        self.base_us
            + self.prefill_token_us * batch.prefill_tokens as f64
            + self.decode_seq_us * batch.decode_seqs as f64
            + self.kv_token_ns / 1000.0 * batch.kv_tokens as f64
            + self.draft_token_us * batch.draft_tokens as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_its_parts() {
        let time = StepTime {
            base_us: 100.0,
            prefill_token_us: 2.0,
            decode_seq_us: 10.0,
            kv_token_ns: 500.0,
            draft_token_us: 5.0,
        };
        let batch = StepBatch { prefill_tokens: 30, decode_seqs: 4, kv_tokens: 200, draft_tokens: 8 };
        assert!((time.micros(batch) - (100.0 + 60.0 + 40.0 + 100.0 + 40.0)).abs() < 1e-9);
    }
}
