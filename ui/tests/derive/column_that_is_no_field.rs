//! A primary key of diesel that the struct does not have.

use tenure::Lockable;

#[derive(Lockable)]
#[diesel(table_name = orders, primary_key(number))]
struct Order {
    id: i64,
}

fn main() {}
