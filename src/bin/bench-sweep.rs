//! bench-sweep: run the whole benchmark, from plans to the report.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::sweep::main()
}
