//! bench-rank: rank result rows and report the command to deploy.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::rank::main()
}
