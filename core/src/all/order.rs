//! The order in which the members of a set are taken, the same in all processes.

use crate::{Claim, Error, Result, Site};

/// The members in order of their stores' labels and of their keys; what is in one place twice is
/// refused.
///
/// Stores with the same label that are not one, such as two in memory, follow each other in the
/// order in which this process made them.
pub(crate) fn arrange<'m>(members: impl IntoIterator<Item = (&'m Site, &'m Claim)>) -> Result<Vec<usize>> {
    let members: Vec<_> = members.into_iter().collect();
    let rank = |member: usize| {
        let (site, claim) = members[member];
        (site.label(), claim.key(), site.id())
    };
    let mut order: Vec<_> = (0..members.len()).collect();
    order.sort_by(|one, other| rank(*one).cmp(&rank(*other)));
    if order.is_empty() {
        return Err(Error::misconfigured("a set without locks protects nothing; name at least one lock"));
    }
    match order.windows(2).find(|pair| rank(pair[0]) == rank(pair[1])) {
        None => Ok(order),
        Some(pair) => {
            let (site, claim) = members[pair[0]];
            let twice = "the set has this lock twice and would wait for itself; name it once";
            Err(Error::misconfigured(twice).at(site.label()).on(claim.name()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::sync::Arc;

    use super::*;
    use crate::claim::Target;
    use crate::{Owner, Settings};
    use proptest::prelude::*;

    fn member(site: &Site, name: &str) -> (Site, Claim) {
        let target = Arc::new(Target::new(site, name));
        let claim = Claim::new(target, site, Owner::random(), Location::caller()).unwrap();
        (site.clone(), claim)
    }

    fn sites() -> Vec<Site> {
        let settings = |prefix: &str| Settings::default().with_prefix(prefix).unwrap();
        vec![
            Site::new("mem:", settings("a")),
            Site::new("mem:", settings("ab")),
            Site::new("file:/z", settings("a")),
            Site::new("file:/a", settings("a")),
        ]
    }

    fn arranged(members: &[(Site, Claim)]) -> Result<Vec<(u64, &str)>> {
        let order = arrange(members.iter().map(|(site, claim)| (site, claim)))?;
        Ok(order.into_iter().map(|at| (members[at].0.id(), members[at].1.key())).collect())
    }

    proptest! {
        #[test]
        fn the_order_is_the_same_whatever_order_the_caller_gives(
            picks in proptest::collection::btree_set((0..4usize, "[a-c]{1,2}"), 1..12),
            shuffle in proptest::collection::vec(any::<u32>(), 12),
        ) {
            let sites = sites();
            let mut members: Vec<_> = picks.iter().map(|(site, name)| member(&sites[*site], name)).collect();
            let expected: Vec<_> = arranged(&members).unwrap().into_iter().map(|(id, key)| (id, key.to_owned())).collect();
            for (at, pick) in shuffle.iter().enumerate().take(members.len()) {
                let other = *pick as usize % members.len();
                members.swap(at, other);
            }
            let seen: Vec<_> = arranged(&members).unwrap().into_iter().map(|(id, key)| (id, key.to_owned())).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn labels_come_before_keys_and_keys_before_identities() {
        let sites = sites();
        let members =
            [member(&sites[1], "b"), member(&sites[0], "bb"), member(&sites[0], "a"), member(&sites[2], "z")];
        let order = arrange(members.iter().map(|(site, claim)| (site, claim))).unwrap();
        assert_eq!(order, [3, 2, 1, 0]);
    }

    #[test]
    fn a_lock_that_is_there_twice_is_named() {
        let site = &sites()[0];
        let error = arranged(&[member(site, "x"), member(site, "y"), member(site, "x")]).unwrap_err();
        assert!(error.is_misconfigured() && error.lock() == Some("x"), "{error}");
        assert_eq!(error.backend(), Some("mem:"));
    }

    #[test]
    fn no_lock_at_all_is_an_error() {
        assert!(arranged(&[]).unwrap_err().is_misconfigured());
    }
}
