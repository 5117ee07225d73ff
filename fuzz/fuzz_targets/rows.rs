//! Lines of rows: read, folded to results, ranked and reported.
#![no_main]

#[path = "../../tests/fuzz/rows.rs"]
mod rows;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rows::run(data));
