//! SLA limits: parsing their names, testing a summary against them.
