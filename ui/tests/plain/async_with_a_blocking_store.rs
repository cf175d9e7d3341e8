use tenure::{Attempt, Backend, Claim, Release, Renewal, Result, Site};

#[derive(Clone)]
struct Blocking;

impl Backend for Blocking {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        unimplemented!()
    }

    fn try_acquire(&self, _: &Claim) -> Result<Attempt<()>> {
        unimplemented!()
    }

    fn renew(&self, _: Renewal<'_, ()>) -> Result<()> {
        unimplemented!()
    }

    fn release(&self, _: Release<'_, ()>) -> Result<()> {
        unimplemented!()
    }
}

async fn job() -> Result<()> {
    tenure::aio::Lock::new(Blocking, "job").acquire().await?.release().await
}

fn main() {}
