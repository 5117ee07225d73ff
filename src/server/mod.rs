//! bench-serve: start one server, prove that it is ready, lease it, stop it completely.
