//! bench-sim: an OpenAI-compatible engine that simulates continuous batching on one GPU.
