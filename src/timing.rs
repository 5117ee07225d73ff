//! TTFT, TPOT, ITL and E2E of one request.
