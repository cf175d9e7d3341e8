//! What a lock in memcached costs: `cargo bench --package tenure-bench-memcached`.
//!
//! Every line is a ratio of two medians that were measured in turn, in one run, on one server that the
//! program starts for itself. Sections can be chosen: `.. --bench memcached -- pairs handoff waiting`.
