//! serving-bench: which command should I deploy this model with?
//!
//! Seven small programs pass JSONL rows to each other:
//!
//! ```text
//! plan.yaml ─ bench-validate ─ bench-expand ─ bench-serve ─ bench-load ─ bench-normalize ─ bench-rank ─ report
//!              plan rows      candidate rows   server rows   run, request    result rows
//!                                                │  ▲          run_end rows
//!                                                ▼  │ lease
//!                                       the server under test (bench-sim is one)
//! ```
//!
//! A layer uses only those below it; `tests/it/layers.rs` holds the arrows.
//!
//! ```text
//! bin      src/bin/*.rs        parse, open streams, call one verb, return an exit status
//! face     cli report          clap, Markdown, tables, CSV
//! effects  server load sim http lease process      the only home of tokio, reqwest, nix, signal-hook
//! domain   plan framework launcher help candidate dataset workload schedule sse answer timing summary statistics sla normalize rank
//!          diagnose release shell digest gpu               pure: no I/O, no clock, no async
//! wire     yaml row jsonl schema                    the only home of serde_yaml and raw JSON
//! ground   exit error notice units pattern redact
//! ```
//!
//! No verb (candidate, server, load, sim, normalize, rank) uses another verb.

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
