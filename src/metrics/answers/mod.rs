//! Whether a server's answers are right: extraction, the paired test against a reference, shape, and the verdict.

mod extract;
mod mcnemar;
mod shape;
mod unpaired;
mod verdict;

pub use self::extract::{is_right, spoken};
pub use self::mcnemar::{PairedAnswers, SIGNIFICANCE, losing_p};
pub use self::shape::{agreement, is_repeated, warnings};
pub use self::unpaired::lower_share_p;
pub use self::verdict::{answer_quality, cross_talk, not_checked, short};
