use tenure::{Files, Held, Lock};

struct Job<'a> {
    running: Lock<&'a Files, Held>,
}

fn main() {}
