//! The models know one order of all things. So what relies on less is listed here.

use std::path::Path;
use std::{fs, io};

/// Where atomics are used that are weaker than `SeqCst`, how often, and why that is enough.
const WEAKER: &[(&str, usize, &str)] = &[
    (
        "backend-locmem/src/entry.rs",
        3,
        "one counter; each access is a step of it, and two fences of one name \
      are drawn under the name's mutex",
    ),
    ("core/src/claim.rs", 3, "a hint for stores that lost their data; only ever raised"),
    ("core/src/observe/tally.rs", 6, "what is told to people; decides nothing"),
    ("core/src/site.rs", 2, "numbers that are only to differ; a look at a line that decides who is polite"),
];

#[test]
fn no_atomic_is_weaker_than_the_models_know() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is around it");
    let mut found = Vec::new();
    for folder in ["core/src", "backend-locmem/src"] {
        search(root, &root.join(folder), &mut found)?;
    }
    found.sort();
    let known: Vec<_> = WEAKER.iter().map(|(file, times, _)| ((*file).to_owned(), *times)).collect();
    assert_eq!(found, known, "model it with `SeqCst`, or say here why it needs less");
    Ok(())
}

fn search(root: &Path, folder: &Path, found: &mut Vec<(String, usize)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            search(root, &path, found)?;
            continue;
        }
        let text = fs::read_to_string(&path)?;
        // Unit tests stand last in their files.
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        let times = ["Relaxed", "Acquire", "Release", "AcqRel"]
            .iter()
            .map(|weaker| code.matches(&format!("Ordering::{weaker}")).count())
            .sum();
        if times > 0 {
            let file = path.strip_prefix(root).expect("it is below the root").to_string_lossy().into_owned();
            found.push((file, times));
        }
    }
    Ok(())
}
