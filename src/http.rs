//! One streaming HTTP client for probes and load: bytes in, stamped chunks out.
