//! Tokens: minting them as the real issuers do, and the strict check every sandbox API makes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use crate::constants::{self, CHANNEL_ISSUER, CONNECTOR_RESOURCE, MSA_TENANT, RESOURCE_TENANT, User, V1_ISSUER_HOST};
use crate::keys::Ring;
use crate::state::{Shared, uuid};

/// Clock skew the sandbox tolerates, seconds.
const SKEW: i64 = 60;
/// Longest token looked at, bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Access token generation; the resource's registration decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Issuer `https://sts.windows.net/{tid}/`, caller in `appid`.
    V1,
    /// Issuer `{authority}/{tid}/v2.0`, caller in `azp`.
    V2,
}

/// How a client proved itself: `0` public, `1` secret, `2` certificate.
pub(crate) type Acr = &'static str;

/// A channel token with exactly the five claims Teams sends. `service_url` is written in lower case.
pub(crate) fn channel_token(shared: &Shared, audience: &str, service_url: &str) -> String {
    shared.keys.sign(Ring::Channel, &channel_claims(shared, audience, service_url))
}

/// The claims of [`channel_token`], for a caller that wants to change one of them.
pub(crate) fn channel_claims(shared: &Shared, audience: &str, service_url: &str) -> Value {
    let now = shared.clock.now();
    json!({
        "serviceurl": service_url.to_lowercase(),
        "nbf": now,
        "exp": now + seconds(shared.options.channel_token_ttl),
        "iss": CHANNEL_ISSUER,
        "aud": audience,
    })
}

/// The claims of an app-only access token.
pub(crate) fn app_claims(
    shared: &Shared,
    tenant: &str,
    app_id: &str,
    audience: &str,
    version: Version,
    acr: Acr,
) -> Value {
    let principal = principal_id(tenant, app_id);
    let mut claims =
        common_claims(shared, tenant, app_id, audience, version, acr, seconds(shared.options.app_token_ttl));
    claims.insert("idtyp".into(), json!("app"));
    claims.insert("oid".into(), json!(principal));
    claims.insert("sub".into(), json!(principal));
    if version == Version::V1 {
        claims.insert("idp".into(), json!(format!("{V1_ISSUER_HOST}/{tenant}/")));
    }
    Value::Object(claims)
}

/// A delegated access token of a user. `scopes` is the space separated `scp` claim.
pub(crate) fn user_token(
    shared: &Shared,
    user: &User,
    client: &str,
    audience: &str,
    scopes: &str,
    version: Version,
    acr: Acr,
) -> String {
    shared.keys.sign(Ring::Entra, &user_claims(shared, user, client, audience, scopes, version, acr))
}

/// The claims of [`user_token`].
pub(crate) fn user_claims(
    shared: &Shared,
    user: &User,
    client: &str,
    audience: &str,
    scopes: &str,
    version: Version,
    acr: Acr,
) -> Value {
    let ttl = seconds(shared.options.user_token_ttl);
    let mut claims = common_claims(shared, user.tenant, client, audience, version, acr, ttl);
    claims.insert("oid".into(), json!(user.oid));
    claims.insert("sub".into(), json!(pairwise(user.oid, audience)));
    claims.insert("scp".into(), json!(scopes));
    claims.insert("name".into(), json!(user.name));
    match version {
        Version::V1 => {
            claims.insert("upn".into(), json!(user.upn));
            claims.insert("unique_name".into(), json!(user.upn));
            claims.insert("given_name".into(), json!(user.given_name));
            claims.insert("acr".into(), json!("1"));
            claims.insert("amr".into(), json!(["pwd", "mfa"]));
        }
        Version::V2 => {
            claims.insert("preferred_username".into(), json!(user.upn));
        }
    }
    Value::Object(claims)
}

/// What Teams puts into `signin/tokenExchange`: a token of the single-sign-on app, got by the Teams client.
pub(crate) fn sso_token(shared: &Shared, user: &User) -> String {
    user_token(shared, user, constants::TEAMS_CLIENT_ID, shared.sso_app_id(), "access_as_user", Version::V2, "0")
}

fn common_claims(
    shared: &Shared,
    tenant: &str,
    client: &str,
    audience: &str,
    version: Version,
    acr: Acr,
    ttl: i64,
) -> Map<String, Value> {
    let now = shared.clock.now();
    let mut claims = Map::new();
    let (issuer, caller, caller_acr, ver) = match version {
        Version::V1 => (format!("{V1_ISSUER_HOST}/{tenant}/"), "appid", "appidacr", "1.0"),
        Version::V2 => (format!("{}/{tenant}/v2.0", shared.authority()), "azp", "azpacr", "2.0"),
    };
    claims.insert("aud".into(), json!(audience));
    claims.insert("iss".into(), json!(issuer));
    claims.insert("iat".into(), json!(now));
    claims.insert("nbf".into(), json!(now));
    claims.insert("exp".into(), json!(now + ttl));
    claims.insert(caller.into(), json!(client));
    claims.insert(caller_acr.into(), json!(acr));
    claims.insert("tid".into(), json!(tenant));
    claims.insert("uti".into(), json!(uuid().replace('-', "").get(..22).unwrap_or_default()));
    claims.insert("ver".into(), json!(ver));
    claims
}

/// The object id of an app's service principal in a tenant: stable, different in each tenant.
pub(crate) fn principal_id(tenant: &str, app_id: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{tenant}/{app_id}").as_bytes());
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn pairwise(oid: &str, audience: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{oid}|{audience}").as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

fn seconds(ttl: std::time::Duration) -> i64 {
    i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX / 4)
}

/// Who called a sandbox API, from a token that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Caller {
    /// The client: `appid` or `azp`.
    pub(crate) app_id: String,
    /// The tenant that issued the token.
    pub(crate) tenant: String,
    /// Object id of the user, or of the app's service principal.
    pub(crate) oid: String,
    /// The user's scopes. `None` in an app-only token.
    pub(crate) scopes: Option<String>,
    /// All claims.
    pub(crate) claims: Value,
}

impl Caller {
    /// Whether a user stands behind the token.
    pub(crate) fn is_user(&self) -> bool {
        self.scopes.is_some()
    }
}

/// Why a bearer token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No `Authorization` header, more than one, or another scheme.
    Missing,
    /// Not a compact RS256 JWT with a key id.
    Malformed,
    /// No published key has this id.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// Issuer, version and tenant do not agree, or the key may not sign for this issuer.
    Issuer,
    /// The token is for another API.
    Audience,
    /// Outside its time range.
    Expired,
    /// Issued by a tenant this API does not serve.
    Tenant,
    /// The caller is not the app this resource belongs to, or the kind of token is wrong.
    Caller,
}

impl Refusal {
    /// 401 for a bad token, 403 for a good one that may not do this.
    pub(crate) fn status(self) -> u16 {
        if self == Self::Caller { 403 } else { 401 }
    }

    /// A short stable word for logs and tests.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing-token",
            Self::Malformed => "malformed-token",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "bad-signature",
            Self::Issuer => "wrong-issuer",
            Self::Audience => "wrong-audience",
            Self::Expired => "expired-token",
            Self::Tenant => "foreign-tenant",
            Self::Caller => "wrong-caller",
        }
    }

    /// The challenge header.
    pub(crate) fn www_authenticate(self) -> String {
        match self {
            Self::Missing => "Bearer".to_owned(),
            other => format!("Bearer error=\"invalid_token\", error_description=\"{}\"", other.reason()),
        }
    }
}

/// Checks the bearer token of a request against these audiences; any of the two tenants may have issued it.
pub(crate) fn check_bearer(shared: &Shared, headers: &HeaderMap, audiences: &[&str]) -> Result<Caller, Refusal> {
    check_token(shared, bearer(headers)?, audiences)
}

/// [`check_bearer`], and the token must come from this tenant.
pub(crate) fn check_bearer_of(
    shared: &Shared,
    headers: &HeaderMap,
    audiences: &[&str],
    tenant: &str,
) -> Result<Caller, Refusal> {
    let caller = check_bearer(shared, headers, audiences)?;
    if caller.tenant == tenant { Ok(caller) } else { Err(Refusal::Tenant) }
}

/// What the connector and the user-token service ask: an app-only connector token of the bot, from the tenant
/// the bot is registered in. A token of the user's tenant is refused, as it is by Teams.
pub(crate) fn check_bot(shared: &Shared, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let caller = check_bearer_of(shared, headers, &[CONNECTOR_RESOURCE], RESOURCE_TENANT)?;
    if caller.is_user() || !shared.directory().is_bot(&caller.app_id) {
        return Err(Refusal::Caller);
    }
    Ok(caller)
}

/// The one token of the one `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Refusal::Missing) };
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Refusal::Missing);
    }
    Ok(token)
}

/// All checks of an Entra access token: form, algorithm, key, signature, issuer with tenant, time, audience.
pub(crate) fn check_token(shared: &Shared, token: &str, audiences: &[&str]) -> Result<Caller, Refusal> {
    let (ring, claims) = verified(shared, token)?;
    let caller = identity(shared, ring, claims)?;
    let text = |name: &str| caller.claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let now = shared.clock.now();
    let time = |name: &str| caller.claims.get(name).and_then(Value::as_i64);
    let (Some(expires), begins) = (time("exp"), time("nbf").unwrap_or(i64::MIN)) else {
        return Err(Refusal::Malformed);
    };
    if now >= expires.saturating_add(SKEW) || now < begins.saturating_sub(SKEW) {
        return Err(Refusal::Expired);
    }
    let audience = text("aud").trim_end_matches('/');
    if !audiences.contains(&audience) {
        return Err(Refusal::Audience);
    }
    Ok(caller)
}

/// Form, key and signature only: what On-Behalf-Of needs before it can say what else is wrong.
pub(crate) fn verified(shared: &Shared, token: &str) -> Result<(Ring, Value), Refusal> {
    if token.len() > LONGEST_TOKEN {
        return Err(Refusal::Malformed);
    }
    let (input, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (header, payload) = input.split_once('.').ok_or(Refusal::Malformed)?;
    let header = json_part(header)?;
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    let known = ["jku", "x5u", "jwk", "crit"].iter().all(|name| header.get(*name).is_none());
    if text("alg") != Some("RS256") || !known {
        return Err(Refusal::Malformed);
    }
    let kid = text("kid").ok_or(Refusal::Malformed)?;
    let (ring, key) = shared.keys.find(&[Ring::Entra, Ring::Msa], kid).ok_or(Refusal::UnknownKey)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Malformed)?;
    if !key.verify(input.as_bytes(), &signature) {
        return Err(Refusal::Signature);
    }
    Ok((ring, json_part(payload)?))
}

/// Issuer, version, tenant and key must agree exactly.
pub(crate) fn identity(shared: &Shared, ring: Ring, claims: Value) -> Result<Caller, Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let tenant = text("tid").ok_or(Refusal::Issuer)?;
    let (issuer, client) = match text("ver") {
        Some("1.0") => (format!("{V1_ISSUER_HOST}/{tenant}/"), text("appid")),
        Some("2.0") => (format!("{}/{tenant}/v2.0", shared.authority()), text("azp")),
        _ => return Err(Refusal::Issuer),
    };
    if text("iss") != Some(issuer.as_str()) || (ring == Ring::Msa) != (tenant == MSA_TENANT) {
        return Err(Refusal::Issuer);
    }
    if !constants::is_tenant(tenant) {
        return Err(Refusal::Tenant);
    }
    let scopes = text("scp").filter(|scopes| !scopes.trim().is_empty()).map(str::to_owned);
    if scopes.is_some() == (text("idtyp") == Some("app")) {
        return Err(Refusal::Caller);
    }
    Ok(Caller {
        app_id: client.ok_or(Refusal::Malformed)?.to_owned(),
        tenant: tenant.to_owned(),
        oid: text("oid").ok_or(Refusal::Malformed)?.to_owned(),
        scopes,
        claims,
    })
}

/// One base64url part as a JSON object.
pub(crate) fn json_part(part: &str) -> Result<Value, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object).ok_or(Refusal::Malformed)
}
