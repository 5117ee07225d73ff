//! Own runs to result rows: fold a stream of `server`, `run`, `request`, `run_end`, `server_end`.
