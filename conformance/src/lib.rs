//! The contract of a tenure backend as a test suite.
