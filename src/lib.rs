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

pub mod cli;
pub mod report;

pub mod http;
pub mod lease;
pub mod load;
pub mod process;
pub mod server;
pub mod sim;

pub mod answer;
pub mod attempt;
pub mod candidate;
pub mod dataset;
pub mod diagnose;
pub mod digest;
pub mod exposition;
pub mod framework;
pub mod gpu;
pub mod help;
pub mod launcher;
pub mod normalize;
pub mod plan;
pub mod rank;
pub mod release;
pub mod schedule;
pub mod search;
pub mod shell;
pub mod sla;
pub mod sse;
pub mod statistics;
pub mod steady;
pub mod summary;
pub mod timing;
pub mod workload;

pub mod jsonl;
pub mod row;
pub mod schema;
pub mod yaml;

pub mod error;
pub mod exit;
pub mod notice;
pub mod pattern;
pub mod redact;
pub mod units;
