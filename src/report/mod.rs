//! Reports for people and for other tools, made from ranked results.
