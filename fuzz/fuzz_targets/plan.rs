//! A plan file: checked, and expanded if it is valid.
#![no_main]

#[path = "../../tests/fuzz/plan.rs"]
mod plan;

libfuzzer_sys::fuzz_target!(|data: &[u8]| plan::run(data));
