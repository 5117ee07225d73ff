//! bench-validate.

fn main() {}
