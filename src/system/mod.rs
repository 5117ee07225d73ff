//! Processes, signals, sockets and HTTP: what several programs need of the operating system.

pub mod claims;
pub mod clock;
pub mod eta;
pub mod file_age;
pub mod folder_lock;
pub mod http;
pub mod lease;
pub mod lock_file;
pub mod meeting;
pub mod process;
pub mod run_folder;
pub mod secret_file;
pub mod special_file;
pub mod stop_file;
pub mod stopwatch;
pub mod whole_file;
