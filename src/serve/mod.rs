//! bench-serve: start one server, wait until it is ready, lease it, stop it completely.
//!
//! ```text
//! candidate row ─ prepare ─ start ─ probe ─ ready: server row ─ leased ─ stop ─ server_end row
//!                    └────────┴───────┴── failed: stop ─ server_end row on the whole candidate row
//! ```
//!
//! `slots` runs a copy of the program for each of several servers at the same time.
//! `supervisor` takes the candidates one by one; `launch` prepares a start, `start` waits until the server is ready,
//! `leased` watches it in use and stops it.

mod caches;
mod child;
mod diagnosis;
mod earlier;
mod events;
mod exec_per_server;
mod failure;
mod give_up;
mod gpu_locks;
mod gpus;
mod launch;
mod launch_commands;
mod leased;
mod lifecycle;
mod limits;
mod log;
mod manifest;
mod options;
mod packages;
mod preflight;
mod private_file;
mod probe;
mod probe_request;
mod ranks;
mod rows;
mod slot_use;
mod slots;
mod smoke;
mod start;
mod supervisor;
mod workers;

pub use self::earlier::EarlierStarts;
pub use self::options::{ServeOptions, SlotPlan};
pub use self::packages::package_version;
pub use self::supervisor::{ServeSummary, serve};
