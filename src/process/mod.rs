//! Processes and signals: the guard, process groups, `/proc`, and how a program dies.
