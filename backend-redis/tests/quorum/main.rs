//! What fails in a quorum of servers, and how little of it is noticed.

mod fences;
mod options;
mod outages;
mod support;
mod votes;

use std::process::ExitCode;

use fences::*;
use options::*;
use outages::*;
use tenure_servers as servers;
use votes::*;

fn main() -> ExitCode {
    let tests = servers::tests![
        any_one_of_three_is_killed_and_everything_goes_on,
        two_of_five_are_killed_and_everything_goes_on,
        with_two_of_three_killed_it_is_unavailable_quickly_and_recovers_by_itself,
        with_two_of_three_hanging_it_is_unavailable_in_time_and_nothing_stays_behind,
        a_server_that_is_down_or_hangs_costs_nothing_noticeable,
        servers_that_lose_their_data_one_by_one_lose_no_lock,
        a_lock_that_a_majority_has_forgotten_is_lost,
        what_a_minority_granted_is_taken_back,
        what_a_hanging_server_grants_late_is_taken_back,
        a_partial_acquisition_does_not_block_its_own_retry,
        votes_that_were_split_are_settled,
        an_answer_after_the_lease_is_none,
        a_waiter_is_told_by_any_server,
        scripts_that_the_servers_forgot_are_sent_again,
        a_forgotten_script_does_not_let_a_release_overtake_its_acquire,
        one_server_under_two_names_has_one_vote,
        with_a_guard_a_server_that_forgot_does_not_make_a_second_majority,
        a_profile_is_that_of_all_servers,
        what_lies_beside_a_lock_is_none,
        passwords_show_nowhere,
        fences_grow_over_any_majority,
        a_forced_fence_is_known_to_a_majority,
        a_lock_that_is_in_a_set_twice_is_found_out,
    ];
    servers::run("redis", tests)
}
