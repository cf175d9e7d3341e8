//! A table of diesel whose rows have no `id`, and no other primary key is said.

use tenure::Lockable;

#[derive(Lockable)]
#[diesel(table_name = orders)]
struct Order {
    number: i64,
}

fn main() {}
