use std::ops::{Index, IndexMut};

/// A place in a [`Slab`]; valid until its value is removed.
pub(super) type Slot = u32;

/// An empty slab gives back what a burst made it reserve beyond so many slots.
const KEPT_CAPACITY: usize = 4_096;

/// Values that stay where they are put, so that indices can name them.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(value);
            return slot;
        }
        let slot = Slot::try_from(self.slots.len()).expect("the bounds on jobs, results and queues fit 32 bits");
        self.slots.push(Some(value));
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let value = self.slots.get_mut(slot as usize)?.take(); // as it is returned: each move of it is a copy
        if value.is_some() {
            self.free.push(slot);
            if self.len() == 0 {
                self.reset();
            }
        }
        value
    }

    /// Forgets all slots: cheaper to fill again in order, and a burst's memory goes back.
    fn reset(&mut self) {
        self.slots.clear();
        self.free.clear();
        self.slots.shrink_to(KEPT_CAPACITY);
        self.free.shrink_to(KEPT_CAPACITY);
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        (0..).zip(&self.slots).filter_map(|(slot, value)| Some((slot, value.as_ref()?)))
    }
}

impl<T> Index<Slot> for Slab<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        self.slots[slot as usize].as_ref().expect("slots are named only while they are filled")
    }
}

impl<T> IndexMut<Slot> for Slab<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        self.slots[slot as usize].as_mut().expect("slots are named only while they are filled")
    }
}
