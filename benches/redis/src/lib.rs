//! What a lock in Redis costs: `cargo bench --package tenure-bench-redis`.
//!
//! Every line is a ratio of two medians that were measured in turn, in one run, on one server that the
//! program starts for itself. Sections can be chosen: `.. --bench redis -- pairs handoff`.
