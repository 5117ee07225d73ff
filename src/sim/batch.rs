//! Iteration-level (continuous) batching, first come first served.
//!
//! A sequence is admitted when a slot is free and the KV cache can hold it at its longest (prompt and whole answer), so
//! nothing is ever preempted. Every step gives each decoding sequence one token; what is left of
//! `max_num_batched_tokens` goes to prefills in the order of arrival. With chunked prefill a prompt may take several
//! steps beside the decodes; without it a prompt is computed in one step of its own, in which nobody decodes.

use std::collections::VecDeque;

use super::step::StepBatch;

/// The engine's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLimits {
    /// Most sequences that run at once.
    pub max_num_seqs: usize,
    /// Most tokens that a step computes.
    pub max_num_batched_tokens: u64,
    /// Split prompts over several steps.
    pub chunked_prefill: bool,
    /// Tokens that the KV cache holds.
    pub kv_capacity: u64,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimRequest {
    /// Prompt tokens, at least 1.
    pub prompt: u64,
    /// Tokens to generate, at least 1.
    pub output: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sequence {
    id: u64,
    ask: SimRequest,
    prefilled: u64,
    generated: u64,
}

impl Sequence {
    fn reserved(&self) -> u64 {
        self.ask.prompt + self.ask.output
    }

    fn kv(&self) -> u64 {
        self.prefilled + self.generated
    }
}

/// A token of a sequence, at the end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The sequence.
    pub id: u64,
    /// It was the sequence's last.
    pub last: bool,
}

/// Waiting and running sequences.
#[derive(Debug)]
pub struct Scheduler {
    limits: EngineLimits,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    reserved: u64,
}

impl Scheduler {
    /// An idle engine.
    #[must_use]
    pub fn new(limits: EngineLimits) -> Self {
        Self { limits, waiting: VecDeque::new(), running: Vec::new(), reserved: 0 }
    }

    /// True when a sequence of this size can ever run.
    #[must_use]
    pub fn can_ever_run(&self, ask: SimRequest) -> bool {
        let fits_a_step = self.limits.chunked_prefill || ask.prompt <= self.limits.max_num_batched_tokens;
        ask.prompt + ask.output <= self.limits.kv_capacity && fits_a_step
    }

    /// Queues a sequence, for which [`Scheduler::can_ever_run`] holds.
    pub fn add(&mut self, id: u64, ask: SimRequest) {
        self.waiting.push_back(Sequence { id, ask, prefilled: 0, generated: 0 });
    }

    /// Forgets a sequence whose client has gone.
    pub fn cancel(&mut self, id: u64) {
        self.waiting.retain(|s| s.id != id);
        if let Some(at) = self.running.iter().position(|s| s.id == id) {
            self.reserved -= self.running.remove(at).reserved();
        }
    }

    /// Sequences that wait, sequences that run, and KV tokens in use.
    #[must_use]
    pub fn load(&self) -> (usize, usize, u64) {
        (self.waiting.len(), self.running.len(), self.running.iter().map(Sequence::kv).sum())
    }

    /// Plans and does one step: what it works on, and the tokens that exist when its time is over. `None` when idle.
    pub fn step(&mut self) -> Option<(StepBatch, Vec<Token>)> {
        self.admit();
        let prefills = self.plan_prefills();
        let alone = !self.limits.chunked_prefill && prefills.iter().any(|&n| n > 0);
        let mut batch = StepBatch::default();
        let mut tokens = Vec::new();
        for (sequence, &prefill) in self.running.iter_mut().zip(&prefills) {
            let decodes = sequence.prefilled == sequence.ask.prompt && !alone;
            sequence.prefilled += prefill;
            batch.prefill_tokens += prefill;
            // A prompt that is complete gives its first token in the same step.
            if decodes || (prefill > 0 && sequence.prefilled == sequence.ask.prompt) {
                sequence.generated += 1;
                batch.decode_seqs += u64::from(decodes);
                tokens.push(Token { id: sequence.id, last: sequence.generated == sequence.ask.output });
            }
            if decodes || prefill > 0 {
                batch.kv_tokens += sequence.kv();
            }
        }
        let done = |s: &Sequence| s.generated == s.ask.output;
        self.reserved -= self.running.iter().filter(|s| done(s)).map(Sequence::reserved).sum::<u64>();
        self.running.retain(|s| !done(s));
        (batch != StepBatch::default()).then_some((batch, tokens))
    }

    fn admit(&mut self) {
        while let Some(next) = self.waiting.front() {
            let fits = self.reserved + next.reserved() <= self.limits.kv_capacity;
            if self.running.len() >= self.limits.max_num_seqs || !fits {
                break;
            }
            self.reserved += next.reserved();
            self.running.extend(self.waiting.pop_front());
        }
    }

    /// Prompt tokens that each running sequence computes in this step.
    fn plan_prefills(&self) -> Vec<u64> {
        let decoding = self.running.iter().filter(|s| s.prefilled == s.ask.prompt).count() as u64;
        // Without chunks a prefill has the step for itself.
        let taken = if self.limits.chunked_prefill { decoding } else { 0 };
        let mut room = self.limits.max_num_batched_tokens.saturating_sub(taken);
        let plan = |s: &Sequence| {
            let missing = s.ask.prompt - s.prefilled;
            let chunk = if self.limits.chunked_prefill || missing <= room { missing.min(room) } else { 0 };
            room -= chunk;
            chunk
        };
        self.running.iter().map(plan).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: EngineLimits =
        EngineLimits { max_num_seqs: 4, max_num_batched_tokens: 16, chunked_prefill: true, kv_capacity: 200 };

    fn run(limits: EngineLimits, asks: &[SimRequest]) -> Vec<(StepBatch, Vec<Token>)> {
        let mut scheduler = Scheduler::new(limits);
        for (id, ask) in (0..).zip(asks) {
            assert!(scheduler.can_ever_run(*ask));
            scheduler.add(id, *ask);
        }
        let mut steps = Vec::new();
        while let Some(step) = scheduler.step() {
            assert!(scheduler.load().2 <= limits.kv_capacity);
            steps.push(step);
        }
        assert_eq!(scheduler.load(), (0, 0, 0));
        assert_eq!(scheduler.reserved, 0);
        steps
    }

    #[test]
    fn a_step_serves_all_at_once() {
        let ask = SimRequest { prompt: 2, output: 10 };
        assert_eq!(run(LIMITS, &[ask; 4]).len(), run(LIMITS, &[ask]).len());
        assert_eq!(run(EngineLimits { max_num_seqs: 1, ..LIMITS }, &[ask; 4]).len(), 40);
    }

    #[test]
    fn chunks_let_others_decode_meanwhile() {
        let (short, long) = (SimRequest { prompt: 2, output: 8 }, SimRequest { prompt: 15, output: 1 });
        let first_alone = |limits| {
            let mut scheduler = Scheduler::new(limits);
            scheduler.add(0, short);
            scheduler.step();
            scheduler.add(1, long);
            scheduler.step().unwrap().1.iter().any(|t| t.id == 0)
        };
        assert!(first_alone(LIMITS), "the running sequence gets its token beside the prefill");
        assert!(!first_alone(EngineLimits { chunked_prefill: false, ..LIMITS }), "the prefill has the step for itself");
    }

    #[test]
    fn a_cancelled_sequence_frees_its_room() {
        let mut scheduler = Scheduler::new(EngineLimits { kv_capacity: 20, ..LIMITS });
        scheduler.add(0, SimRequest { prompt: 5, output: 10 });
        scheduler.add(1, SimRequest { prompt: 5, output: 10 });
        scheduler.step();
        assert_eq!(scheduler.load().0, 1);
        scheduler.cancel(0);
        scheduler.step();
        assert_eq!((scheduler.load().0, scheduler.load().1), (0, 1));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_limit_broken(
            asks in proptest::collection::vec((1u64..16, 1u64..12), 1..20), seqs in 1usize..6, chunked: bool,
        ) {
            let limits = EngineLimits { max_num_seqs: seqs, chunked_prefill: chunked, kv_capacity: 60, ..LIMITS };
            let asks: Vec<SimRequest> = asks.into_iter().map(|(prompt, output)| SimRequest { prompt, output }).collect();
            let steps = run(limits, &asks);
            for (batch, tokens) in &steps {
                let decodes = if chunked { batch.decode_seqs } else { 0 };
                prop_assert!(batch.prefill_tokens + decodes <= limits.max_num_batched_tokens);
                prop_assert!(tokens.len() <= seqs);
            }
            for (id, ask) in (0..).zip(&asks) {
                let got: Vec<&Token> = steps.iter().flat_map(|(_, tokens)| tokens).filter(|t| t.id == id).collect();
                prop_assert_eq!(got.len() as u64, ask.output);
                prop_assert!(got.last().unwrap().last);
            }
            let prefilled: u64 = steps.iter().map(|(batch, _)| batch.prefill_tokens).sum();
            prop_assert_eq!(prefilled, asks.iter().map(|ask| ask.prompt).sum::<u64>());
        }
    }
}
