//! A timer heap whose entries can be moved and taken out in place.

use crate::Moment;

/// Entries ordered by their moments. Adding a late one and taking it out again, which is what a
/// short-lived lock does, touches only the end of the heap.
#[derive(Debug)]
pub(crate) struct Heap<T> {
    order: Vec<(Moment, u32)>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    place: u32,
    item: Option<T>,
}

/// An entry of a heap; of no use once the entry is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    slot: u32,
    generation: u32,
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self { order: Vec::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Heap<T> {
    /// The moment of the first entry.
    pub(crate) fn first(&self) -> Option<Moment> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(crate) fn insert(&mut self, at: Moment, item: T) -> Key {
        let place = self.order.len();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, place: 0, item: None });
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 locks are held at once")
        });
        self.slots[slot as usize].item = Some(item);
        self.order.push((at, slot));
        self.settle(place);
        Key { slot, generation: self.slots[slot as usize].generation }
    }

    /// Moves an entry to another moment; false if it is gone.
    pub(crate) fn set(&mut self, key: Key, at: Moment) -> bool {
        let Some(place) = self.place(key) else { return false };
        self.order[place].0 = at;
        self.settle(place);
        true
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place(key)?;
        self.order.swap_remove(place);
        if place < self.order.len() {
            self.settle(place);
        }
        let slot = &mut self.slots[key.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.slot);
        slot.item.take()
    }

    /// The first entry, if its moment has come.
    pub(crate) fn due(&self, now: Moment) -> Option<(Key, &T)> {
        let (_, slot) = *self.order.first().filter(|(at, _)| *at <= now)?;
        let Slot { generation, item, .. } = &self.slots[slot as usize];
        item.as_ref().map(|item| (Key { slot, generation: *generation }, item))
    }

    fn place(&self, key: Key) -> Option<usize> {
        let slot = self.slots.get(key.slot as usize)?;
        (slot.generation == key.generation && slot.item.is_some()).then_some(slot.place as usize)
    }

    /// Moves the entry at `place` up or down to where it belongs.
    fn settle(&mut self, mut place: usize) {
        while place > 0 && self.order[place].0 < self.order[(place - 1) / 2].0 {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if child < self.order.len() && self.order[child].0 < self.order[least].0 {
                    least = child;
                }
            }
            if least == place {
                break;
            }
            self.swap(place, least);
            place = least;
        }
        self.note(place);
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.order.swap(one, other);
        self.note(one);
        self.note(other);
    }

    fn note(&mut self, place: usize) {
        let slot = self.order[place].1 as usize;
        self.slots[slot].place = u32::try_from(place).expect("a place is below the number of slots");
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Set(usize, u64),
        Remove(usize),
        Pop,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => (0..50u64).prop_map(Op::Insert),
            2 => (any::<usize>(), 0..50u64).prop_map(|(key, at)| Op::Set(key, at)),
            2 => any::<usize>().prop_map(Op::Remove),
            1 => Just(Op::Pop),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_sorted_list(ops in proptest::collection::vec(op(), 1..200)) {
            let mut heap = Heap::default();
            let mut model: Vec<(Key, u64, usize)> = Vec::new();
            let mut gone = Vec::new();
            for (number, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert(at) => model.push((heap.insert(Moment::from_nanos(at), number), at, number)),
                    Op::Set(index, at) if !model.is_empty() => {
                        let index = index % model.len();
                        prop_assert!(heap.set(model[index].0, Moment::from_nanos(at)));
                        model[index].1 = at;
                    }
                    Op::Remove(index) if !model.is_empty() => {
                        let (key, _, item) = model.swap_remove(index % model.len());
                        prop_assert_eq!(heap.remove(key), Some(item));
                        gone.push(key);
                    }
                    Op::Pop => {
                        let first = heap.due(Moment::FAR).map(|(key, item)| (key, *item));
                        if let Some((key, item)) = first {
                            let index = model.iter().position(|entry| entry.0 == key);
                            let (_, at, expected) = model.swap_remove(index.expect("a live key"));
                            prop_assert_eq!(item, expected);
                            prop_assert!(model.iter().all(|entry| entry.1 >= at));
                            heap.remove(key);
                        } else {
                            prop_assert!(model.is_empty());
                        }
                    }
                    Op::Set(..) | Op::Remove(_) => {}
                }
                let first = model.iter().map(|entry| entry.1).min().map(Moment::from_nanos);
                prop_assert_eq!(heap.first(), first);
                prop_assert!(gone.iter().all(|key| !heap.set(*key, Moment::FAR)));
            }
        }
    }
}
