//! Workloads: prompts with exact token counts, seeded.
