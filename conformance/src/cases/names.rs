//! Names: any text, and never two names for one lock.

use tenure_core::Name;

use crate::case::cases;
use crate::ctx::{Ctx, denied};
use crate::failure::{Outcome, check};

cases! {
    names_of_any_length_are_taken defects [13] breaks [RefusesLongNames];
    names_that_look_alike_are_different_locks defects [19] breaks [FoldsCase, TrimsNames];
    names_with_odd_characters_are_different_locks defects [19, 20] breaks [CutsAtNul];
    names_like_paths_are_different_locks defects [19] breaks [NormalisesPaths];
    long_names_that_differ_late_are_different_locks defects [13, 19] breaks [TruncatesNames];
    names_like_shortened_names_are_different_locks defects [20] breaks [MistakesShortenedNames];
    joined_segments_make_different_names defects [20] breaks [UnescapesSegments];
    other_cases_and_lengths_are_released_apart rows [6] defects [19] breaks [FoldsCase];
}

/// All of them are held at once, and each is taken for itself.
fn all_different(ctx: &Ctx, names: &[String]) -> Outcome {
    let mut held = Vec::new();
    for name in names {
        match ctx.subject.lock(name).try_acquire() {
            Ok(taken) => held.push(taken),
            Err(error) if error.is_contended() => {
                let short: String = name.chars().take(80).collect();
                return Err(crate::failure::Failure::new(format!(
                    "expected {short:?} to be a lock of its own, saw that another name's is in the way"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for name in names {
        denied(ctx.subject.lock(name).try_acquire(), "a name that is held")?;
    }
    for held in held {
        held.release()?;
    }
    for name in names {
        ctx.subject.lock(name).try_acquire()?.release()?;
    }
    Ok(())
}

fn names_of_any_length_are_taken(ctx: &Ctx) -> Outcome {
    // One byte is not a name of this case alone, but nobody else takes it.
    let mut names = vec!["\u{1}".to_owned()];
    let start = ctx.name();
    for length in [64, 100, 128, 200, 249, 250, 251, 255, 256, 300, 767, 1024, 4096, Name::MAX_LEN] {
        names.push(format!("{start}{}", "n".repeat(length - start.len().min(length))));
    }
    for name in &mut names[1..] {
        name.truncate(Name::MAX_LEN);
    }
    names.sort();
    names.dedup();
    all_different(ctx, &names)
}

fn names_that_look_alike_are_different_locks(ctx: &Ctx) -> Outcome {
    let start = ctx.name();
    let endings = [
        "",
        " ",
        "  ",
        "\t",
        "\n",
        "\u{a0}",
        "s",
        "S",
        "\u{df}",
        "ss",
        "\u{17f}",
        "\u{e9}",
        "e\u{301}",
        "e",
        "\u{212b}",
        "\u{c5}",
        "A\u{30a}",
        "i",
        "I",
        "\u{131}",
        "\u{130}",
        "\u{3c3}",
        "\u{3c2}",
        "\u{3a3}",
        "\u{ff41}",
        "a",
        "\u{1f512}",
        "\u{200b}",
        "\u{feff}",
        "\u{202e}",
        "1",
        "\u{ff11}",
        "01",
        "1.0",
    ];
    let mut names: Vec<_> = endings.iter().map(|ending| format!("{start}{ending}")).collect();
    names.push(format!(" {start}"));
    names.push(start.to_uppercase());
    all_different(ctx, &names)
}

fn names_with_odd_characters_are_different_locks(ctx: &Ctx) -> Outcome {
    let start = ctx.name();
    let endings = [
        "\0",
        "\0\0",
        "\u{1}",
        "\r",
        "\r\n",
        "\u{7f}",
        "{a}",
        "{b}",
        "{",
        "}",
        "{}",
        ":",
        "%3A",
        "%3a",
        "%",
        "%25",
        "\\",
        "/",
        "'",
        "\"",
        "`",
        "*",
        "?",
        "[a]",
        "%s",
        "_",
        "-",
        ".",
        "~",
        "+",
        " +",
        "\u{85}",
        "\u{2028}",
        "\u{fffd}",
        "\u{10ffff}",
        "$(true)",
        "; drop table locks",
        "<>|&",
    ];
    let mut names: Vec<_> = endings.iter().map(|ending| format!("{start}{ending}")).collect();
    names.extend(endings.iter().map(|middle| format!("{start}{middle}x")));
    all_different(ctx, &names)
}

fn names_like_paths_are_different_locks(ctx: &Ctx) -> Outcome {
    let start = ctx.name();
    let mut names: Vec<_> =
        ["", "/", "//", "/.", "/..", "/a", "/a/", "/./a", "/b/../a", "\\a", ".lock", ".tmp", "."]
            .iter()
            .map(|ending| format!("{start}{ending}"))
            .collect();
    let special =
        [".", "..", "/", "../x", "./x", "/x", ".x", "x", "-x", "--", "con", "NUL", "lost+found", "~"];
    names.extend(special.map(str::to_owned));
    all_different(ctx, &names)
}

fn long_names_that_differ_late_are_different_locks(ctx: &Ctx) -> Outcome {
    let start = ctx.name();
    let mut names = Vec::new();
    for length in [200, 250, 300, 1000, 8000, 60_000] {
        let common = "c".repeat(length);
        names.extend(["", "x", "y", "X", " "].map(|end| format!("{start}{common}{end}")));
    }
    all_different(ctx, &names)
}

fn names_like_shortened_names_are_different_locks(ctx: &Ctx) -> Outcome {
    use tenure_core::Limits;

    let (start, prefix) = (ctx.name(), ctx.subject.prefix().to_owned());
    let mut names = vec![format!("{start}{}", "l".repeat(400)), format!("{start} odd"), format!("{start}~")];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:~".contains(&byte);
    for most in [100, 200, 250, 255] {
        for index in 0..3 {
            let fitted = Limits::new(most, plain).fit(&format!("{prefix}{}", names[index]));
            // As a key of its own, and as what a prefix makes of it.
            names.push(fitted.as_str().to_owned());
            names.push(fitted.as_str().trim_start_matches(prefix.as_str()).to_owned());
        }
    }
    names.sort();
    names.dedup();
    all_different(ctx, &names)
}

fn joined_segments_make_different_names(ctx: &Ctx) -> Outcome {
    let start = ctx.name();
    let segments: [&[&str]; 8] = [
        &["shop", "order", "7"],
        &["shop:order", "7"],
        &["shop", "order:7"],
        &["shop:order:7"],
        &["shop", "order", "7", ""],
        &["shop", "", "order", "7"],
        &["shop%3Aorder", "7"],
        &["shop%3aorder", "7"],
    ];
    let mut names = Vec::new();
    for segments in segments {
        names.push(Name::join([start.as_str()].iter().chain(segments))?.to_string());
    }
    all_different(ctx, &names)
}

fn other_cases_and_lengths_are_released_apart(ctx: &Ctx) -> Outcome {
    let start = ctx.name();
    let names = ["Foo", "fOO", "s", "s ", "e\u{301}", "\u{e9}"].map(|ending| format!("{start}{ending}"));
    let mut held = Vec::new();
    for name in &names {
        held.push(ctx.subject.lock(name).try_acquire()?);
    }
    for (index, taken) in held.into_iter().enumerate() {
        taken.release()?;
        for name in &names[index + 1..] {
            denied(ctx.subject.lock(name).try_acquire(), "a name whose likeness was released")?;
        }
    }
    let free = names.iter().filter(|name| ctx.subject.lock(*name).try_acquire().is_ok()).count();
    check!(free == names.len(), "expected {} free names, saw {free}", names.len());
    Ok(())
}
