//! Statistics over repeats.
