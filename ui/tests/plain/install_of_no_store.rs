fn start() -> tenure::Result<()> {
    tenure::install("file:locks")
}

fn main() {}
