//! Names are compared byte by byte.

use tenure_core::{Kind, Name};

use super::Covers::{Defect, Row};
use super::{Case, refused};
use crate::failure::ensure;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "the_empty_name_is_refused",
        covers: &[],
        needs: &[],
        run: |context| {
            refused(context.store().lock("").try_acquire(), Kind::InvalidName)?;
            refused(context.store().lock("").acquire(), Kind::InvalidName)?;
            Ok(())
        },
    },
    Case {
        name: "names_of_any_length_up_to_64_kib_lock",
        covers: &[Defect(13)],
        needs: &[],
        run: |context| {
            let own = context.name("");
            for length in
                [1, 63, 64, 65, 190, 199, 200, 201, 250, 251, 255, 256, 300, 4096, Name::MAX_LEN - own.len()]
            {
                let name = own.clone() + &"n".repeat(length);
                let lock = context.store().lock(&name);
                let held = lock.try_acquire()?;
                refused(lock.try_acquire(), Kind::Contended)?;
                let longer = own.clone() + &"n".repeat(length - 1) + "m";
                context.store().lock(&longer).try_acquire()?.release()?;
                held.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "a_name_beyond_64_kib_is_refused",
        covers: &[Defect(13)],
        needs: &[],
        run: |context| {
            refused(context.store().lock(&"n".repeat(Name::MAX_LEN + 1)).try_acquire(), Kind::InvalidName)?;
            Ok(())
        },
    },
    Case {
        name: "names_that_look_alike_are_different_locks",
        covers: &[Row(6), Defect(19), Defect(20)],
        needs: &[],
        run: |context| {
            let alike = [
                "foo",
                "Foo",
                "FOO",
                "foo ",
                " foo",
                "foo\n",
                "foo\0",
                "foo\0\0",
                "\u{e9}",
                "e\u{301}",
                "\u{df}",
                "ss",
                "a:b",
                "a%3Ab",
                "a::b",
                "a{b}",
                "{a}b",
                "a}b",
                "{}",
                "..",
                ".",
                "/",
                "a/b",
                "a\\b",
                "a~b",
                "a-b",
                "\u{1}",
                "\u{7f}",
                "*",
                "?",
                "%",
                "%25",
                "'",
                "\"",
                "\u{202e}x",
                "0",
                "00",
                "-",
                "--help",
                "lock:foo",
                "\u{fffd}",
            ];
            let mut held = Vec::new();
            for name in alike {
                let lock = context.store().lock(&context.name(name));
                let one = lock.try_acquire();
                ensure!(one.is_ok(), "{name:?} is no lock of its own: {one:?}");
                refused(lock.try_acquire(), Kind::Contended)?;
                held.push(one?);
            }
            for one in held {
                one.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "names_shorter_than_any_other_lock",
        covers: &[],
        needs: &[],
        run: |context| {
            // Not of this case's own: nobody else uses names of one character.
            for name in ["a", "A", ".", "/", "\0", " ", "\u{10ffff}"] {
                let lock = context.store().lock(name);
                let held = lock.try_acquire()?;
                refused(lock.try_acquire(), Kind::Contended)?;
                held.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "a_shortened_name_cannot_be_imitated",
        covers: &[Defect(20)],
        needs: &[],
        run: |context| {
            let long = context.name(&"n".repeat(1000));
            let held = context.store().lock(&long).try_acquire()?;
            // What the store may have made of it, as a name of its own.
            let key = format!("lock:{long}");
            for room in [64, 128, 200, 220, 250, 255] {
                let fitted = tenure_core::Limits::new(room.max(65), |byte| byte.is_ascii_graphic()).fit(&key);
                context.store().lock(fitted.as_str()).try_acquire()?.release()?;
            }
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "names_joined_from_parts_never_meet",
        covers: &[Defect(20)],
        needs: &[],
        run: |context| {
            let own = context.name("x");
            let parts: [&[&str]; 5] = [&["a", "b"], &["a:b"], &["a", "", "b"], &["a%3Ab"], &["a", "b", ""]];
            let mut held = Vec::new();
            for parts in parts {
                let name = Name::join(std::iter::once(own.as_str()).chain(parts.iter().copied()));
                held.push(context.store().lock_named(name).try_acquire()?);
            }
            for one in held {
                one.release()?;
            }
            Ok(())
        },
    },
    Case {
        name: "the_prefix_stands_before_the_name",
        covers: &[Row(1)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let held = context.store().lock(&name).try_acquire()?;
            let bare = context.reopen_with(|settings| settings.with_prefix(""))?;
            refused(bare.lock(&format!("lock:{name}")).try_acquire(), Kind::Contended)?;
            bare.lock(&name).try_acquire()?.release()?;
            held.release()?;
            Ok(())
        },
    },
    Case {
        name: "another_prefix_is_another_lock_and_each_is_released_under_its_own",
        covers: &[Row(2)],
        needs: &[],
        run: |context| {
            let name = context.name("x");
            let other = context.reopen_with(|settings| settings.with_prefix("other:"))?;
            let (ours, theirs) = (context.store().lock(&name), other.lock(&name));
            let (mine, yours) = (ours.try_acquire()?, theirs.try_acquire()?);
            mine.release()?;
            refused(theirs.try_acquire(), Kind::Contended)?;
            ours.try_acquire()?.release()?;
            yours.release()?;
            theirs.try_acquire()?.release()?;
            Ok(())
        },
    },
];
