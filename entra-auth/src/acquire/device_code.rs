use std::{fmt, time::Duration};

use http::StatusCode;
use tokio::time::Instant;
use url::Url;

use super::{
    party::with_sign_in_scopes,
    users::{First, SignedIn, Users},
    wire,
};
use crate::{
    CorrelationId, Error, ErrorKind, Scopes, Secret,
    document::{Document, Seconds, Unreadable},
    is_https_or_loopback,
};

/// A sign-in that waits for the user to enter a code in a browser elsewhere; see [`Users::device_code`].
///
/// `Debug` shows neither code.
pub struct DeviceCode {
    device_code: Secret,
    user_code: Box<str>,
    verification_uri: Url,
    message: Option<Box<str>>,
    interval: Duration,
    deadline: Instant,
    scopes: Scopes,
}

impl DeviceCode {
    /// What the user enters. Show it to the one user in front of the device: whoever is talked into entering it signs
    /// this device in.
    #[must_use]
    #[inline]
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// Where the user enters it.
    #[must_use]
    #[inline]
    pub const fn verification_uri(&self) -> &Url {
        &self.verification_uri
    }

    /// Entra's own sentence with both, in English.
    #[must_use]
    #[inline]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// How long the code is still good; 15 minutes at first.
    #[must_use]
    #[inline]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The members of the answer that are used.
struct Started {
    device_code: String,
    user_code: String,
    verification_uri: String,
    expires_in: i64,
    interval: Option<i64>,
    message: Option<String>,
}

impl Started {
    #[inline]
    fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let answer = Document::read(body)?;
        Ok(Self {
            device_code: answer.required("device_code")?,
            user_code: answer.required("user_code")?,
            verification_uri: answer.required("verification_uri")?,
            expires_in: answer.required::<Seconds>("expires_in")?.0,
            interval: answer.required::<Seconds>("interval").ok().map(|seconds| seconds.0),
            message: answer.optional("message")?,
        })
    }
}

/// Between two polls, unless the answer says otherwise (RFC 8628 section 3.2), and what `slow_down` adds (3.5).
const INTERVAL: Duration = Duration::from_secs(5);
const MAX_INTERVAL: Duration = Duration::from_secs(60);

impl Users {
    /// Starts a sign-in on a device without a browser
    /// (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code>).
    ///
    /// Many tenants forbid this grant by Conditional Access, because a code can be phished; prefer [`Users::sign_in`]
    /// where there is a browser.
    ///
    /// # Errors
    ///
    /// As any token request: see [`ErrorKind`].
    pub async fn device_code(&self, scopes: &Scopes) -> Result<DeviceCode, Error> {
        let id = CorrelationId::random();
        let wanted = with_sign_in_scopes(scopes)?;
        let endpoint = self.party.endpoint(&self.tenant, "devicecode");
        let form = vec![("client_id", self.party.client_id().as_str().into()), ("scope", wanted.as_str().into())];
        let started = Instant::now();
        let (head, body) = self.engine.once(|| std::future::ready(wire::encode(&endpoint, &form, &id))).await?;
        if head.status != StatusCode::OK {
            return Err(wire::failure(head.status, &head.headers, &body, self.engine.clock.now()));
        }
        read(&body, started, scopes).ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                "the answer to the device code request is none; look for a proxy in between",
            )
        })
    }

    /// Waits until the user has finished, and signs them in. Drop the future to stop waiting; nothing else needs to be
    /// undone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConsentRequired`] when the user declined, [`ErrorKind::Reauthenticate`] when the code expired before
    /// they finished (start again), or what Entra answers. Passing faults are waited out.
    pub async fn wait_for(&self, code: DeviceCode) -> Result<SignedIn, Error> {
        let mut interval = code.interval;
        loop {
            if code.remaining() <= interval {
                tokio::time::sleep_until(code.deadline).await;
                return Err(expired());
            }
            tokio::time::sleep(interval).await;
            let fields = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", code.device_code.expose()),
            ];
            let scopes = &code.scopes;
            let first = First { name: "device_code", tenant: &self.tenant, fields: &fields, scopes, nonce: None };
            let error = match self.first_tokens(first, None, None).await {
                Ok(signed_in) => return Ok(signed_in),
                Err(error) => error,
            };
            interval = match error.oauth().map_or("", |oauth| &oauth.error) {
                "authorization_pending" => interval,
                "slow_down" => interval + INTERVAL,
                "authorization_declined" | "access_denied" => {
                    return Err(again(&error, ErrorKind::ConsentRequired, "the user declined the sign-in"));
                }
                "expired_token" | "code_expired" => return Err(expired()),
                _ if error.is_retryable() => {
                    error.retry_after().unwrap_or(interval * 2).clamp(interval, MAX_INTERVAL.max(interval))
                }
                _ => return Err(error),
            };
        }
    }
}

#[inline]
fn read(body: &[u8], started: Instant, scopes: &Scopes) -> Option<DeviceCode> {
    let answer = Started::read(body).ok()?;
    let verification_uri = Url::parse(&answer.verification_uri).ok().filter(is_https_or_loopback)?;
    let seconds = |number: i64, allowed: std::ops::RangeInclusive<i64>| {
        allowed.contains(&number).then(|| Duration::from_secs(number.unsigned_abs()))
    };
    let life = seconds(answer.expires_in, 1..=86_400)?;
    let interval = answer.interval.map_or(Some(INTERVAL), |interval| seconds(interval, 1..=3600))?;
    let shown = |text: &str| !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| (0x20..0x7f).contains(&b));
    if answer.device_code.is_empty() || !shown(&answer.user_code) {
        return None;
    }
    Some(DeviceCode {
        device_code: answer.device_code.into(),
        user_code: answer.user_code.into(),
        verification_uri,
        message: answer.message.map(Into::into),
        interval,
        deadline: started + life,
        scopes: scopes.clone(),
    })
}

fn expired() -> Error {
    Error::new(ErrorKind::Reauthenticate, "the device code has expired; start the sign-in again")
}

/// What Entra said, under the kind that the grant's own error codes mean.
#[inline]
fn again(error: &Error, kind: ErrorKind, text: &'static str) -> Error {
    error.oauth().cloned().into_iter().fold(Error::new(kind, text), Error::with_oauth)
}

impl fmt::Debug for DeviceCode {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode").field("verification_uri", &self.verification_uri.as_str()).finish_non_exhaustive()
    }
}
