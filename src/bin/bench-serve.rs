//! bench-serve.

fn main() {}
