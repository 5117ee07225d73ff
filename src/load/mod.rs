//! bench-load: drive one workload against one leased server and record what happened to every request.

pub mod builder;
pub mod check;
mod checker;
mod command;
mod copies;
mod count;
pub mod dataset;
mod dataset_cache;
mod driver;
mod events;
mod flight;
mod health;
mod import_client;
mod jobs;
mod launch;
mod leased_server;
mod loader;
mod news;
mod options;
mod outcome;
pub mod pace;
mod partners;
mod recorder;
pub mod request;
mod run;
pub mod schedule;
mod search;
mod send_schedule;
mod sender;
mod stop;
pub mod target;
mod workers;
pub mod workload;

pub use self::loader::load;
pub use self::options::{CheckOptions, DatasetReader, LoadOptions};
