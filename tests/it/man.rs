//! The man pages are those of the clap definitions. `BLESS=1` rewrites them.
