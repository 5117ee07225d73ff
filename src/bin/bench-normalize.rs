//! bench-normalize.

fn main() {}
