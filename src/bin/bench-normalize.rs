//! bench-normalize: turn recorded runs into result rows.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::normalize::main()
}
