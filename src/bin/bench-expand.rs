//! bench-expand.

fn main() {}
