//! The differences between serving frameworks, as data: definitions, launchers, help, versions, failures, protocols.

pub mod architecture;
pub mod diagnose;
pub mod framework;
pub mod gpu;
pub mod gpu_model;
pub mod help;
pub mod help_flags;
pub mod launcher;
pub mod prometheus;
pub mod protocol;
pub mod version;
