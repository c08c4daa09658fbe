//! Who is signed in: a sealed cookie that names a session, and the session itself, in this process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{ClaimsChallenge, IdToken, Key, Namespace, Sealer, Secret, UserKey};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Sessions at a time; the one that ends first makes room.
const MOST: usize = 10_000;
/// How long a sign-in under way is remembered by the browser. The store forgets it after ten minutes as well.
const SIGN_IN_LIFE: u64 = 600;

/// All sessions. They are kept as long as the refresh tokens are: in memory.
pub(crate) struct Sessions {
    sealer: Sealer,
    place: Key,
    life: Duration,
    secure: bool,
    live: Mutex<HashMap<String, Session>>,
}

/// One browser in which a user is signed in.
#[derive(Clone)]
pub(crate) struct Session {
    /// Random; in the cookie, and nowhere else.
    pub(crate) id: String,
    pub(crate) user: UserKey,
    pub(crate) id_token: IdToken,
    /// What a form of this session must bring along.
    pub(crate) csrf: Secret,
    /// What the next sign-in must satisfy.
    pub(crate) step_up: Option<ClaimsChallenge>,
    ends: Instant,
}

/// What is in the cookie: no token, nothing that helps without this process.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    session: String,
    tenant: String,
    user: String,
}

impl Sessions {
    pub(crate) fn new(sealer: Sealer, life: Duration, secure: bool) -> Self {
        let place = Namespace::rebuildable("web-login").partition(["cookie"]).key(["session"]);
        Self { sealer, place, life, secure, live: Mutex::default() }
    }

    /// Begins a session under a new id; the cookie for it. `None` when there is no randomness.
    pub(crate) fn begin(&self, id_token: IdToken) -> Option<HeaderValue> {
        let (id, csrf) = (random_text()?, random_text()?);
        let user = id_token.user_key();
        let sealed =
            Sealed { session: id.clone(), tenant: user.tenant().to_string(), user: user.object_id().to_string() };
        let sealed = self.sealer.seal(&self.place, &serde_json::to_vec(&sealed).ok()?).ok()?;
        let cookie = self.cookie(self.name(), &URL_SAFE_NO_PAD.encode(sealed), self.life.as_secs());
        let now = Instant::now();
        let session =
            Session { id: id.clone(), user, id_token, csrf: csrf.into(), step_up: None, ends: now + self.life };
        let mut live = self.lock();
        live.retain(|_, session| session.ends > now);
        if live.len() >= MOST
            && let Some(first) = live.values().min_by_key(|session| session.ends).map(|session| session.id.clone())
        {
            live.remove(&first);
        }
        live.insert(id, session);
        cookie
    }

    /// The session of a browser.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<Session> {
        let sealed = URL_SAFE_NO_PAD.decode(cookie(headers, self.name())?).ok()?;
        let opened = self.sealer.open(&self.place, &sealed).ok()?;
        let sealed: Sealed = serde_json::from_slice(&opened).ok()?;
        let session = self.lock().get(&sealed.session).filter(|session| session.ends > Instant::now()).cloned()?;
        let is_users =
            session.user.tenant().as_str() == sealed.tenant && session.user.object_id().as_str() == sealed.user;
        is_users.then_some(session)
    }

    /// Notes what the user's next sign-in must satisfy.
    pub(crate) fn step_up(&self, session: &Session, claims: Option<&ClaimsChallenge>) {
        if let Some(session) = self.lock().get_mut(&session.id) {
            session.step_up = claims.cloned();
        }
    }

    /// Ends one session.
    pub(crate) fn end(&self, session: &Session) {
        self.lock().remove(&session.id);
    }

    /// Ends every session of a user.
    pub(crate) fn end_all(&self, user: &UserKey) {
        self.lock().retain(|_, session| session.user != *user);
    }

    /// Removes the cookie of the session.
    pub(crate) fn gone(&self) -> Option<HeaderValue> {
        self.cookie(self.name(), "", 0)
    }

    /// What names a browser during its sign-ins, and the cookie that keeps it; a new one where there is none yet.
    pub(crate) fn browser(&self, headers: &HeaderMap) -> Option<(String, HeaderValue)> {
        let browser = match self.known_browser(headers) {
            Some(browser) => browser,
            None => random_text()?,
        };
        let cookie = self.cookie(self.sign_in_name(), &browser, SIGN_IN_LIFE)?;
        Some((browser, cookie))
    }

    /// The same when it must be there already.
    pub(crate) fn known_browser(&self, headers: &HeaderMap) -> Option<String> {
        let text = cookie(headers, self.sign_in_name())?;
        let well_formed = text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        well_formed.then(|| text.to_owned())
    }

    /// Browsers hold `__Host-` cookies to https, this host and this path; on loopback there is no https.
    const fn name(&self) -> &'static str {
        if self.secure { "__Host-session" } else { "session" }
    }

    const fn sign_in_name(&self) -> &'static str {
        if self.secure { "__Host-sign-in" } else { "sign-in" }
    }

    /// Lax, not strict: the browser comes back from Entra, which is another site.
    fn cookie(&self, name: &str, value: &str, age: u64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")).ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("live", &self.lock().len()).finish_non_exhaustive()
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// 256 unpredictable bits as 43 characters.
fn random_text() -> Option<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}
