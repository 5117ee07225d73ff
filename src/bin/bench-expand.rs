//! bench-expand: turn plans into candidates, the baseline first.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::expand::main()
}
