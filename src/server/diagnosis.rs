//! Why a server is not what it should be: by its log where that tells, else by its end.

use std::time::{Duration, Instant};

use super::Failed;
use super::child::Child;
use super::launch::Launch;
use crate::diagnose::{Diagnosis, Patterns};
use crate::framework::Phase;
use crate::schema::{Exit, Status};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a server whose log says that it failed is given to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Launch {
    /// A line in the log that says that it will never be ready, although its first process may live on.
    pub(super) async fn fatal(&self, child: &mut Child, patterns: &Patterns, looked: &mut Looked) -> Option<Failed> {
        // A log may be long and the patterns are many: only what is new, and not at every probe.
        let lines = child.log.lines();
        if lines == looked.lines || looked.at.elapsed() < LOOK_EVERY {
            return None;
        }
        *looked = Looked { lines, at: Instant::now() };
        if diagnosed(child, patterns, Phase::Starting).is_some() {
            // Most servers end by themselves after such a line; then the exit status is known too.
            let _ = tokio::time::timeout(LAST_WORDS, child.ended()).await;
            return Some(self.died(child, patterns).await);
        }
        None
    }

    /// Why a server died, by its log if that tells, else by its exit.
    pub(super) async fn died(&self, child: &mut Child, patterns: &Patterns) -> Failed {
        // The log's last lines may still be in the pipe.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.diagnosis(child, patterns, "server_died", Phase::Starting)
    }

    /// Why a process without which the server does not work has gone, by the log if that tells.
    pub async fn lost_worker(&self, child: &mut Child, patterns: &Patterns, worker: &str, phase: Phase) -> Failed {
        // When all of a server goes, its workers may go first.
        if tokio::time::timeout(LAST_WORDS, child.ended()).await.is_ok() {
            return self.diagnosis(child, patterns, "server_died", phase);
        }
        let found = self.diagnosis(child, patterns, "worker_died", phase);
        Failed { reason: format!("the worker process {worker} has gone: {}", found.reason), ..found }
    }

    /// The diagnosis of a server that is not what it should be, with `class` where the log says nothing.
    #[must_use]
    pub fn diagnosis(&self, child: &Child, patterns: &Patterns, class: &str, phase: Phase) -> Failed {
        let how = match child.exit {
            Some(Exit { code: Some(code), .. }) => format!("the server exited with status {code}"),
            Some(Exit { signal: Some(9), .. }) => "the server was killed by signal 9".into(),
            Some(Exit { signal: Some(signal), .. }) => {
                format!("the server was ended by signal {signal}")
            }
            _ => "the server does not go on".into(),
        };
        let killed = child.exit.is_some_and(|exit| exit.signal == Some(9) || exit.code == Some(137));
        match diagnosed(child, patterns, phase) {
            Some(found) => Failed {
                status: found.status,
                ..Failed::of(&found.class, format!("{how}: {:?}: {}", found.line, found.advice))
            },
            // Nobody here sends SIGKILL to a server that is not being stopped: it is the kernel, out of memory.
            None if killed => {
                let why = format!(
                    "{how}, as the kernel does when the host's memory is used up (see dmesg): load less, or give it more memory"
                );
                Failed { status: Status::Oom, ..Failed::of("host_oom", why) }
            }
            None => {
                let last = child.log.look(|tail| tail.iter().rev().find(|line| !line.trim().is_empty()).cloned());
                let last: String = last.as_deref().unwrap_or("nothing").chars().take(300).collect();
                Failed::of(class, format!("{how}; its last line is {last:?}; see {}", self.log.display()))
            }
        }
    }
}

/// How far the log was looked at, and when.
pub(super) struct Looked {
    pub lines: u64,
    pub at: Instant,
}

fn diagnosed(child: &Child, patterns: &Patterns, phase: Phase) -> Option<Diagnosis> {
    child.log.look(|tail| patterns.diagnose(tail.iter().map(String::as_str), phase))
}
