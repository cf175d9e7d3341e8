//! Records that can be locked, and the names of their locks.

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use crate::{Error, KeyPart, LockKey, Name, Result, Segment};

/// A record that can be locked: it is of a model, and has a key among the records of that model.
///
/// ```
/// use tenure_core::{Lockable, Name};
///
/// struct Order { id: i64 }
///
/// impl Lockable for Order {
///     const MODEL: &'static str = "shop.order";
///     type Key = i64;
///     fn lock_key(&self) -> i64 { self.id }
/// }
///
/// assert_eq!(Name::of(&Order { id: 7 })?.as_str(), "shop.order:pk:7");
/// # Ok::<(), tenure_core::Error>(())
/// ```
///
/// The crate `tenure` has a derive macro of the same name, and `lock_model!` and `#[lock_model]` to
/// lock records with. Without them, [`Name::of`] and [`Name::of_fields`] make the same names.
///
/// Two programs lock each other out of a record if they give it the same model and the same key;
/// what their types are called does not matter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record that can be locked",
    label = "not `Lockable`",
    note = "add `#[derive(Lockable)]` and `#[lockable(model = \"..\", key = ..)]` to the type, or implement \
            `Lockable` for it by hand"
)]
pub trait Lockable {
    /// The name of the model: what no other kind of record is called, such as `"shop.order"`.
    const MODEL: &'static str;

    /// What tells a record from others of its model: a [`KeyPart`], or a tuple of up to eight.
    type Key: LockKey;

    /// The key of this record.
    fn lock_key(&self) -> Self::Key;
}

impl Name {
    /// The name of a record's lock: `MODEL:pk:KEY`, with one segment for each part of the key.
    ///
    /// # Errors
    ///
    /// `InvalidName` if it is longer than [`Name::MAX_LEN`].
    pub fn of<T: Lockable + ?Sized>(record: &T) -> Result<Self> {
        Self::of_record(T::MODEL, &record.lock_key())
    }

    /// The name of the lock of the record that has this key, where the record is not at hand.
    ///
    /// ```
    /// use tenure_core::Name;
    ///
    /// assert_eq!(Name::of_record("shop.item", &(7, "a:b"))?.as_str(), "shop.item:pk:7:a%3Ab");
    /// # Ok::<(), tenure_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Name::of`].
    pub fn of_record<K: LockKey + ?Sized>(model: &str, key: &K) -> Result<Self> {
        let mut text = String::new();
        let written = Segment::new(&mut text).write_str(model).and_then(|()| {
            text.push_str(":pk");
            key.write_key(&mut text)
        });
        written.map_err(|_| unwritten())?;
        Self::new(text)
    }

    /// The name of the lock of all records whose fields have these values: `MODEL:FIELD:VALUE` and
    /// so on, in the order of the fields' names, whatever order they are given in.
    ///
    /// ```
    /// use tenure_core::Name;
    ///
    /// let name = Name::of_fields("shop.order", &[("shelf", &7), ("day", &"monday")])?;
    /// assert_eq!(name.as_str(), "shop.order:day:monday:shelf:7");
    /// # Ok::<(), tenure_core::Error>(())
    /// ```
    ///
    /// A field that is called `pk` stands as `%pk`, which no text becomes, so that it is not taken for
    /// the key.
    ///
    /// # Errors
    ///
    /// `InvalidName` without a field, for a field that occurs twice, and as [`Name::of`].
    pub fn of_fields(model: &str, fields: &[(&str, &dyn KeyPart)]) -> Result<Self> {
        let mut fields = fields.to_vec();
        fields.sort_by_key(|(field, _)| *field);
        if fields.is_empty() {
            return Err(Error::invalid_name("a lock on fields needs at least one field"));
        }
        if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::invalid_name("a lock on fields names each field once"));
        }
        let mut text = String::new();
        let mut written = Segment::new(&mut text).write_str(model);
        for (field, value) in fields {
            written = written.and_then(|()| {
                match field {
                    "pk" => text.push_str(":%pk"),
                    _ => Segment::next(&mut text).write_str(field)?,
                }
                value.write_part(&mut Segment::next(&mut text))
            });
        }
        written.map_err(|_| unwritten())?;
        Self::new(text)
    }
}

fn unwritten() -> Error {
    Error::invalid_name("a part of the key cannot be written as text")
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: Lockable + ?Sized> Lockable for $pointer {
            const MODEL: &'static str = T::MODEL;
            type Key = T::Key;

            fn lock_key(&self) -> T::Key {
                (**self).lock_key()
            }
        }
    )*};
}

forward!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_of_a_record_is_that_of_its_segments_joined() {
        let joined = Name::join(["shop.order", "pk", "7:1"]).unwrap();
        assert_eq!(Name::of_record("shop.order", "7:1").unwrap(), joined);
        let composite = Name::join(["a%", "pk", "-7", "true", ":", ""]).unwrap();
        assert_eq!(Name::of_record("a%", &(-7, true, ':', "")).unwrap(), composite);
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let one = Name::of_fields("m", &[("b", &1), ("a", &2), ("c", &3)]).unwrap();
        let other = Name::of_fields("m", &[("c", &3), ("b", &1), ("a", &2)]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.as_str(), "m:a:2:b:1:c:3");
    }

    #[test]
    fn fields_are_named_once_and_at_least_one() {
        assert!(Name::of_fields("m", &[]).is_err_and(|error| error.is_invalid_name()));
        let twice = Name::of_fields("m", &[("a", &1), ("b", &1), ("a", &1)]);
        assert!(twice.is_err_and(|error| error.is_invalid_name()));
    }

    #[test]
    fn a_field_called_pk_is_not_the_key() {
        let names = [
            Name::of_record("m", &7).unwrap(),
            Name::of_record("m", &(7, "pk", 7)).unwrap(),
            Name::of_fields("m", &[("pk", &7)]).unwrap(),
            Name::of_fields("m", &[("pk", &7), ("zz", &7)]).unwrap(),
            Name::of_fields("m", &[("aa", &7), ("pk", &7)]).unwrap(),
            Name::of_record("m:pk", &7).unwrap(),
        ];
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn models_never_meet_whatever_they_are_called() {
        let record = Name::of_record("m", &(1, "pk", 2)).unwrap();
        assert_ne!(record, Name::of_record("m:pk:1", &2).unwrap());
        let fields = Name::of_fields("m", &[("a", &1), ("b", &2)]).unwrap();
        assert_ne!(fields, Name::of_fields("m:a:1", &[("b", &2)]).unwrap());
    }

    #[test]
    fn a_key_that_is_too_long_is_an_invalid_name() {
        let long = "x".repeat(Name::MAX_LEN);
        assert!(Name::of_record("m", &long).is_err_and(|error| error.is_invalid_name()));
    }

    /// What a lock of a record can be named by, as a structure instead of a text.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Meant {
        One(String, String),
        Two(String, (String, Option<String>)),
        Fields(String, Vec<(String, Option<String>)>),
    }

    impl Meant {
        fn name(&self) -> Name {
            match self {
                Self::One(model, key) => Name::of_record(model, key),
                Self::Two(model, key) => Name::of_record(model, key),
                Self::Fields(model, fields) => {
                    let parts = fields.iter().map(|(field, value)| (field.as_str(), value as &dyn KeyPart));
                    Name::of_fields(model, &parts.collect::<Vec<_>>())
                }
            }
            .unwrap()
        }
    }

    fn meant() -> impl Strategy<Value = Meant> {
        let text = || "[ap:%n]{0,3}|pk|%none|none";
        let field = || "[ab]|pk|%pk";
        let value = || proptest::option::of(text());
        prop_oneof![
            (text(), text()).prop_map(|(model, key)| Meant::One(model, key)),
            (text(), (text(), value())).prop_map(|(model, key)| Meant::Two(model, key)),
            (text(), proptest::collection::btree_map(field(), value(), 1..3))
                .prop_map(|(model, fields)| Meant::Fields(model, fields.into_iter().collect())),
        ]
    }

    mod properties {
        use super::*;

        proptest! {
            #[test]
            fn different_records_and_fields_never_share_a_name(one in meant(), other in meant()) {
                prop_assert_eq!(one == other, one.name() == other.name(), "{:?} {:?}", one, other);
            }
        }
    }
}
