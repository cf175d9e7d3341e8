use tenure::prelude::*;
use tenure::{Result, LocMem};
use std::time::Duration;

#[derive(Lockable, Clone)]
#[lockable(model = "shop.order", key = id)]
struct Order { id: i64, bar: String, pk: Option<u8> }

impl Order {
    fn reload(&mut self) -> Result<()> { self.bar = "new".into(); Ok(()) }

    #[tenure::lock_model(on = store)]
    fn a(&self, store: &LocMem) -> Result<&str> { if self.id == 0 { return Ok("x"); } Ok(&self.bar) }
    #[tenure::lock_model(bar, pk, on = store, blocking = false, refresh = self.reload())]
    fn b(&mut self, store: &LocMem) -> Result<&mut String> { if self.id == 0 { Err(std::io::Error::other("x")).map_err(|_| tenure::default_store().unwrap_err())?; } Ok(&mut self.bar) }
    #[tenure::lock("order:{self.id}:{extra:03}:{}", self.bar.len(), on = store, held = held, ttl = Duration::from_secs(2))]
    fn c(&self, store: &LocMem, extra: u32) -> Result<String> { Ok(held.name().to_owned()) }
    #[tenure::lock("iter", on = store)]
    fn d<'a>(&'a self, store: &LocMem) -> Result<impl Iterator<Item = char> + 'a> { Ok(self.bar.chars()) }
}

#[test]
fn x() -> Result<()> {
    let store = LocMem::for_this_process_only();
    let mut order = Order { id: 7, bar: "a:b".into(), pk: None };
    assert_eq!(lock_model!(order, on = &store)?.name(), "shop.order:pk:7");
    assert_eq!(lock_model!(order, bar, pk, on = &store, blocking = false)?.name(), "shop.order:bar:a%3Ab:%pk:%none");
    assert_eq!(lock_model!(order, name = format!("x"), on = &store, wait = Duration::ZERO)?.name(), "x:pk:7");
    assert_eq!(lock_model!(&&order, %bar, name = format!("x"), on = &store, wait = Duration::ZERO)?.name(), "x:bar:a%3Ab");
    let held = lock_model!(order, refresh = order.reload(), on = &store, wait = Duration::ZERO)?;
    assert_eq!(order.bar, "new");
    order.bar.push('x');
    drop(held);
    assert!(lock_model!(order).unwrap_err().is_no_default());
    order.b(&store)?.push('z');
    assert_eq!(order.a(&store)?, "newz");
    assert_eq!(order.c(&store, 4)?, "order:7:004:4");
    assert_eq!(order.d(&store)?.count(), 4);
    Ok(())
}
