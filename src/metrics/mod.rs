//! From requests to figures: timing, samples, percentiles, SLA limits, stability, comparison, search, answers, drafts.

pub mod acceptance;
pub mod answers;
pub mod compare;
pub mod nodes;
pub mod sample;
pub mod search;
pub mod sla;
pub mod slots;
pub mod stability;
pub mod timing;
