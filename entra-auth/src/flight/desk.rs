//! Who flies and who waits: the heart of the single flight, without clock, runtime or lock.
//!
//! The transitions are these two and no more. A caller that goes away is none: it drops its copy of the board, and the
//! flight goes on. Whatever becomes of a flight, a result, an error, a panic, a deadline, its seat is given back first and
//! its board written after, so that who reads the news and asks again finds the desk free.

use std::{collections::HashMap, hash::Hash};

/// The flights under way, by key. `B` is the board on which the landing will be announced.
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Desk<K, B>(HashMap<K, B>);

/// What a caller is told.
pub(crate) enum Boarding<B> {
    /// A flight is under way; its landing will be on this board.
    Joined(B),
    /// There was none. The caller flies, and calls [`Desk::land`] whatever happens.
    Leads(B),
}

impl<K: Clone + Eq + Hash, B: Clone> Desk<K, B> {
    /// Joins the flight for `key`, or begins one on a board that `open` makes.
    pub(crate) fn board(&mut self, key: &K, open: impl FnOnce() -> B) -> Boarding<B> {
        if let Some(board) = self.0.get(key) {
            return Boarding::Joined(board.clone());
        }
        let board = open();
        self.0.insert(key.clone(), board.clone());
        Boarding::Leads(board)
    }

    /// Ends the flight for `key`: the next caller begins another.
    pub(crate) fn land(&mut self, key: &K) -> Option<B> {
        self.0.remove(key)
    }

    #[cfg(test)]
    pub(crate) fn flights(&self) -> impl Iterator<Item = (&K, &B)> {
        self.0.iter()
    }
}

impl<K, B> Default for Desk<K, B> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}
