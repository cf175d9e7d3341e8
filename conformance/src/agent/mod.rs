//! Other processes: the test program runs itself again, as agents that open the same store and do
//! as they are told, line by line.

mod command;
mod controller;
mod fork;
mod obey;
mod signal;

pub(crate) use command::{Answer, Command, ForkDeed, Seen, Turn, Wait, kind_text};
pub(crate) use controller::Agent;
pub(crate) use obey::{asked, obey_if_asked};

/// The variable that makes the test program an agent; what it holds says which suite's.
const ROLE: &str = "TENURE_CONFORMANCE_AGENT";
