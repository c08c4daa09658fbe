/// Seeded random numbers (splitmix64): the same seed, the same run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another stream of numbers, which does not depend on how many were taken from this one.
    #[must_use]
    pub const fn fork(&self, stream: u64) -> Self {
        let mut fork = Self(self.0 ^ stream.wrapping_mul(0x9e6c_63d0_876a_9a47));
        fork.next();
        fork
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// An index into something of this length; 0 when it is empty.
    pub const fn index(&mut self, length: usize) -> usize {
        #[allow(clippy::cast_possible_truncation)] // below a length
        let index = self.below(length as u64) as usize;
        index
    }

    /// True once in `many` times.
    pub const fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.index(from.len());
        from.get(index)
    }

    /// So many random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut a, mut b, mut c) = (Random::new(7), Random::new(7), Random::new(8));
        let take = |random: &mut Random| (0..100).map(|_| random.below(1000)).collect::<Vec<_>>();
        let first = take(&mut a);
        assert_eq!(first, take(&mut b));
        assert_ne!(first, take(&mut c));
        assert_eq!(Random::new(7).fork(1).next(), Random::new(7).fork(1).next());
        assert_ne!(Random::new(7).fork(1).next(), Random::new(7).fork(2).next());
        assert_eq!(Random::new(1).bytes(13).len(), 13);
    }
}
