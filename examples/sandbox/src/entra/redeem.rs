//! Grants that end a sign-in: authorization code and device code.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::directory::App;
use super::error::{self, OAuthError};
use super::form::Form;
use super::interaction::{Code, CodeRefusal, DeviceState, Interactions};
use crate::constants::User;
use crate::state::Shared;

/// Who signed in, with what was agreed on.
pub(crate) struct SignedIn {
    pub(crate) user: &'static User,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
}

/// `grant_type=authorization_code`: once, by the client, redirect URI, tenant and verifier it was issued to.
pub(crate) fn code(shared: &Shared, app: &App, tenant: &str, form: &Form) -> Result<SignedIn, OAuthError> {
    let (text, redirect_uri) = (form.need("code")?, form.need("redirect_uri")?);
    let verifier = form.get("code_verifier");
    let refused = |why| match why {
        CodeRefusal::Unknown => error::invalid_grant(
            70000,
            "Provided grant is invalid or malformed. The authorization code is not one that was issued here.",
        ),
        CodeRefusal::Used => error::invalid_grant(
            54005,
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh \
             token.",
        ),
        CodeRefusal::Expired => error::invalid_grant(
            70008,
            "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive \
             authorization request for this user and resource.",
        ),
    };
    let fits = |code: &Code| {
        if code.client != app.id {
            return Err(error::invalid_grant(
                70000,
                "Provided grant is invalid or malformed. The authorization code was issued to another application.",
            ));
        }
        if !code.tenant.eq_ignore_ascii_case(tenant) {
            return Err(error::invalid_grant(
                700_005,
                "Provided Authorization Code is intended to use against other tenant, thus rejected.",
            ));
        }
        if code.redirect_uri != redirect_uri {
            return Err(error::invalid_grant(
                500_112,
                format!(
                    "The reply address '{redirect_uri}' does not match the reply address '{}' provided when requesting \
                     Authorization code.",
                    code.redirect_uri
                ),
            ));
        }
        if verifier.map(challenge_of).as_deref() != Some(code.challenge.as_str()) {
            return Err(error::invalid_grant(
                501_481,
                "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
            ));
        }
        Ok(())
    };
    let code = shared.extension::<Interactions>().redeem(text, shared.clock.now(), refused, fits)?;
    Ok(SignedIn { user: code.user, scope: code.scope, nonce: code.nonce })
}

/// `grant_type=…:device_code`.
pub(crate) fn device_code(shared: &Shared, app: &App, tenant: &str, form: &Form) -> Result<SignedIn, OAuthError> {
    let text = form.need("device_code")?;
    let interactions = shared.extension::<Interactions>();
    let wrong = || OAuthError::new(400, "bad_verification_code", 70018, "Invalid verification code.");
    let device = interactions.poll(text).ok_or_else(wrong)?;
    if device.client != app.id || !device.tenant.eq_ignore_ascii_case(tenant) {
        return Err(wrong());
    }
    if shared.clock.now() >= device.expires {
        return Err(OAuthError::new(400, "expired_token", 70019, "Verification code expired."));
    }
    match device.state {
        DeviceState::Approved(user) => Ok(SignedIn { user, scope: device.scope, nonce: None }),
        DeviceState::Pending => Err(OAuthError::new(
            400,
            "authorization_pending",
            70016,
            "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
        )),
        DeviceState::Declined => {
            Err(OAuthError::new(400, "authorization_declined", 65004, "The user declined the sign-in."))
        }
        DeviceState::Redeemed => Err(error::invalid_grant(54005, "The device code was already redeemed.")),
    }
}

fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}
