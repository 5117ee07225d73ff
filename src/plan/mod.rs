//! Plans: which keys there are, what they may hold, what is wrong with one.
