trait Ship {
    #[tenure::lock("order")]
    fn ship(&self) -> tenure::Result<()>;
}

fn main() {}
