//! serving-bench: which command should I deploy this model with?
//!
//! Small programs pass JSONL rows to each other, and bench-sweep runs them all:
//!
//! ```text
//! plan.yaml ─ bench-validate ─ bench-expand ─ bench-serve ─ bench-load ─ bench-normalize ─ bench-rank ─ report
//!              plan rows      candidate rows   server rows   run, request    result rows
//!                                                │  ▲          run_end rows
//!                                                ▼  │ lease
//!                                       the server under test (bench-sim is one)
//! ```
//!
//! The rooms, from the ground up. A room uses only rooms above it in this list, and no program's room uses another one's;
//! `tests/it/layers.rs` has the exact arrows.
//!
//! ```text
//! base       errors, exit statuses, notices, YAML, quoting, digests, random numbers, redaction
//! rows       what crosses the pipe: reader, writer, kinds/ (one file per row kind), words/ (every word a program acts on), units
//! engines    the differences between frameworks: definitions, launchers, help, versions, failures, GPUs, protocol/
//! metrics    from requests to figures: timing, samples, percentiles, SLA limits, stability, comparison, rate search, answers
//! plan       a plan file, its checks, and expand/: from a plan to candidates
//! system     processes, signals, HTTP, the lease: what several programs need of the operating system
//! serve      bench-serve: prepare, start, probe, lease, stop
//! load       bench-load: datasets, prompts, schedules, requests, rate search, checks of answers
//! sim        bench-sim: the simulated engine
//! normalize  bench-normalize: runs to results; import/ reads the results of other clients
//! rank       bench-rank: groups, trials, order, decisions
//! report     a ranking as Markdown, terminal tables, HTML, CSV and rows
//! flags      the command lines, clap only
//! programs   one use case per program; src/bin only calls them
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test stops at what it did not expect"))]

pub mod base;
pub mod engines;
pub mod flags;
pub mod load;
pub mod metrics;
pub mod normalize;
pub mod plan;
pub mod programs;
pub mod rank;
pub mod report;
pub mod rows;
pub mod serve;
pub mod sim;
pub mod system;
