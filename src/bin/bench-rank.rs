//! bench-rank.

fn main() {}
