use tenure::Lockable;

use std::fmt;

use tenure::{KeyPart, Segment};

struct Sku(u32);

impl KeyPart for Sku {
    fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
        self.0.write_part(segment)
    }
}

#[derive(Lockable)]
#[lockable(model = "shop.item", key = sku)]
struct Item {
    sku: Sku,
}

fn main() {}
