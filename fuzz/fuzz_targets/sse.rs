//! An answer, cut into reads at any byte: the same events whatever the cuts, and no event larger than the limit.
#![no_main]

#[path = "../../tests/fuzz/sse.rs"]
mod sse;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sse::run(data));
