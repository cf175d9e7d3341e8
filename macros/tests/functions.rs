//! Functions that hold a lock while they run: `#[tenure::lock(..)]`.

#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by tests that use parts of it")]
mod support;

use std::fmt::{self, Display};
use std::time::Duration;

use support::{break_lock, each_store, is_free, panics};
use tenure::{AnyBackend, Backend, Error, Held, LocMem, Lock, Name, Result};

/// An error of an application.
#[derive(Debug)]
enum AppError {
    Lock(Error),
    Refused,
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

#[tenure::lock("job", on = store, blocking = false)]
fn job<T>(store: &AnyBackend, work: impl FnOnce() -> Result<T, AppError>) -> Result<T, AppError> {
    work()
}

/// B26
#[test]
fn a_function_runs_with_the_lock_held() {
    each_store(|store| {
        let held_inside = job(store, || Ok(!is_free(store, "job"))).unwrap();
        assert!(held_inside);
    });
}

/// B27, B28
#[test]
fn a_nested_attempt_fails_and_its_body_is_not_run() {
    each_store(|store| {
        let nested =
            job(store, || Ok(job(store, || -> Result<(), AppError> { panic!("ran twice at once") })));
        assert!(matches!(nested.unwrap(), Err(AppError::Lock(error)) if error.is_contended()));
        let lock = Lock::new(store, "job");
        let nested = job(store, || Ok(lock.acquire_for(Duration::ZERO)?));
        assert!(matches!(nested, Err(AppError::Lock(error)) if error.is_timed_out()));
    });
}

/// B29
#[test]
fn the_lock_is_free_after_the_function_however_it_ends() {
    each_store(|store| {
        job(store, || Ok(())).unwrap();
        assert!(is_free(store, "job"));
        assert!(job(store, || Err::<(), _>(AppError::Refused)).is_err());
        assert!(is_free(store, "job"));
        assert!(panics(|| job(store, || -> Result<(), AppError> { panic!("in the body") })));
        assert!(is_free(store, "job"));
        for early in [true, false] {
            assert_eq!(leaves_early(store, early).unwrap(), u8::from(early));
            assert!(is_free(store, "early"));
        }
        assert!(asks_early(store).is_err());
        assert!(is_free(store, "early"));
    });
}

#[tenure::lock("early", on = store)]
fn leaves_early(store: &AnyBackend, early: bool) -> Result<u8> {
    assert!(!is_free(store, "early"));
    if early {
        return Ok(1);
    }
    assert!(!is_free(store, "early"), "the lock was gone before the end");
    Ok(0)
}

#[tenure::lock("early", on = store)]
fn asks_early(store: &AnyBackend) -> Result<(), AppError> {
    let name = Name::new("").inspect_err(|_| assert!(!is_free(store, "early")));
    name?;
    unreachable!("an empty name is none")
}

/// B30
#[test]
fn the_name_is_made_of_arguments() {
    #[tenure::lock("order:{id}:{region}", on = store, held = held)]
    fn ship(store: &AnyBackend, id: u64, region: &str) -> Result<String> {
        Ok(held.name().to_owned())
    }
    each_store(|store| assert_eq!(ship(store, 7, "north").unwrap(), "order:7:north"));
}

struct Shop {
    region: String,
    stock: (u32, u32),
}

impl Shop {
    #[tenure::lock("stock:{self.region}:{self.stock.1}:{order.id}", on = store, held = held)]
    fn take(&self, store: &AnyBackend, order: &Order) -> Result<String> {
        Ok(held.name().to_owned())
    }

    #[tenure::lock("stock:{}:{order.id}:{}", self.first(), store.site().label().len(), on = store, held = held)]
    fn count(&self, store: &AnyBackend, order: &Order) -> Result<String> {
        Ok(held.name().to_owned())
    }

    fn first(&self) -> u32 {
        self.stock.0
    }
}

struct Order {
    id: u64,
}

/// B31, B32
#[test]
fn the_name_is_made_of_fields_and_of_expressions() {
    let shop = Shop { region: "north".into(), stock: (1, 2) };
    each_store(|store| {
        assert_eq!(shop.take(store, &Order { id: 7 }).unwrap(), "stock:north:2:7");
        let label = store.site().label().len();
        assert_eq!(shop.count(store, &Order { id: 7 }).unwrap(), format!("stock:1:7:{label}"));
    });
}

#[test]
fn names_that_are_keywords_can_stand_in_placeholders() {
    struct Row {
        r#type: (u8, u8),
    }
    #[tenure::lock("row:{row.type.1}:{row.r#type.0}:{match}:{r#match}", on = store, held = held)]
    fn keywords(store: &AnyBackend, row: &Row, r#match: u8) -> Result<String> {
        Ok(held.name().to_owned())
    }
    let store = &LocMem::for_this_process_only().into();
    assert_eq!(keywords(store, &Row { r#type: (1, 2) }, 3).unwrap(), "row:2:1:3:3");
}

/// B33
#[test]
fn different_arguments_are_different_locks() {
    #[tenure::lock("order:{id}", on = store, blocking = false)]
    fn ship(store: &AnyBackend, id: u64, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        meanwhile()
    }
    each_store(|store| {
        ship(store, 1, || ship(store, 2, || Ok(()))).unwrap();
        let same = ship(store, 1, || ship(store, 1, || Ok(())));
        assert!(same.is_err_and(|error| error.is_contended()));
    });
}

/// D20
#[test]
fn arguments_that_contain_separators_never_make_one_name() {
    #[tenure::lock("{left}:{right}", on = store, held = held)]
    fn name(store: &AnyBackend, left: &str, right: impl Display) -> Result<String> {
        Ok(held.name().to_owned())
    }
    #[tenure::lock("{left:?}:{right:>3}-{{:{}}}", left.len(), on = store, held = held)]
    fn formatted(store: &AnyBackend, left: &str, right: impl Display) -> Result<String> {
        Ok(held.name().to_owned())
    }
    let store = &LocMem::for_this_process_only().into();
    assert_eq!(name(store, "a:b", "c").unwrap(), "a%3Ab:c");
    assert_eq!(name(store, "a", "b:c").unwrap(), "a:b%3Ac");
    assert_eq!(name(store, "a%3Ab", 'c').unwrap(), "a%253Ab:c");
    assert_eq!(name(store, "", "").unwrap(), ":");
    assert_eq!(formatted(store, "a:\"", 7).unwrap(), "\"a%3A\\\"\":  7-{:3}");
}

#[test]
fn a_name_can_be_made_elsewhere() {
    #[tenure::lock(Name::join(["order", part]), on = store, held = held)]
    fn made(store: &AnyBackend, part: &str) -> Result<String> {
        Ok(held.name().to_owned())
    }
    #[tenure::lock(*name, on = store, held = held)]
    fn given(store: &AnyBackend, name: &&str) -> Result<String> {
        Ok(held.name().to_owned())
    }
    let store = &LocMem::for_this_process_only().into();
    assert_eq!(made(store, "a:b").unwrap(), "order:a%3Ab");
    assert_eq!(given(store, &"a:b").unwrap(), "a:b");
    assert!(given(store, &"").is_err_and(|error| error.is_invalid_name()));
}

#[test]
fn a_value_that_cannot_be_shown_is_no_name() {
    struct Unshown;
    impl Display for Unshown {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    #[tenure::lock("x:{what}", on = LocMem::for_this_process_only())]
    fn shown(what: impl Display) -> Result<()> {
        Ok(())
    }
    shown("something").unwrap();
    assert!(shown(Unshown).is_err_and(|error| error.is_invalid_name()));
}

#[test]
fn a_function_that_calls_itself_is_denied_its_own_lock_and_may_take_others() {
    #[tenure::lock("one name", on = store, blocking = false)]
    fn same(store: &AnyBackend, depth: u32) -> Result<u32> {
        if depth == 0 { Ok(0) } else { same(store, depth - 1) }
    }
    #[tenure::lock("depth:{depth}", on = store, blocking = false)]
    fn other(store: &AnyBackend, depth: u32) -> Result<u32> {
        if depth == 0 { Ok(17) } else { other(store, depth - 1) }
    }
    each_store(|store| {
        assert!(same(store, 1).is_err_and(|error| error.is_contended()));
        assert_eq!(same(store, 0).unwrap(), 0);
        assert_eq!(other(store, 5).unwrap(), 17);
        assert!(is_free(store, "depth:5") && is_free(store, "depth:0"));
    });
}

#[test]
fn a_lock_that_was_lost_meanwhile_makes_an_error_of_success() {
    each_store(|store| {
        let lost = job(store, || Ok(break_lock(store, "job")?));
        assert!(matches!(lost, Err(AppError::Lock(error)) if error.is_lost()));
    });
}

#[test]
fn an_error_of_the_body_wins_over_a_loss() {
    each_store(|store| {
        let refused = job(store, || {
            break_lock(store, "job")?;
            Err::<(), _>(AppError::Refused)
        });
        assert!(matches!(refused, Err(AppError::Refused)), "{refused:?}");
    });
}

#[test]
fn an_unanswered_release_takes_nothing_away_from_what_was_done() {
    let store = support::NoRelease::default();
    #[tenure::lock("job", on = store)]
    fn done(store: &support::NoRelease) -> Result<u8> {
        Ok(17)
    }
    assert_eq!(done(&store).unwrap(), 17);
    assert!(store.releases() > 0);
    assert!(Lock::new(&store, "x").acquire().unwrap().release().is_err_and(|error| error.is_unavailable()));
}

#[test]
fn waiting_is_limited_and_lifetime_and_label_are_passed_on() {
    const LIMIT: Duration = Duration::from_secs(20);
    #[tenure::lock("job", wait = patience, ttl = LIMIT, label = format!("{who}!"), on = store, held = held)]
    fn job(store: &AnyBackend, patience: Duration, who: &str) -> Result<(Option<Duration>, String)> {
        let seen = store.inspect().unwrap().inspect(&Name::new("job")?)?.unwrap();
        Ok((held.remaining(), seen.label().to_owned()))
    }
    each_store(|store| {
        let (left, label) = job(store, Duration::ZERO, "importer").unwrap();
        assert!(left.is_some_and(|left| left > LIMIT / 2 && left <= LIMIT));
        assert_eq!(label, "importer!");
        let _held = Lock::new(store, "job").acquire().unwrap();
        assert!(job(store, Duration::from_millis(20), "x").is_err_and(|error| error.is_timed_out()));
    });
}

#[test]
fn a_function_waits_unless_told_not_to() {
    #[tenure::lock("job", on = store)]
    fn waits(store: &AnyBackend) -> Result<()> {
        Ok(())
    }
    each_store(|store| {
        let held = Lock::new(store, "job").acquire().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| waits(store));
            let asked = std::time::Instant::now();
            while asked.elapsed() < Duration::from_millis(50) {
                assert!(!waiting.is_finished(), "did not wait");
                std::thread::yield_now();
            }
            held.release().unwrap();
            waiting.join().unwrap().unwrap();
        });
    });
}

/// Functions of all shapes.
mod shapes {
    use super::*;

    struct Cart<'a, T> {
        items: Vec<T>,
        note: &'a str,
    }

    impl<'a, T: Clone + Display> Cart<'a, T> {
        #[tenure::lock("cart:{self.note}", on = store)]
        pub(super) fn first(&mut self, store: &LocMem) -> Result<&mut T> {
            if self.items.is_empty() {
                return Err(Error::invalid_name("nothing in it"));
            }
            Ok(&mut self.items[0])
        }

        #[tenure::lock("cart:{}", self.note, on = store)]
        fn each<'s>(&'s self, store: &LocMem) -> Result<impl Iterator<Item = &'s T> + use<'s, 'a, T>> {
            Name::new("x")?;
            Ok(self.items.iter())
        }

        #[tenure::lock("cart:{self.note}", on = store)]
        fn boxed(&self, store: &LocMem) -> Result<Box<dyn Fn() -> usize + '_>> {
            if self.items.len() > 5 {
                return Ok(Box::new(|| 0));
            }
            Ok(Box::new(|| self.items.len()))
        }

        #[tenure::lock("cart:{self.note}", on = store)]
        fn into_items(mut self, store: &LocMem) -> Result<Vec<T>, Box<dyn std::error::Error>> {
            self.items.reverse();
            Ok(self.items)
        }

        #[tenure::lock("cart:{self.note}", on = store)]
        fn from_box(self: Box<Self>, store: &LocMem) -> Result<Self> {
            Ok(*self)
        }

        #[tenure::lock("cart:{note}", on = store)]
        fn make(note: &'a str, items: Vec<T>, store: &LocMem) -> Result<Self> {
            Ok(Self { items, note })
        }
    }

    #[tenure::lock("pair:{left}:{}", rest.len(), on = &LocMem::for_this_process_only())]
    fn patterns<const N: usize, K>(
        (mut left, _): (u32, &str),
        Order { id: right }: Order,
        [first, rest @ ..]: [K; 2],
        _: [u8; N],
    ) -> Result<u64>
    where
        K: Copy + Into<u64>,
    {
        #![allow(clippy::arithmetic_side_effects)]
        left += 1;
        Ok(u64::from(left) + right + first.into() + rest.map(K::into).iter().sum::<u64>())
    }

    #[tenure::lock("longest:{}", left.len(), on = LocMem::for_this_process_only())]
    pub(super) fn longest<'a>(left: &'a str, right: &'a str) -> Result<&'a str> {
        Ok(if left.len() > right.len() { left } else { right })
    }

    #[tenure::lock("write", on = LocMem::for_this_process_only())]
    fn write(mut to: impl fmt::Write, text: &mut String) -> std::result::Result<(), AppError> {
        text.push('!');
        to.write_str(text).map_err(|_| AppError::Refused)
    }

    macro_rules! function {
        ($name:ident, $argument:ident, $lock:literal) => {
            #[tenure::lock($lock, on = LocMem::for_this_process_only(), held = held)]
            fn $name($argument: u8) -> Result<String> {
                Ok(format!("{} {}", held.name(), $argument))
            }
        };
    }

    function!(by_macro, number, "number:{number}");

    trait Ship {
        #[tenure::lock("default", on = LocMem::for_this_process_only())]
        fn ship(&self) -> Result<u8> {
            Ok(1)
        }

        fn unship(&self) -> Result<u8>;
    }

    impl Ship for u8 {
        #[tenure::lock("unship:{}", self, on = LocMem::for_this_process_only())]
        fn unship(&self) -> Result<Self> {
            Ok(*self)
        }
    }

    #[test]
    fn arguments_results_and_borrows_are_those_of_the_function() {
        let store = LocMem::for_this_process_only();
        let mut cart = Cart::make("note", vec![1, 2], &store).unwrap();
        *cart.first(&store).unwrap() += 10;
        assert_eq!(cart.each(&store).unwrap().sum::<i32>(), 13);
        assert_eq!(cart.boxed(&store).unwrap()(), 2);
        let cart = Box::new(cart).from_box(&store).unwrap();
        assert_eq!(cart.into_items(&store).unwrap(), [2, 11]);
        assert_eq!(patterns((1, "x"), Order { id: 10 }, [100_u32, 7], [0]).unwrap(), 119);
        assert_eq!(longest("abc", "ab").unwrap(), "abc");
        let (mut to, mut text) = (String::new(), String::from("x"));
        write(&mut to, &mut text).unwrap();
        assert_eq!((to.as_str(), text.as_str()), ("x!", "x!"));
        assert_eq!(by_macro(4).unwrap(), "number:4 4");
        assert_eq!((5.ship().unwrap(), 5.unship().unwrap()), (1, 5));
    }
}

#[test]
fn names_of_the_macro_are_not_seen_by_body_and_options() {
    let (name, store) = ("mine", LocMem::for_this_process_only());
    #[tenure::lock("{lock}", on = held, wait = value, label = name, held = ttl)]
    fn job(lock: &str, held: &LocMem, value: Duration, name: &str) -> Result<String> {
        let store = ttl.name();
        Ok([store, lock, name].concat())
    }
    assert_eq!(job("a", &store, Duration::ZERO, name).unwrap(), "aamine");
}

#[test]
fn the_held_lock_is_given_to_the_body_by_name() {
    #[tenure::lock("job", on = store, held = proof)]
    fn job(store: &LocMem) -> Result<u64> {
        fn write(proof: &Lock<LocMem, Held>) -> u64 {
            proof.fence().get()
        }
        Ok(write(proof))
    }
    let store = LocMem::for_this_process_only();
    let first = job(&store).unwrap();
    assert!(first < job(&store).unwrap());
}
