//! Models.
#[cfg(all(test, tenure_shuttle))]
mod explore;
#[cfg(all(test, tenure_shuttle))]
mod queue;
#[cfg(all(test, tenure_shuttle))]
mod take_part;
