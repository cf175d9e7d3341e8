//! `#[derive(Lockable)]`.

use std::borrow::Cow;
use std::fmt;

use tenure::{Lockable, Name};

fn name<T: Lockable>(record: &T) -> String {
    Name::of(record).map_or_else(|error| error.to_string(), |name| name.to_string())
}

/// Has `Display`, and is nothing that stands in a name by itself.
#[derive(Clone, Copy)]
struct Uuid(u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

#[test]
fn the_key_is_named_at_the_struct_or_marked_at_its_field() {
    #[derive(Lockable)]
    #[lockable(model = "m", key = id)]
    struct Named {
        id: i64,
    }
    #[derive(Lockable)]
    #[lockable(model = "m")]
    struct Marked {
        #[lockable(key)]
        id: i64,
    }
    assert_eq!(Named { id: -7 }.lock_key(), -7);
    assert_eq!(name(&Named { id: -7 }), "m:pk:-7");
    assert_eq!(name(&Marked { id: -7 }), "m:pk:-7");
}

#[test]
fn a_key_can_have_several_parts() {
    #[derive(Lockable)]
    #[lockable(key = (tenant, id))]
    #[lockable(model = "m")]
    struct Named {
        id: i64,
        tenant: String,
    }
    #[derive(Lockable)]
    #[lockable(model = "m")]
    struct Marked {
        #[lockable(key)]
        id: i64,
        #[lockable(key)]
        tenant: String,
    }
    let key: (String, i64) = Named { id: 7, tenant: "a:b".into() }.lock_key();
    assert_eq!(key, ("a:b".into(), 7));
    assert_eq!(name(&Named { id: 7, tenant: "a:b".into() }), "m:pk:a%3Ab:7");
    assert_eq!(name(&Marked { id: 7, tenant: "a:b".into() }), "m:pk:7:a%3Ab");
}

#[test]
fn a_key_can_be_what_display_shows() {
    #[derive(Lockable)]
    #[lockable(model = "m")]
    struct Row {
        #[lockable(key, display)]
        id: Uuid,
        #[lockable(key)]
        part: u8,
    }
    let row = Row { id: Uuid(255), part: 1 };
    assert_eq!(row.lock_key(), ("00ff".to_owned(), 1));
    let held = tenure::model::lock_model!(row, %id, on = tenure::LocMem::for_this_process_only()).unwrap();
    assert_eq!(held.name(), "m:id:00ff");
}

#[test]
fn tuple_structs_are_records_too() {
    #[derive(Lockable)]
    #[lockable(model = "m", key = 1)]
    struct Named(u8, u16);
    #[derive(Lockable)]
    #[lockable(model = "m")]
    struct Marked(#[lockable(key)] u8, u16);
    let (named, marked) = (Named(1, 2), Marked(1, 2));
    assert_eq!((named.0, name(&named), name(&marked)), (1, "m:pk:2".into(), "m:pk:1".into()));
    let held = tenure::model::lock_model!(marked, 1, on = tenure::LocMem::for_this_process_only());
    assert_eq!(held.unwrap().name(), "m:1:2");
}

#[test]
fn generic_structs_are_lockable_where_their_keys_can_be() {
    #[derive(Lockable)]
    #[lockable(model = "m", key = id)]
    struct Row<'a, K, T: ?Sized, const N: usize>
    where
        K: Copy,
    {
        id: Option<K>,
        #[allow(dead_code, reason = "not part of the key")]
        rest: [&'a T; N],
    }
    #[derive(Lockable)]
    #[lockable(model = "m")]
    struct Shown<K> {
        #[lockable(key, display)]
        id: K,
    }
    #[derive(Lockable)]
    #[lockable(model = "m", key = (text, r#type))]
    struct Borrowed<'a> {
        text: &'a str,
        r#type: Cow<'a, str>,
    }
    fn generic<K: tenure::KeyPart + Copy>(id: K) -> String {
        name(&Row { id: Some(id), rest: ["x"; 2] })
    }
    assert_eq!((generic(7), generic("a")), ("m:pk:7".into(), "m:pk:a".into()));
    assert_eq!(name(&Shown { id: Uuid(1) }), "m:pk:0001");
    let borrowed = Borrowed { text: "x", r#type: "y".into() };
    assert_eq!(name(&borrowed), "m:pk:x:y");
    let held = tenure::model::lock_model!(borrowed, r#type, on = tenure::LocMem::for_this_process_only());
    assert_eq!(held.unwrap().name(), "m:type:y");
}

#[test]
fn a_derived_record_is_the_one_written_by_hand() {
    struct Foo {
        id: i64,
    }
    impl Lockable for Foo {
        const MODEL: &'static str = "shop.foo";
        type Key = i64;
        fn lock_key(&self) -> i64 {
            self.id
        }
    }
    #[derive(Lockable)]
    #[lockable(model = "shop.foo", key = id)]
    struct Derived {
        id: i64,
    }
    assert_eq!(name(&Foo { id: 7 }), name(&Derived { id: 7 }));
}

/// What diesel's derives would be given; nothing of diesel is needed for its attributes to be read.
mod rows {
    use super::*;

    #[test]
    fn a_row_is_locked_by_its_table_and_its_primary_key() {
        #[derive(Lockable)]
        #[diesel(table_name = crate::schema::r#orders)]
        #[diesel(primary_key(tenant, r#type))]
        struct Row {
            #[diesel(column_name = r#type)]
            id: i64,
            #[diesel(column_name = "tenant", sql_type = Nothing<A, B>)]
            owner: String,
        }
        let row = Row { id: 7, owner: "a:b".into() };
        assert_eq!(Row::MODEL, "orders");
        assert_eq!(name(&row), "orders:pk:a%3Ab:7");
    }

    #[test]
    fn without_a_primary_key_it_is_id_as_for_diesel() {
        #[derive(Lockable)]
        #[diesel(check_for_backend(diesel::sqlite::Sqlite, diesel::pg::Pg), table_name = orders)]
        #[diesel(treat_none_as_null = true, belongs_to(Customer, foreign_key = customer), aggregate)]
        #[diesel(base_query = orders::table.filter(orders::open.eq(a::<B, C>())), base_query_type = Q<A, B>)]
        struct Row {
            id: i64,
        }
        #[derive(Lockable)]
        #[diesel(table_name = orders)]
        struct Renamed {
            #[diesel(column_name = id)]
            number: i64,
            #[diesel(column_name = other)]
            id: &'static str,
        }
        assert_eq!(name(&Row { id: 7 }), "orders:pk:7");
        let renamed = Renamed { number: 7, id: "8" };
        assert_eq!(name(&renamed), "orders:pk:7");
        assert_eq!(renamed.id, "8");
    }

    #[test]
    fn what_lockable_says_comes_before_what_diesel_says() {
        #[derive(Lockable)]
        #[diesel(table_name = orders, primary_key(missing))]
        #[lockable(model = "shop.order", key = number)]
        struct Named {
            number: i64,
        }
        #[derive(Lockable)]
        #[diesel(table_name = orders)]
        struct Marked {
            #[lockable(key, display)]
            number: Uuid,
            id: i64,
        }
        assert_eq!(name(&Named { number: 7 }), "shop.order:pk:7");
        let marked = Marked { number: Uuid(7), id: 8 };
        assert_eq!((name(&marked).as_str(), marked.id), ("orders:pk:0007", 8));
    }
}
