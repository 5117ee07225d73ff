//! The states of one server, in the order in which they are entered, and the time limit of each.
//!
//! ```text
//! preflight ─ starting ─ probing ─ ready ─ leased ─ stopping ─ released
//!     └───────────┴─────────┴────────┴────────┴─ failed ─┘
//! ```

use std::time::{Duration, Instant};

use crate::rows::kinds::{LifecycleStage, ServerState};

/// The states that a server has entered so far.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    begun: Instant,
    stages: Vec<LifecycleStage>,
}

impl Lifecycle {
    /// Begins with the checks before the start.
    #[must_use]
    pub fn begin() -> Self {
        let mut lifecycle = Self { begun: Instant::now(), stages: Vec::new() };
        lifecycle.enter(ServerState::Preflight, None);
        lifecycle
    }

    /// Enters a state that may last as long as `limit`; no effect if it is already in that state.
    pub fn enter(&mut self, state: ServerState, limit: Option<Duration>) {
        if self.stages.last().is_some_and(|stage| stage.state == state) {
            return;
        }
        self.stages.push(LifecycleStage {
            state,
            at_ms: rounded_ms(self.begun.elapsed()),
            limit_ms: limit.map(rounded_ms),
        });
    }

    /// The states so far, for the row.
    #[must_use]
    pub fn stages(&self) -> Vec<LifecycleStage> {
        self.stages.clone()
    }
}

/// Milliseconds, rounded to three decimals.
fn rounded_ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
