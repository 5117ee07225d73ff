//! bench-load: drive one workload against one leased server and record what happened to every request.
