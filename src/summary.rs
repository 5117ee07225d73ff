//! From the requests of a run to its metrics.
