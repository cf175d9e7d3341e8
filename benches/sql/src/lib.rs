//! What a lock in a database costs: `cargo bench --package tenure-bench-sql`.
//!
//! Every line is a ratio of two medians that were measured in turn, in one run, on a SQLite file and on servers of
//! PostgreSQL and MariaDB that the program starts for itself. Sections and databases can be chosen:
//! `.. --bench sql -- pairs handoff sqlite`.
