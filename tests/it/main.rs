//! All integration tests in one crate, except the cases (`cases.rs`), each of which is a test of its own.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod check;
mod commands;
mod cookbook;
mod docs;
mod example;
mod expand;
mod findings;
mod flags;
mod gpus;
mod harness;
mod hostile;
mod imports;
mod launchers;
mod law;
mod layers;
mod load;
mod make;
mod man;
mod native;
mod nights;
mod nodes;
mod pipeline;
mod planted;
mod podman;
mod preflight;
mod rank;
mod schemas;
mod secrets;
mod serve;
mod stages;
mod sweep;
mod truth;
mod version;
mod workloads;
mod zoo;
