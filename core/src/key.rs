//! What can be the key of a record, and how it is written into a name.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

/// The key of a record: a [`KeyPart`], or a tuple of up to eight.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a lock",
    label = "not a `LockKey`",
    note = "a key is an integer, `bool`, `char`, text, an `Option` of these, or a tuple of up to eight of them",
    note = "for a type that has `Display`: `#[lockable(key, display)]` in a derive; by hand `type Key = String`, \
            and `.to_string()` in `lock_key`",
    note = "for a type of your own: implement `KeyPart`"
)]
pub trait LockKey {
    /// Appends `:` and a segment for each part.
    ///
    /// # Errors
    ///
    /// If a part cannot be written as text.
    fn write_key(&self, name: &mut String) -> fmt::Result;
}

/// A value that fills one segment of a lock's name: the key of a record, a part of it, or the value
/// of a field.
///
/// For a type of your own, write what tells its values apart. What is written is escaped:
///
/// ```
/// use std::fmt::{self, Write};
/// use tenure_core::{KeyPart, Name, Segment};
///
/// struct Sku { maker: u32, article: u32 }
///
/// impl KeyPart for Sku {
///     fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
///         write!(segment, "{}-{}", self.maker, self.article)
///     }
/// }
///
/// let name = Name::of_record("shop.item", &Sku { maker: 4, article: 17 })?;
/// assert_eq!(name.as_str(), "shop.item:pk:4-17");
/// # Ok::<(), tenure_core::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in the name of a lock",
    label = "not a `KeyPart`",
    note = "integers, `bool`, `char`, text and `Option`s of these can",
    note = "for a type that has `Display`: `%field` in `lock_model!`, `#[lockable(key, display)]` in a derive; \
            by hand `type Key = String`, and `.to_string()` in `lock_key`",
    note = "for a type of your own: implement `KeyPart`"
)]
pub trait KeyPart {
    /// Writes the value.
    ///
    /// # Errors
    ///
    /// If it cannot be written as text; the lock's name is invalid then.
    fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result;
}

/// One segment of a name while it is written: `:` becomes `%3A` and `%` becomes `%25`, as in
/// [`Name::join`](crate::Name::join).
#[derive(Debug)]
pub struct Segment<'a> {
    name: &'a mut String,
    options: usize,
}

impl<'a> Segment<'a> {
    /// Writes to the end of a text.
    #[must_use]
    pub fn new(name: &'a mut String) -> Self {
        Self { name, options: 0 }
    }

    /// A segment after others.
    pub(crate) fn next(name: &'a mut String) -> Self {
        name.push(':');
        Self::new(name)
    }
}

impl Write for Segment<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.chars() {
            match part {
                ':' => self.name.push_str("%3A"),
                '%' => self.name.push_str("%25"),
                plain => self.name.push(plain),
            }
        }
        Ok(())
    }
}

// Not what the compiler should talk about: who lacks `LockKey` lacks `KeyPart`.
#[diagnostic::do_not_recommend]
impl<T: KeyPart + ?Sized> LockKey for T {
    fn write_key(&self, name: &mut String) -> fmt::Result {
        self.write_part(&mut Segment::next(name))
    }
}

macro_rules! tuples {
    ($(($($part:ident $index:tt),*))*) => {$(
        impl<$($part: KeyPart),*> LockKey for ($($part,)*) {
            fn write_key(&self, name: &mut String) -> fmt::Result {
                $(self.$index.write_part(&mut Segment::next(name))?;)*
                Ok(())
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// `None` is `%none`, which no text becomes; what is `Some` stands as itself.
impl<T: KeyPart> KeyPart for Option<T> {
    fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
        match self {
            Some(value) => {
                segment.options += 1;
                value.write_part(segment)?;
                segment.options -= 1;
            }
            None => {
                // `Some(None)` has one `%` more.
                segment.name.extend(std::iter::repeat_n('%', segment.options + 1));
                segment.name.push_str("none");
            }
        }
        Ok(())
    }
}

impl KeyPart for str {
    fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
        segment.write_str(self)
    }
}

impl KeyPart for String {
    fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
        segment.write_str(self)
    }
}

impl<T: KeyPart + ToOwned + ?Sized> KeyPart for Cow<'_, T> {
    fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
        (**self).write_part(segment)
    }
}

macro_rules! displayed {
    ($($type:ty)*) => {$(
        impl KeyPart for $type {
            fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
                write!(segment, "{self}")
            }
        }
    )*};
}

displayed! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize bool char }
displayed! { NonZero<i8> NonZero<i16> NonZero<i32> NonZero<i64> NonZero<i128> NonZero<isize> }
displayed! { NonZero<u8> NonZero<u16> NonZero<u32> NonZero<u64> NonZero<u128> NonZero<usize> }

macro_rules! forward {
    ($($pointer:ty)*) => {$(
        impl<T: KeyPart + ?Sized> KeyPart for $pointer {
            fn write_part(&self, segment: &mut Segment<'_>) -> fmt::Result {
                (**self).write_part(segment)
            }
        }
    )*};
}

forward! { &T &mut T Box<T> Rc<T> Arc<T> }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    fn name(key: impl LockKey) -> String {
        Name::of_record("m", &key).unwrap().to_string()
    }

    #[test]
    fn none_is_no_text_and_not_some_none() {
        assert_eq!(name(None::<&str>), "m:pk:%none");
        assert_eq!(name(Some("%none")), "m:pk:%25none");
        assert_eq!(name(Some(Some("x"))), "m:pk:x");
        assert_eq!(name(Some(None::<&str>)), "m:pk:%%none");
        assert_eq!(name((Some(Some(1)), None::<i32>)), "m:pk:1:%none");
    }

    #[test]
    fn pointers_and_borrowed_text_are_what_they_point_at() {
        let text = "a:b";
        for same in [
            name(text),
            name(String::from(text)),
            name(Box::<str>::from(text)),
            name(Cow::Borrowed(text)),
            name(Arc::<str>::from(text)),
            name(Rc::new(&text)),
            name((text,)),
        ] {
            assert_eq!(same, "m:pk:a%3Ab");
        }
    }

    #[test]
    fn numbers_are_decimal_and_unsigned_zero_is_told_from_nothing() {
        assert_eq!(name(i64::MIN), "m:pk:-9223372036854775808");
        assert_eq!(
            name((u128::MAX, NonZero::<u8>::MIN, false, 'é')),
            format!("m:pk:{}:1:false:é", u128::MAX)
        );
        assert_ne!(name((0, "")), name(("", 0)));
    }
}
