//! Signed-in users, sign-in links and magic codes.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::constants::User;
use crate::state::lock;

/// Life of a sign-in link and of a code, seconds.
const PENDING_LIFE: i64 = 600;

/// Where a token is kept: as the real service partitions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// App id of the bot.
    pub(crate) bot: String,
    /// `activity.from.id`.
    pub(crate) user: String,
    /// Base channel.
    pub(crate) channel: String,
    /// Connection name.
    pub(crate) connection: String,
}

/// A stored token.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    /// Who signed in.
    pub(crate) user: &'static User,
    /// The token.
    pub(crate) token: String,
    /// Unix seconds.
    pub(crate) expires: i64,
}

#[derive(Debug, Default)]
struct Inner {
    tokens: HashMap<Place, Signed>,
    links: HashMap<String, (Place, i64)>,
    codes: HashMap<String, (Place, &'static User, i64)>,
}

/// State of the service.
#[derive(Debug, Default)]
pub(crate) struct TokenStore {
    inner: Mutex<Inner>,
}

impl TokenStore {
    pub(crate) fn put(&self, place: Place, signed: Signed) {
        lock(&self.inner).tokens.insert(place, signed);
    }

    pub(crate) fn get(&self, place: &Place) -> Option<Signed> {
        lock(&self.inner).tokens.get(place).cloned()
    }

    /// Signs out of one connection, or of all; of one channel, or of all.
    pub(crate) fn remove(&self, bot: &str, user: &str, channel: Option<&str>, connection: Option<&str>) {
        lock(&self.inner).tokens.retain(|place, _| {
            place.bot != bot
                || place.user != user
                || channel.is_some_and(|channel| channel != place.channel)
                || connection.is_some_and(|connection| connection != place.connection)
        });
    }

    /// Notes a sign-in link.
    pub(crate) fn add_link(&self, id: String, place: Place, now: i64) {
        let mut inner = lock(&self.inner);
        inner.links.retain(|_, (_, end)| *end > now);
        inner.links.insert(id, (place, now.saturating_add(PENDING_LIFE)));
    }

    /// The sign-in a link belongs to.
    pub(crate) fn link(&self, id: &str, now: i64) -> Option<Place> {
        lock(&self.inner).links.get(id).filter(|(_, end)| *end > now).map(|(place, _)| place.clone())
    }

    /// Ends a link and notes the code its page shows.
    pub(crate) fn add_code(&self, link: &str, code: String, place: Place, user: &'static User, now: i64) {
        let mut inner = lock(&self.inner);
        inner.links.remove(link);
        inner.codes.retain(|_, (_, _, end)| *end > now);
        inner.codes.insert(code, (place, user, now.saturating_add(PENDING_LIFE)));
    }

    /// Uses up a code. It belongs to one user, connection and channel; elsewhere it is wrong and stays.
    pub(crate) fn take_code(&self, code: &str, place: &Place, now: i64) -> Option<&'static User> {
        let mut inner = lock(&self.inner);
        let fits = inner.codes.get(code).is_some_and(|(wanted, _, end)| wanted == place && *end > now);
        if !fits {
            return None;
        }
        inner.codes.remove(code).map(|(_, user, _)| user)
    }
}
