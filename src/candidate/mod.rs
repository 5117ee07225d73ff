//! Candidates: the baseline first, then the bounded product of the search space.
