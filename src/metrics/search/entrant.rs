//! How a candidate enters the first of two stages.

/// Steps of the ladder within which short runs do not tell loads from each other: 10 %.
pub const RUNG: usize = 4;

/// How a candidate begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrant {
    /// No load of its framework is known.
    First,
    /// At the bar, the best load known of its framework.
    AtBar,
}
