//! What the compiler says about mistakes in the use of `tenure`: one mistake per file in `tests/`, and the
//! message beside it.
//!
//! `TRYBUILD=overwrite cargo test -p tenure-ui` writes the messages anew; read each of them before it is
//! kept. Does it point at the mistake, and say what to do?
