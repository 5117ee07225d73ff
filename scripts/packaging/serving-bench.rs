//! serving-bench: all programs in one file; the name by which it is called says which of them runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    serving_bench::programs::one_file::main()
}
