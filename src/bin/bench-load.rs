//! bench-load: drive one workload against each leased server and record every request.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::load::main()
}
