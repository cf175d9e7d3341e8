//! What a store's settings do to its locks.

use std::time::Duration;

use tenure_core::{Kind, Moment};

use crate::case::cases;
use crate::ctx::{Ctx, SOON, denied, free_within, refused};
use crate::failure::{Outcome, check};
use crate::subject::Options;

cases! {
    the_default_prefix_is_lock rows [1] breaks [IgnoresTheSettings];
    another_prefix_makes_other_locks rows [1, 2] breaks [LeavesOutThePrefix];
    a_key_is_the_prefix_and_the_name rows [1] breaks [SeparatesThePrefix];
    a_held_lock_is_released_under_its_own_prefix rows [2] breaks [ReleasesUnderTheLatestPrefix];
    the_settings_limit_lifetimes rows [15] breaks [IgnoresTheSettings];
    the_settings_lease_is_what_a_crash_leaves rows [15] defects [11] breaks [IgnoresTheSettings];
}

fn the_default_prefix_is_lock(ctx: &Ctx) -> Outcome {
    let seen = ctx.subject.prefix();
    check!(seen == "lock:", "expected the prefix \"lock:\", saw {seen:?}");
    let other = ctx.open_with(ctx.settings().with_prefix("other:")?)?;
    let seen = other.prefix();
    check!(seen == "other:", "expected the prefix \"other:\", saw {seen:?}");
    Ok(())
}

fn another_prefix_makes_other_locks(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let held = ctx.subject.lock(&name).try_acquire()?;
    for prefix in ["", "other:", "LOCK:", "lock: "] {
        let subject = ctx.open_with(ctx.settings().with_prefix(prefix)?)?;
        let other = subject.lock(&name).try_acquire()?;
        denied(subject.lock(&name).try_acquire(), "a name held under another prefix")?;
        other.release()?;
    }
    denied(ctx.subject.lock(&name).try_acquire(), "a name after others were released under other prefixes")?;
    held.release()?;
    Ok(())
}

fn a_key_is_the_prefix_and_the_name(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let (short, long) = (
        ctx.open_with(ctx.settings().with_prefix("app:")?)?,
        ctx.open_with(ctx.settings().with_prefix("app:jobs:")?)?,
    );
    let bare = ctx.open_with(ctx.settings().with_prefix("")?)?;
    let held = long.lock(&name).try_acquire()?;
    denied(short.lock(format!("jobs:{name}")).try_acquire(), "the same key through a shorter prefix")?;
    denied(bare.lock(format!("app:jobs:{name}")).try_acquire(), "the same key without a prefix")?;
    held.release()?;
    bare.lock(format!("app:jobs:{name}")).try_acquire()?.release()?;
    Ok(())
}

fn a_held_lock_is_released_under_its_own_prefix(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    let before = ctx.open_with(ctx.settings().with_prefix("before:")?)?;
    let after = ctx.open_with(ctx.settings().with_prefix("after:")?)?;
    let held = before.lock(&name).try_acquire()?;
    let other = after.lock(&name).try_acquire()?;
    held.release()?;
    denied(after.lock(&name).try_acquire(), "a name held under the new prefix")?;
    before.lock(&name).try_acquire()?.release()?;
    other.release()?;
    Ok(())
}

fn the_settings_limit_lifetimes(ctx: &Ctx) -> Outcome {
    let limit = ctx.ttl() * 2;
    let settings = ctx.settings().with_lease(ctx.ttl())?.with_max_ttl(limit)?;
    let subject = ctx.open_with(settings)?;
    let lock = subject.lock(ctx.name());
    let longer = limit + Duration::from_millis(1);
    refused(lock.clone().ttl(longer).try_acquire(), Kind::Misconfigured, "a lifetime beyond the settings'")?;
    lock.clone().ttl(limit).try_acquire()?.release()?;
    Ok(())
}

fn the_settings_lease_is_what_a_crash_leaves(ctx: &Ctx) -> Outcome {
    let subject = ctx.open_with(ctx.short_lease()?)?;
    let lock = subject.lock_with(ctx.name(), Options { release_on_drop: Some(false), ..Options::default() });
    // What is dropped unreleased is not renewed any more.
    let began = Moment::now();
    drop(lock.try_acquire()?);
    free_within(&lock, ctx.ttl() + SOON, "a lock that nobody keeps alive any more")?.release()?;
    let took = Moment::now().since(began);
    check!(took >= ctx.ttl(), "expected the lease of {:?} to last, saw it over after {took:?}", ctx.ttl());
    Ok(())
}
