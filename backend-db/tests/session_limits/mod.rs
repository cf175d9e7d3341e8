//! What a lock that is a connection cannot do.

use tenure_conformance::Suite;

/// The contract but for that.
pub(crate) fn but_for_limits(suite: Suite) -> Suite {
    EXEMPT.iter().fold(suite, |suite, (case, why)| suite.exempt(*case, *why))
}

const EXEMPT: &[(&str, &str)] = &[
    ("two_thousand_other_locks_evict_nothing", MANY),
    ("a_released_name_stays_taken_as_long_as_was_asked", KEPT),
    ("a_dropped_name_stays_taken_as_long_as_was_asked", KEPT),
    ("a_kept_name_opens_afterwards", KEPT),
    ("a_waiter_gets_a_kept_name", KEPT),
    ("a_name_is_kept_when_its_process_ends", KEPT),
    ("a_denial_says_what_is_left_of_the_lease", ANONYMOUS),
    ("a_denied_attempt_does_not_lengthen_the_lease", DETACHED),
    ("one_of_many_threads_wins_an_expired_name", DETACHED),
    ("one_of_many_processes_wins_an_expired_name", DETACHED),
    ("any_combination_of_options_is_released", DETACHED),
    ("a_lock_left_unreleased_stays_until_its_lease_ends", DETACHED),
    ("a_lock_can_be_left_unreleased_by_the_settings", DETACHED),
    ("the_settings_lease_is_what_a_crash_leaves", DETACHED),
    ("a_lock_can_outlive_its_process", DETACHED),
];

const ANONYMOUS: &str = "the server does not say for how long it has a lock for whom";
const MANY: &str = "so many connections no server has";
const KEPT: &str = "a connection that is closed keeps nothing";
const DETACHED: &str = "a connection ends with its process";
