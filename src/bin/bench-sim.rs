//! bench-sim: a simulated OpenAI-compatible serving engine.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::sim::main()
}
