//! A struct of two tables of diesel, without a model.

use tenure::Lockable;

#[derive(Lockable)]
#[diesel(table_name = orders, table_name = drafts)]
struct Order {
    id: i64,
}

fn main() {}
