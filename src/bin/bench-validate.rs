//! bench-validate: check plans and turn them into plan rows.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::validate::main()
}
