//! Processes and signals: the guard, process groups, `/proc`, and how a program dies.

pub mod guard;
pub mod proc;
pub mod signals;
