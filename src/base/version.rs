//! Which build this is.

/// The version and, if known, the commit: `0.1.0 (fdbb2a5)`.
pub const VERSION: &str = env!("BENCH_VERSION");

/// The commit, its first seven digits, with `-dirty` if the sources were changed after it; `None` if unknown.
pub const COMMIT: Option<&str> = option_env!("BENCH_COMMIT");
