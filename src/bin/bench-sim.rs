//! bench-sim.

fn main() {}
