//! The lease: the Unix socket through which bench-load holds the server that bench-serve owns.
