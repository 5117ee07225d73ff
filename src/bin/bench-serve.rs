//! bench-serve: start each candidate's server, lease it, stop it completely.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::serve::main()
}
