//! What Entra remembers of people in front of a browser: their sessions, codes on their way, device sign-ins.

use std::collections::HashMap;
use std::sync::Mutex;

use http::{HeaderMap, header};

use crate::constants::{self, User};
use crate::state::{lock, uuid};

/// Life of an authorization code, seconds.
const CODE_LIFE: i64 = 600;
/// Life of a device code, seconds.
pub(crate) const DEVICE_LIFE: i64 = 900;
/// Entries of each kind; older ones make room.
const MOST: usize = 10_000;
/// The cookie of a browser session.
const COOKIE: &str = "sandbox-entra-session";

/// What an authorization code stands for.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) client: String,
    /// The tenant of the path, in lower case.
    pub(crate) tenant: String,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
    pub(crate) user: &'static User,
    expires: i64,
    used: bool,
}

/// Why a code is not redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeRefusal {
    Unknown,
    Used,
    Expired,
}

/// A sign-in on a device.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) client: String,
    pub(crate) tenant: String,
    pub(crate) scope: String,
    pub(crate) user_code: String,
    pub(crate) state: DeviceState,
    pub(crate) expires: i64,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceState {
    Pending,
    Approved(&'static User),
    Declined,
    Redeemed,
}

/// The memory of one world.
#[derive(Debug, Default)]
pub(crate) struct Interactions {
    sessions: Mutex<HashMap<String, &'static str>>,
    codes: Mutex<HashMap<String, Code>>,
    devices: Mutex<HashMap<String, Device>>,
}

impl Interactions {
    /// The user who is signed in in this browser.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Option<&'static User> {
        let oid = *lock(&self.sessions).get(&cookie(headers)?)?;
        constants::user_by_oid(oid)
    }

    /// Signs a user in; the header value that sets the cookie.
    pub(crate) fn sign_in(&self, user: &'static User) -> String {
        let id = format!("{}{}", uuid(), uuid()).replace('-', "");
        let mut sessions = lock(&self.sessions);
        make_room(&mut sessions);
        sessions.insert(id.clone(), user.oid);
        format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Lax")
    }

    /// Ends the browser's session; the header value that removes the cookie.
    pub(crate) fn sign_out(&self, headers: &HeaderMap) -> String {
        if let Some(id) = cookie(headers) {
            lock(&self.sessions).remove(&id);
        }
        format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
    }

    /// A new code.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn issue(
        &self,
        client: &str,
        tenant: &str,
        redirect_uri: &str,
        challenge: &str,
        scope: &str,
        nonce: Option<&str>,
        user: &'static User,
        now: i64,
    ) -> String {
        let text = format!("1.sandbox-code-{}{}", uuid(), uuid()).replace('-', "");
        let code = Code {
            client: client.to_owned(),
            tenant: tenant.to_ascii_lowercase(),
            redirect_uri: redirect_uri.to_owned(),
            challenge: challenge.to_owned(),
            scope: scope.to_owned(),
            nonce: nonce.map(str::to_owned),
            user,
            expires: now.saturating_add(CODE_LIFE),
            used: false,
        };
        let mut codes = lock(&self.codes);
        make_room(&mut codes);
        codes.insert(text.clone(), code);
        text
    }

    /// Uses a code up, if `fits` has nothing against it.
    pub(crate) fn redeem<E>(
        &self,
        text: &str,
        now: i64,
        refused: impl FnOnce(CodeRefusal) -> E,
        fits: impl FnOnce(&Code) -> Result<(), E>,
    ) -> Result<Code, E> {
        let mut codes = lock(&self.codes);
        match codes.get_mut(text) {
            None => Err(refused(CodeRefusal::Unknown)),
            Some(code) if code.used => Err(refused(CodeRefusal::Used)),
            Some(code) if now >= code.expires => Err(refused(CodeRefusal::Expired)),
            Some(code) => {
                fits(code)?;
                code.used = true;
                Ok(code.clone())
            }
        }
    }

    /// Starts a device sign-in: device code and user code.
    pub(crate) fn start_device(&self, client: &str, tenant: &str, scope: &str, now: i64) -> (String, String) {
        let device_code = format!("sandbox-device-{}{}", uuid(), uuid()).replace('-', "");
        let user_code = uuid().replace('-', "").get(..9).unwrap_or("000000000").to_ascii_uppercase();
        let device = Device {
            client: client.to_owned(),
            tenant: tenant.to_ascii_lowercase(),
            scope: scope.to_owned(),
            user_code: user_code.clone(),
            state: DeviceState::Pending,
            expires: now.saturating_add(DEVICE_LIFE),
        };
        let mut devices = lock(&self.devices);
        make_room(&mut devices);
        devices.insert(device_code.clone(), device);
        (device_code, user_code)
    }

    /// The sign-in behind a user code that still waits.
    pub(crate) fn waiting(&self, user_code: &str, now: i64) -> Option<Device> {
        let wanted = user_code.trim().to_ascii_uppercase();
        lock(&self.devices)
            .values()
            .find(|device| device.user_code == wanted && device.state == DeviceState::Pending && now < device.expires)
            .cloned()
    }

    /// Notes what the user did.
    pub(crate) fn decide(&self, user_code: &str, state: DeviceState) {
        if let Some(device) = lock(&self.devices).values_mut().find(|device| device.user_code == user_code) {
            device.state = state;
        }
    }

    /// The sign-in of a device code; an approved one is redeemed by being looked at.
    pub(crate) fn poll(&self, device_code: &str) -> Option<Device> {
        let mut devices = lock(&self.devices);
        let device = devices.get_mut(device_code)?;
        let seen = device.clone();
        if matches!(device.state, DeviceState::Approved(_)) {
            device.state = DeviceState::Redeemed;
        }
        Some(seen)
    }
}

/// Drops anything when there is too much: a sandbox that runs for days does not grow for ever.
fn make_room<V>(map: &mut HashMap<String, V>) {
    if map.len() >= MOST {
        map.clear();
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=').map(str::to_owned))
}
