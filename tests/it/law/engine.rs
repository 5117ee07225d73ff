//! An engine with continuous batching in virtual time. One step gives every running sequence a token and takes
//! `base + per_seq · running + prefill · admitted` seconds; a waiting request is admitted before a step if a slot is free.

use std::collections::VecDeque;

use rand::RngExt;
use rand_pcg::Pcg64;
use serving_bench::rows::kinds::{Request, RequestStatus, TokenSource};
use serving_bench::rows::units::Micros;

/// Its times, s.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    pub name: &'static str,
    pub base: f64,
    pub per_seq: f64,
    pub prefill: f64,
    pub slots: usize,
    /// Tokens of an answer.
    pub tokens: u32,
}

/// One request, s.
#[derive(Debug, Clone, Copy, Default)]
pub struct Served {
    pub due: f64,
    pub first: f64,
    pub last: f64,
}

impl Served {
    pub fn row(&self, engine: &Engine, open: bool) -> Request {
        let due = Micros::from_seconds(self.due);
        Request {
            due_us: open.then_some(due),
            sent_us: Some(due),
            first_token_us: Some(Micros::from_seconds(self.first)),
            last_token_us: Some(Micros::from_seconds(self.last)),
            end_us: Some(Micros::from_seconds(self.last)),
            output_tokens: Some(engine.tokens),
            token_source: Some(TokenSource::Usage),
            chunks: engine.tokens,
            status: RequestStatus::Ok,
            ..Request::default()
        }
    }
}

/// The steps of a run, from one event to the next.
struct Batch<'a> {
    engine: &'a Engine,
    now: f64,
    step: u64,
    /// Index of each running request, and the step that ends it.
    running: VecDeque<(usize, u64)>,
}

impl Batch<'_> {
    /// Makes the first step of `new` requests, or all steps up to the next end, at most until `until`; the requests that ended.
    fn go(&mut self, new: &[usize], until: Option<f64>, served: &mut [Served]) -> Vec<usize> {
        let Engine { base, per_seq, prefill, tokens, .. } = *self.engine;
        self.running.extend(new.iter().map(|i| (*i, self.step + u64::from(tokens))));
        let pace = base + per_seq * self.running.len() as f64;
        let mut steps = 1;
        if new.is_empty() {
            steps = self.running[0].1 - self.step;
            let waits = until.map(|until| ((until - self.now) / pace).ceil().max(1.0) as u64);
            steps = waits.map_or(steps, |waits| steps.min(waits));
        }
        self.now += pace * steps as f64 + prefill * new.len() as f64;
        self.step += steps;
        new.iter().for_each(|i| served[*i].first = self.now);
        let mut ended = Vec::new();
        let over = self.running.iter().take_while(|(_, end)| *end <= self.step).count();
        for (i, _) in self.running.drain(..over) {
            served[i].last = self.now;
            ended.push(i);
        }
        ended
    }
}

impl Engine {
    /// The same engine on another day: all its times differ by up to this share.
    pub fn another_day(self, share: f64, rng: &mut Pcg64) -> Self {
        let factor = 1.0 + share * (2.0 * rng.random::<f64>() - 1.0);
        Self { base: self.base * factor, per_seq: self.per_seq * factor, prefill: self.prefill * factor, ..self }
    }

    /// An open loop with requests due at these times.
    pub fn open(&self, due: &[f64]) -> Vec<Served> {
        let mut served: Vec<Served> = due.iter().map(|due| Served { due: *due, ..Served::default() }).collect();
        let mut batch = Batch { engine: self, now: 0.0, step: 0, running: VecDeque::new() };
        let mut next = 0;
        while next < due.len() || !batch.running.is_empty() {
            if batch.running.is_empty() {
                batch.now = batch.now.max(due[next]);
            }
            let waiting =
                due[next..].iter().take(self.slots - batch.running.len()).take_while(|due| **due <= batch.now);
            let new: Vec<usize> = (next..next + waiting.count()).collect();
            next += new.len();
            let until = due.get(next).filter(|_| batch.running.len() < self.slots);
            batch.go(&new, until.copied(), &mut served);
        }
        served
    }

    /// A closed loop of `n` requests with `users` in flight.
    pub fn closed(&self, users: usize, n: usize) -> Vec<Served> {
        let mut served = vec![Served::default(); users.min(n)];
        let mut batch = Batch { engine: self, now: 0.0, step: 0, running: VecDeque::new() };
        let mut waiting: VecDeque<usize> = (0..served.len()).collect();
        while !waiting.is_empty() || !batch.running.is_empty() {
            let free = (self.slots - batch.running.len()).min(waiting.len());
            let new: Vec<usize> = waiting.drain(..free).collect();
            for _ in batch.go(&new, None, &mut served) {
                if served.len() < n {
                    waiting.push_back(served.len());
                    served.push(Served { due: batch.now, ..Served::default() });
                }
            }
        }
        served
    }
}
