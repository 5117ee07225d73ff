//! bench-load.

fn main() {}
