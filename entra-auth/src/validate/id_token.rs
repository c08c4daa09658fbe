use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use super::{
    TenantPolicy, UntrustedDisplay,
    common::{Ground, Setup, setup_setters},
    principal::{TokenVersion, check_types, display, has_more_groups, id, tenant_of},
};
use crate::{
    AccessToken, Authority, BuildError, Claims, ClientId, Clock, HttpTransport, KeySource, Lifetime, ObjectId, Secret,
    TenantId, TokenError, TokenErrorKind, TokenTimes, UnverifiedToken, UserKey,
};

/// Validates the id tokens that Entra issues to your application when a user signs in.
///
/// An id token says who signed in, to the application that asked. It is no access token: an API never accepts one, and
/// what looks like an access token is refused here. The order of checks: form and header, tenant policy and issuer,
/// audience, lifetime, key, signature, issuer and cloud of the key, nonce, age of the sign-in. See
/// <https://learn.microsoft.com/entra/identity-platform/id-tokens#validate-tokens>.
///
/// ```no_run
/// # async fn signed_in(id_token: &str, sent: &entra_auth::Secret) -> Result<(), Box<dyn std::error::Error>> {
/// use entra_auth::{Authority, IdTokenValidator, TenantPolicy};
///
/// let tenant = "11111111-1111-1111-1111-111111111111".parse()?;
/// let client = "22222222-2222-2222-2222-222222222222".parse()?;
/// let validator =
///     IdTokenValidator::builder(Authority::default(), client, TenantPolicy::Single(tenant)).build()?;
///
/// let id_token = validator.validate(id_token, sent).await?;
/// let _key = id_token.user_key();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct IdTokenValidator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ground: Ground,
    client: ClientId,
    max_sign_in_age: Option<Duration>,
}

impl IdTokenValidator {
    /// Starts a validator for the id tokens that this cloud issues to that client, for users of tenants of that policy.
    #[inline]
    pub fn builder(authority: Authority, client: ClientId, policy: TenantPolicy) -> IdTokenValidatorBuilder {
        IdTokenValidatorBuilder { setup: Setup::new(authority, policy), client, max_sign_in_age: None }
    }

    /// Validates an id token whose `nonce` must be the one that was sent with the sign-in.
    ///
    /// # Errors
    ///
    /// One [`TokenErrorKind`] for each rule: [`TokenErrorKind::NonceMismatch`] when the token belongs to another sign-in,
    /// [`TokenErrorKind::TooOld`] when the user must sign in again. Only [`TokenError::is_retryable`] ones may be better
    /// later.
    pub async fn validate(&self, token: &str, nonce: &Secret) -> Result<IdToken, TokenError> {
        self.0.validate(token, Some(nonce)).await.map_err(note)
    }

    /// Validates an id token of a grant that sends no nonce (device code, refresh token). A token with one is refused: it
    /// belongs to a browser's sign-in.
    ///
    /// # Errors
    ///
    /// As [`IdTokenValidator::validate`].
    pub async fn validate_without_nonce(&self, token: &str) -> Result<IdToken, TokenError> {
        self.0.validate(token, None).await.map_err(note)
    }
}

#[inline]
fn note(error: TokenError) -> TokenError {
    tracing::info!(event.name = "token.validation_failed", rule = error.kind().as_str(), "id token refused");
    error
}

/// Claims of access tokens. What carries one is no id token, although audience and issuer may be the same.
const OF_ACCESS_TOKENS: &[&str] = &["scp", "idtyp", "azpacr", "appidacr"];

impl Inner {
    async fn validate(&self, token: &str, nonce: Option<&Secret>) -> Result<IdToken, TokenError> {
        let unverified = UnverifiedToken::parse(token)?;
        let claims = unverified.unverified_claims();
        let issued = self.ground.judge_issuer(claims)?;
        if issued.version != TokenVersion::V2 {
            return Err(TokenErrorKind::IssuerMismatch.into());
        }
        check_types(claims)?;
        if OF_ACCESS_TOKENS.iter().any(|name| claims.has(name)) {
            return Err(TokenErrorKind::TypeNotAllowed.into());
        }
        self.judge_audience(claims)?;
        let now = self.ground.clock.now();
        let times = self.ground.judge_times(claims, now)?;
        let claims = self.ground.verify(unverified, &issued).await?.into_claims();
        judge_nonce(&claims, nonce)?;
        self.judge_sign_in(&claims, now)?;
        IdToken::read(claims, times, Secret::new(token))
    }

    /// `aud` holds this client. Where others stand beside it `azp` must say that this client asked; where `azp` is there
    /// it must say so too.
    #[inline]
    fn judge_audience(&self, claims: &Claims) -> Result<(), TokenError> {
        let raw = claims.raw("aud").ok_or(TokenErrorKind::MissingClaim)?;
        let audiences = match raw.get().starts_with('[') {
            true => claims.strings("aud")?.unwrap_or_default(),
            false => vec![claims.required_string("aud")?.to_owned()],
        };
        let ours = |text: &str| text.eq_ignore_ascii_case(self.client.as_str());
        if !audiences.iter().any(|audience| ours(audience)) {
            return Err(TokenErrorKind::AudienceMismatch.into());
        }
        match claims.string("azp")? {
            Some(azp) if ours(azp) => Ok(()),
            None if audiences.len() == 1 => Ok(()),
            Some(_) | None => Err(TokenErrorKind::AudienceMismatch.into()),
        }
    }

    /// The user signed in recently enough, if that matters.
    #[inline]
    fn judge_sign_in(&self, claims: &Claims, now: OffsetDateTime) -> Result<(), TokenError> {
        let signed_in = claims.numeric_date("auth_time")?;
        let Some(max_age) = self.max_sign_in_age else { return Ok(()) };
        let signed_in = signed_in.ok_or(TokenErrorKind::MissingClaim)?;
        if signed_in > now + self.ground.lifetime.leeway() {
            return Err(TokenErrorKind::NotYetValid.into());
        }
        if now - signed_in > max_age + self.ground.lifetime.leeway() {
            return Err(TokenErrorKind::TooOld.into());
        }
        Ok(())
    }
}

#[inline]
fn judge_nonce(claims: &Claims, sent: Option<&Secret>) -> Result<(), TokenError> {
    let same = match (claims.string("nonce")?, sent) {
        // An empty one was never made by chance: it would match whatever forgot to send one.
        (Some(nonce), Some(sent)) => !sent.is_empty() && bool::from(nonce.as_bytes().ct_eq(sent.expose().as_bytes())),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if same { Ok(()) } else { Err(TokenErrorKind::NonceMismatch.into()) }
}

/// An id token, fully validated: who signed in to this application. A clone is an `Arc` clone.
///
/// Its only constructor is [`IdTokenValidator`]. The user is [`IdToken::user_key`]; names are for people's eyes only.
/// Claims: <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>.
///
/// ```compile_fail
/// fn forge(claims: entra_auth::Claims) -> entra_auth::IdToken {
///     entra_auth::IdToken(claims)
/// }
/// ```
#[derive(Clone)]
pub struct IdToken(Arc<Content>);

struct Content {
    tenant: TenantId,
    object_id: ObjectId,
    subject: Box<str>,
    issued_at: OffsetDateTime,
    authenticated_at: Option<OffsetDateTime>,
    expires_on: OffsetDateTime,
    roles: Vec<String>,
    groups: Option<Vec<String>>,
    claims: Claims,
    raw: Secret,
}

impl IdToken {
    #[inline]
    fn read(claims: Claims, times: TokenTimes, raw: Secret) -> Result<Self, TokenError> {
        Ok(Self(Arc::new(Content {
            tenant: tenant_of(&claims)?,
            object_id: id(claims.required_string("oid")?)?,
            subject: claims.required_string("sub")?.into(),
            issued_at: times.issued_at().ok_or(TokenErrorKind::MissingClaim)?,
            authenticated_at: claims.numeric_date("auth_time")?,
            expires_on: times.expires_on(),
            roles: claims.strings("roles")?.unwrap_or_default(),
            groups: claims.strings("groups")?,
            raw,
            claims,
        })))
    }

    /// The user: tenant and object id. The only key under which anything of a user is kept. Both claims come with the
    /// scope `profile`.
    #[must_use]
    #[inline]
    pub fn user_key(&self) -> UserKey {
        UserKey::assume_verified(self.0.tenant.clone(), self.0.object_id.clone())
    }

    /// `tid`: the tenant that the user signed in to.
    #[must_use]
    #[inline]
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    /// `oid`: the user's object id in that tenant.
    #[must_use]
    #[inline]
    pub fn object_id(&self) -> &ObjectId {
        &self.0.object_id
    }

    /// `sub`: the user as this application alone sees them.
    #[must_use]
    #[inline]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// `iat`: when the token was issued.
    #[must_use]
    #[inline]
    pub fn issued_at(&self) -> OffsetDateTime {
        self.0.issued_at
    }

    /// `auth_time`: when the user last signed in, when the registration asks for this claim.
    #[must_use]
    #[inline]
    pub fn authenticated_at(&self) -> Option<OffsetDateTime> {
        self.0.authenticated_at
    }

    /// `exp`: until when the token could be accepted. It does not end the application's own session.
    #[must_use]
    #[inline]
    pub fn expires_on(&self) -> OffsetDateTime {
        self.0.expires_on
    }

    /// `roles`: application roles.
    #[must_use]
    #[inline]
    pub fn roles(&self) -> &[String] {
        &self.0.roles
    }

    /// `groups`: object ids of the user's groups, when the registration asks for them. `None` also when there are too
    /// many for a token; see [`IdToken::has_more_groups`].
    #[must_use]
    #[inline]
    pub fn groups(&self) -> Option<&[String]> {
        self.0.groups.as_deref()
    }

    /// Whether the user is in more groups than fit into a token, so that Graph must be asked.
    #[must_use]
    #[inline]
    pub fn has_more_groups(&self) -> bool {
        has_more_groups(&self.0.claims)
    }

    /// `sid`: the session in Entra, for front-channel sign-out.
    #[must_use]
    #[inline]
    pub fn session_id(&self) -> Option<&str> {
        self.text("sid")
    }

    /// `login_hint`: opaque, for `logout_hint` when the user signs out.
    #[must_use]
    #[inline]
    pub fn login_hint(&self) -> Option<&str> {
        self.text("login_hint")
    }

    /// Names to show to people, and for nothing else.
    #[must_use]
    #[inline]
    pub fn untrusted_display(&self) -> UntrustedDisplay<'_> {
        display(&self.0.claims)
    }

    /// Every claim of the token, the ones without a getter too.
    #[must_use]
    #[inline]
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// The token itself, for `id_token_hint`. Nobody accepts it as an access token.
    #[must_use]
    #[inline]
    pub fn raw(&self) -> &Secret {
        &self.0.raw
    }

    /// Checks that this token was issued together with an authorization code (`c_hash`). Entra sends the claim only when
    /// both come from the authorization endpoint; without it there is nothing to check.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::HashMismatch`]: the code is not the one of this sign-in. Redeem it nowhere.
    #[inline]
    pub fn check_code(&self, code: &Secret) -> Result<(), TokenError> {
        check_half_hash(self.text("c_hash"), code.expose())
    }

    /// Checks that this token was issued together with an access token (`at_hash`). Entra sends the claim only when both
    /// come from the authorization endpoint; without it there is nothing to check.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::HashMismatch`]: the access token is not the one of this sign-in. Use it nowhere.
    #[inline]
    pub fn check_access_token(&self, token: &AccessToken) -> Result<(), TokenError> {
        check_half_hash(self.text("at_hash"), token.expose())
    }

    #[inline]
    fn text(&self, name: &str) -> Option<&str> {
        self.0.claims.string(name).ok().flatten()
    }
}

#[inline]
fn check_half_hash(claim: Option<&str>, text: &str) -> Result<(), TokenError> {
    match claim {
        Some(hash) if !bool::from(hash.as_bytes().ct_eq(half_hash(text).as_bytes())) => {
            Err(TokenErrorKind::HashMismatch.into())
        }
        Some(_) | None => Ok(()),
    }
}

/// The left half of SHA-256, as base64url: what `c_hash` and `at_hash` are made of for `RS256`
/// ([OpenID Connect Core 3.3.2.11](https://openid.net/specs/openid-connect-core-1_0.html#HybridIDToken)).
#[inline]
fn half_hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let whole = digest.as_ref();
    URL_SAFE_NO_PAD.encode(whole.get(..whole.len() / 2).unwrap_or(whole))
}

/// Shows tenant and end, no claim of a person.
impl fmt::Debug for IdToken {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdToken")
            .field("tenant", &self.0.tenant)
            .field("expires_on", &self.0.expires_on)
            .finish_non_exhaustive()
    }
}

/// Settings of an [`IdTokenValidator`].
#[must_use]
pub struct IdTokenValidatorBuilder {
    setup: Setup,
    client: ClientId,
    max_sign_in_age: Option<Duration>,
}

impl IdTokenValidatorBuilder {
    setup_setters!();

    /// How long ago the user may have signed in (`auth_time`, an optional claim that the registration must ask for; send
    /// the same number of seconds as `max_age` in the authorize request). Default: not judged.
    #[inline]
    pub const fn max_sign_in_age(mut self, age: Duration) -> Self {
        self.max_sign_in_age = Some(age);
        self
    }

    /// The validator. It fetches nothing yet.
    ///
    /// # Errors
    ///
    /// With a tenant policy that can let nobody in, or without a transport when feature `reqwest` is off. The developer.
    #[inline]
    pub fn build(self) -> Result<IdTokenValidator, BuildError> {
        Ok(IdTokenValidator(Arc::new(Inner {
            ground: self.setup.build()?,
            client: self.client,
            max_sign_in_age: self.max_sign_in_age,
        })))
    }
}

impl fmt::Debug for IdTokenValidatorBuilder {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdTokenValidatorBuilder")
            .field("authority", &self.setup.authority)
            .field("policy", &self.setup.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_hashes_of_openid_connect_core() {
        for (text, expected) in [
            ("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ"),
            ("Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk", "LDktKdoQak3Pk0cnXxCltA"),
        ] {
            assert_eq!(half_hash(text), expected);
            assert!(check_half_hash(Some(expected), text).is_ok());
            assert!(check_half_hash(Some(expected), &format!("{text}x")).is_err());
            assert!(check_half_hash(Some(expected.get(1..).unwrap()), text).is_err());
            assert!(check_half_hash(Some(""), text).is_err());
            assert!(check_half_hash(None, text).is_ok());
        }
    }

    static_assertions::assert_impl_all!(IdToken: Send, Sync, Clone);
    static_assertions::assert_not_impl_any!(IdToken: serde::Serialize, Default, fmt::Display);
}
