//! The engine in real time: steps end at absolute times, so that delays do not accumulate.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::batch::{EngineLimits, Scheduler, SimRequest, StepTokens};
use super::drafting::{DraftCounts, Drafting};
use super::step::StepTime;

/// The handle of a running engine.
#[derive(Debug, Clone)]
pub struct Engine(Rc<EngineShared>);

#[derive(Debug)]
struct EngineShared {
    state: RefCell<EngineState>,
    work: Notify,
}

#[derive(Debug)]
struct EngineState {
    scheduler: Scheduler,
    listeners: BTreeMap<u64, UnboundedSender<StepTokens>>,
    next: u64,
}

/// The tokens of one request as they are generated; dropping it cancels the request.
#[derive(Debug)]
pub struct Tokens {
    id: u64,
    receive: UnboundedReceiver<StepTokens>,
    engine: Engine,
}

impl Engine {
    /// Starts an engine on the current local set.
    #[must_use]
    pub fn start(limits: EngineLimits, time: StepTime, drafting: Option<Drafting>) -> Self {
        let scheduler = Scheduler::new(limits, drafting);
        let state = EngineState { scheduler, listeners: BTreeMap::new(), next: 0 };
        let engine = Self(Rc::new(EngineShared { state: RefCell::new(state), work: Notify::new() }));
        tokio::task::spawn_local(engine.clone().run(time));
        engine
    }

    /// Queues a request; `None` if a request of this size can never run.
    #[must_use]
    pub fn queue(&self, request: SimRequest) -> Option<Tokens> {
        let mut state = self.0.state.borrow_mut();
        if !state.scheduler.can_ever_run(request) {
            return None;
        }
        let (send, receive) = unbounded_channel();
        let id = state.next;
        state.next += 1;
        state.scheduler.add(id, request);
        state.listeners.insert(id, send);
        self.0.work.notify_one();
        Some(Tokens { id, receive, engine: self.clone() })
    }

    /// Numbers of waiting sequences, of running sequences, and of KV tokens in use.
    #[must_use]
    pub fn load(&self) -> (usize, usize, u64) {
        self.0.state.borrow().scheduler.load()
    }

    /// What became of drafts so far; `None` without speculative decoding.
    #[must_use]
    pub fn drafts(&self) -> Option<DraftCounts> {
        self.0.state.borrow().scheduler.drafts()
    }

    async fn run(self, time: StepTime) {
        let mut end = Instant::now();
        loop {
            let step = self.0.state.borrow_mut().scheduler.step();
            let Some((batch, tokens)) = step else {
                self.0.work.notified().await;
                end = end.max(Instant::now());
                continue;
            };
            end += Duration::from_secs_f64(time.micros(batch) / 1e6);
            sleep_until(end).await;
            let state = &mut *self.0.state.borrow_mut();
            for token in tokens {
                let listener = state.listeners.get(&token.id);
                // A listener that was dropped has cancelled its request.
                let _ = listener.map(|send| send.send(token));
                if token.last {
                    state.listeners.remove(&token.id);
                }
            }
        }
    }
}

impl Tokens {
    /// Waits for the tokens of the next step; `None` after the last ones.
    pub async fn next(&mut self) -> Option<StepTokens> {
        self.receive.recv().await
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let mut state = self.engine.0.state.borrow_mut();
        if state.listeners.remove(&self.id).is_some() {
            state.scheduler.cancel(self.id);
        }
    }
}
