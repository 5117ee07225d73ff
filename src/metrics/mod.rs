//! From requests to figures: timing, samples, percentiles, SLA limits, stability, comparison, rate search.

pub mod compare;
pub mod rate_search;
pub mod sample;
pub mod sla;
pub mod stability;
pub mod timing;
