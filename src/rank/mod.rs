//! The ranking of the source document, scenario by scenario.
