//! Which slot an entry lies in, by hash: open addressing with 8 bytes a cell, so that a million entries stay small.

/// From the hash of an entry to the number of its slot. It never looks at the entries, it asks about them.
#[derive(Default)]
pub(super) struct Index {
    /// A power of two of cells, at most three quarters of them full.
    cells: Vec<Cell>,
    full: usize,
}

#[derive(Clone, Copy)]
struct Cell {
    /// The upper half of the hash: where the cell would best lie, and a first comparison.
    hash: u32,
    slot: u32,
}

const EMPTY: Cell = Cell { hash: 0, slot: u32::MAX };
const SMALLEST: usize = 16;

impl Index {
    /// The slot of the entry with this hash for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = upper(hash);
        let cell = self.from(hash).map(|at| self.cell(at)).take_while(|cell| !cell.is_empty());
        cell.filter(|cell| cell.hash == hash).map(|cell| cell.slot).find(|slot| is_it(*slot))
    }

    /// Adds a slot that is not in it.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        if 4 * (self.full + 1) > 3 * self.cells.len() {
            self.grow();
        }
        self.full += 1;
        self.put(Cell { hash: upper(hash), slot });
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let found = self.from(upper(hash)).take_while(|at| !self.cell(*at).is_empty());
        let Some(mut hole) = found.into_iter().find(|at| self.cell(*at).slot == slot) else { return };
        self.full -= 1;
        // Those behind close up, as far as that brings none of them in front of where it would best lie.
        let mask = self.cells.len() - 1;
        let mut at = (hole + 1) & mask;
        while !self.cell(at).is_empty() {
            let best = self.cell(at).hash as usize & mask;
            if (at.wrapping_sub(best) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.set(hole, self.cell(at));
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.set(hole, EMPTY);
    }

    fn grow(&mut self) {
        let size = SMALLEST.max(2 * self.cells.len());
        for cell in std::mem::replace(&mut self.cells, vec![EMPTY; size]) {
            if !cell.is_empty() {
                self.put(cell);
            }
        }
    }

    /// There is always an empty cell.
    fn put(&mut self, cell: Cell) {
        if let Some(at) = self.from(cell.hash).find(|at| self.cell(*at).is_empty()) {
            self.set(at, cell);
        }
    }

    /// All cells, from the one where this hash best lies.
    fn from(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let size = self.cells.len();
        (0..size).map(move |step| (hash as usize).wrapping_add(step) & (size - 1))
    }

    fn cell(&self, at: usize) -> Cell {
        self.cells.get(at).copied().unwrap_or(EMPTY)
    }

    fn set(&mut self, at: usize, cell: Cell) {
        if let Some(place) = self.cells.get_mut(at) {
            *place = cell;
        }
    }
}

impl Cell {
    const fn is_empty(self) -> bool {
        self.slot == u32::MAX
    }
}

#[allow(clippy::cast_possible_truncation)] // it is the half that is wanted
const fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same as a map, also when many hashes are close to each other or the same.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0_u32..64, 0_u64..12, any::<bool>()), 1..300)) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            let hash = |spread: u64| spread << 32 | 7;
            for (slot, spread, add) in steps {
                if let Some(old) = model.remove(&slot) {
                    index.remove(hash(old), slot);
                }
                if add {
                    index.insert(hash(spread), slot);
                    model.insert(slot, spread);
                }
                prop_assert_eq!(index.find(hash(spread), |at| at == slot).is_some(), add);
                prop_assert_eq!(index.full, model.len());
                prop_assert_eq!(index.cells.iter().filter(|cell| !cell.is_empty()).count(), model.len());
            }
            for (slot, spread) in (0..64).flat_map(|slot| (0..12).map(move |spread| (slot, spread))) {
                let found = index.find(hash(spread), |at| at == slot);
                prop_assert_eq!(found.is_some(), model.get(&slot) == Some(&spread));
            }
        }
    }
}
