//! The checker of isolation: whose token does who get, over many random interleavings. It knows nothing of the cache it
//! judges. Shared by the unit test of the key and, through the public API, by `tests/acquire_isolation.rs`.

/// Who asks for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) tenant: usize,
    pub(crate) user: usize,
    pub(crate) scope: usize,
}

pub(crate) const TENANTS: usize = 5;
pub(crate) const USERS: usize = 50;
pub(crate) const SCOPES: usize = 4;

impl Owner {
    /// What a token says about whose it is.
    pub(crate) fn mark(self) -> String {
        format!("t{}.u{}.s{}.", self.tenant, self.user, self.scope)
    }

    /// Whether a token is this owner's.
    pub(crate) fn owns(self, token: &str) -> bool {
        token.starts_with(&self.mark())
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// The owner asks; the answer must be the owner's.
    Ask(Owner),
    /// The owner's token was refused by the resource.
    Refuse(Owner),
    /// The user signs out of the tenant.
    Leave(Owner),
}

/// A seeded sequence (splitmix64), so that a failure can be seen again.
pub(crate) struct Acts(pub(crate) u64);

impl Iterator for Acts {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        let owner = Owner { tenant: self.below(TENANTS), user: self.below(USERS), scope: self.below(SCOPES) };
        Some(match self.below(100) {
            0 => Act::Leave(owner),
            1..=3 => Act::Refuse(owner),
            _ => Act::Ask(owner),
        })
    }
}

impl Acts {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        usize::try_from(word % limit as u64).unwrap_or(0)
    }
}
