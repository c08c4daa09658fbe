//! The checks of an On-Behalf-Of assertion. The user-token service makes the same ones.

use serde_json::Value;

use super::directory::{App, Resource, resource};
use super::error::{self, OAuthError};
use crate::constants::{self, User, V1_ISSUER_HOST};
use crate::state::Shared;
use crate::tokens::{self, Refusal};

/// Clock skew tolerated in an assertion, seconds.
const SKEW: i64 = 60;

/// The user of an assertion that this app may exchange in this tenant.
pub(crate) fn user(shared: &Shared, app: &App, tenant: &str, assertion: &str) -> Result<&'static User, OAuthError> {
    let (ring, claims) = tokens::verified(shared, assertion).map_err(invalid)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (has_scopes, is_app) = (!text("scp").trim().is_empty(), text("idtyp") == "app");
    if is_app {
        return Err(error::invalid_grant(
            7_000_114,
            format!("Application '{}' is not allowed to make application on-behalf-of calls.", app.id),
        ));
    }
    if !has_scopes {
        return Err(error::invalid_grant(
            240002,
            "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.",
        ));
    }
    let audience = text("aud");
    let own = resource(&audience).is_some_and(|target| target.id.eq_ignore_ascii_case(&app.id));
    if !own && !audience.eq_ignore_ascii_case(&app.id) {
        return Err(error::invalid_grant(
            500131,
            format!(
                "Assertion audience does not match the Client app presenting the assertion. The audience in the \
                 assertion was '{audience}' and the expected audience is '{id}' or one of the Application Uris of this \
                 application with App ID '{id}'({name}). The downstream client must request a token for the expected \
                 audience (the application that made the OBO request) and this application should use that token as \
                 the assertion.",
                id = app.id,
                name = app.name,
            ),
        ));
    }
    let caller = tokens::identity(shared, ring, claims.clone()).map_err(invalid)?;
    let now = shared.clock.now();
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    let expires = time("exp").ok_or_else(|| invalid(Refusal::Malformed))?;
    if now >= expires.saturating_add(SKEW) || now < time("nbf").unwrap_or(i64::MIN).saturating_sub(SKEW) {
        return Err(error::invalid_grant(
            500133,
            format!(
                "Assertion is not within its valid time range. Ensure that the access token is not expired before using \
                 it for user assertion, or request a new token. Current time: {now}, expiry time of assertion {expires}."
            ),
        ));
    }
    let user = constants::user_by_oid(&caller.oid).filter(|user| user.tenant == tenant && caller.tenant == tenant);
    user.ok_or_else(|| {
        error::invalid_grant(
            50020,
            format!(
                "User account '{}' from identity provider '{V1_ISSUER_HOST}/{}/' does not exist in tenant '{tenant}' \
                 and cannot access the application '{}'({}) in that tenant.",
                caller.oid, caller.tenant, app.id, app.name
            ),
        )
    })
}

/// Whether the app may have a token of this resource for this user now.
pub(crate) fn permission(shared: &Shared, app: &App, user: &User, target: &Resource) -> Result<(), OAuthError> {
    let directory = shared.directory();
    if directory.needs_mfa(user.oid) {
        return Err(OAuthError::new(
            400,
            "interaction_required",
            50076,
            format!(
                "Due to a configuration change made by your administrator, or because you moved to a new location, you \
                 must use multi-factor authentication to access '{}'.",
                target.id
            ),
        )
        .suberror("basic_action")
        .claims(
            r#"{"access_token":{"capolids":{"essential":true,"values":["5a5a5a5a-0000-4000-8000-00000000ca01"]}}}"#
                .to_owned(),
        ));
    }
    if directory.has_consent(user.oid, &app.id, target.id) {
        return Ok(());
    }
    Err(error::invalid_grant(
        65001,
        format!(
            "The user or administrator has not consented to use the application with ID '{}' named '{}'. Send an \
             interactive authorization request for this user and resource.",
            app.id, app.name
        ),
    )
    .suberror("consent_required"))
}

fn invalid(refusal: Refusal) -> OAuthError {
    let reason = match refusal {
        Refusal::UnknownKey => "The key was not found.",
        Refusal::Signature => "The provided signature value did not match the expected signature value.",
        Refusal::Issuer | Refusal::Tenant => "The issuer of the assertion is not this authority.",
        _ => "The assertion is malformed.",
    };
    error::invalid_grant(50013, format!("Assertion failed signature validation. [Reason - {reason}]"))
}
