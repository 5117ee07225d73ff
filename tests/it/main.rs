//! All integration tests, in one crate: one link.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cases;
mod cookbook;
mod example;
mod expand;
mod flags;
mod harness;
mod launchers;
mod layers;
mod load;
mod man;
mod native;
mod pipeline;
mod podman;
mod preflight;
mod rank;
mod schemas;
mod secrets;
mod serve;
mod truth;
mod workloads;
mod zoo;
