//! Models of what threads and tasks do to each other in `tenure`: the queue of locks in local memory,
//! the waiting lines of a process, renewal and loss, with everybody giving up at any point.
//!
//! ```text
//! cargo xtask models                        # each model for two seconds
//! cargo xtask models --seconds 60 queue::   # some models for a minute each
//! cargo xtask models --iterations 100000    # or by the number of schedules
//! cargo xtask models --schedule 9102.. loss::a_release_tells_of_a_loss_or_comes_before_it
//! ```
//!
//! A model is a short program with threads, and an assertion about their common outcome. `shuttle`
//! runs it again and again, and at every step that another thread could notice it draws which one
//! goes on. What fails is an assertion, a panic, a deadlock, which is how a lost wake-up shows, or a
//! program without an end. A failure prints its schedule; `--schedule` repeats exactly that one, as
//! often as needed, with `dbg!` and backtraces (`SHUTTLE_CAPTURE_BACKTRACE=1` for those of a
//! deadlock) in place.
//!
//! # What is modelled
//!
//! Core and local memory as they are: built with `--cfg tenure_shuttle`, they take their mutexes,
//! condition variables, atomics, threads, clock and random numbers from
//! `tenure_core::sync::modelled`. There time stands still until a model moves it, at a moment that
//! is as bad as the schedule likes, and a thread that sleeps is woken by its wake-up or its time and by
//! nothing else. The threads of the renewal engine, of a store's lane and of callbacks run as well.
//! Every schedule begins with a process of its own.
//!
//! Network stores are played by one of the models' own, with several processes, slow requests,
//! answers that get lost and news that travel.
//!
//! # What is not
//!
//! Atomics weaker than `SeqCst`: the scheduler knows one order of things for all threads. The few
//! that core and local memory have are listed, with the reason why each needs no more, in
//! `tests/orderings.rs`, which fails when there is one more. Everything else is behind mutexes or
//! `SeqCst`, and none of it is unsafe, so there is nothing left that a checker of weak memory such as
//! `loom` could find; it would only take the models' size, since it tries *all* schedules.
//!
//! Schedules are drawn, not enumerated: what holds here was looked for, not proved.
