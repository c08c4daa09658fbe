//! The token endpoint: client credentials, On-Behalf-Of, authorization code, device code, refresh.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Value, json};

use super::directory::App;
use super::error::{self, OAuthError};
use super::form::Form;
use super::scope::{self, Scopes};
use super::{credential, groups, obo, redeem};
use crate::constants::{self, User};
use crate::keys::Ring;
use crate::members::set;
use crate::state::{Shared, uuid};
use crate::tokens::{self, Acr, Version};

const OBO_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Grants that bring a user along: on a path for all tenants the user's own tenant counts.
const USER_GRANTS: [&str; 3] = ["authorization_code", DEVICE_GRANT, "refresh_token"];
const CORRELATION: HeaderName = HeaderName::from_static("client-request-id");

/// `POST /{tenant}/oauth2/v2.0/token`.
pub(crate) async fn v2(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&shared, &tenant, &headers, &body, false)
}

/// `POST /{tenant}/oauth2/token`: `resource` instead of `scope`, numbers as strings.
pub(crate) async fn v1(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&shared, &tenant, &headers, &body, true)
}

fn answer(shared: &Shared, tenant: &str, headers: &HeaderMap, body: &[u8], v1: bool) -> Response {
    let form = Form::read(headers, body);
    let given = headers.get(&CORRELATION).and_then(|value| value.to_str().ok());
    let in_form = form.as_ref().ok().and_then(|form| form.get("client-request-id"));
    let correlation = given.or(in_form).map(str::to_owned);
    let granted = form.and_then(|form| grant(shared, tenant, &form, v1));
    let mut response = match granted {
        Ok(body) => Json(body).into_response(),
        Err(refusal) => refusal.response(shared, correlation.as_deref()),
    };
    let set = response.headers_mut();
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    set.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    if let Ok(id) = HeaderValue::try_from(uuid()) {
        set.insert(HeaderName::from_static("x-ms-request-id"), id);
    }
    let wanted =
        headers.get("return-client-request-id").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if let Some(id) = correlation.filter(|_| wanted).and_then(|id| HeaderValue::try_from(id).ok()) {
        set.insert(CORRELATION, id);
    }
    response
}

fn grant(shared: &Shared, tenant: &str, form: &Form, v1: bool) -> Result<Value, OAuthError> {
    let kind = form.need("grant_type")?;
    let tenant = match tenant {
        "common" | "organizations" if USER_GRANTS.contains(&kind) => tenant,
        _ => real_tenant(tenant)?,
    };
    if !["client_credentials", OBO_GRANT].contains(&kind) && !USER_GRANTS.contains(&kind) {
        return Err(OAuthError::new(
            400,
            "unsupported_grant_type",
            70003,
            format!("The app requested an unsupported grant type '{kind}'."),
        ));
    }
    let (app, acr) = credential::client(shared, form, tenant)?;
    let capabilities = capabilities(form)?;
    // What was agreed on at the sign-in need not be said again.
    let agreed = ["authorization_code", DEVICE_GRANT].contains(&kind);
    let scope = match (v1, agreed) {
        (true, _) => format!("{}/.default", form.need("resource")?),
        (false, true) => form.get("scope").unwrap_or_default().to_owned(),
        (false, false) => form.need("scope")?.to_owned(),
    };
    let issuance =
        Issuance { shared, app: &app, acr, capabilities, v1, client_info: form.get("client_info") == Some("1") };
    match kind {
        "client_credentials" => issuance.app_token(tenant, &scope::for_app(&scope, tenant)?),
        OBO_GRANT => {
            let assertion = form.need("assertion")?;
            if form.need("requested_token_use")? != "on_behalf_of" {
                return Err(error::bad_parameter("The value of 'requested_token_use' is not supported."));
            }
            let user = obo::user(shared, &app, tenant, assertion)?;
            issuance.user_token(user, &scope::for_user(&scope, tenant)?, None)
        }
        "authorization_code" | DEVICE_GRANT => {
            let signed_in = match kind {
                DEVICE_GRANT => redeem::device_code(shared, issuance.app, tenant, form)?,
                _ => redeem::code(shared, issuance.app, tenant, form)?,
            };
            let scope = if scope.is_empty() { &signed_in.scope } else { &scope };
            issuance.user_token(
                signed_in.user,
                &scope::for_sign_in(scope, signed_in.user.tenant)?,
                signed_in.nonce.as_deref(),
            )
        }
        _ => {
            let token = form.need("refresh_token")?;
            let oid = shared.directory().redeem_refresh(&app.id, token);
            let is_here = |user: &&User| user.tenant == tenant || !constants::is_tenant(tenant);
            let user = oid.as_deref().and_then(constants::user_by_oid).filter(is_here);
            let user = user.ok_or_else(|| {
                error::invalid_grant(
                    70000,
                    "Provided grant is invalid or malformed. The refresh token is not one of this application.",
                )
                .suberror("bad_token")
            })?;
            issuance.user_token(user, &scope::for_sign_in(&scope, user.tenant)?, None)
        }
    }
}

/// The tenant of the path, which must be one that exists.
fn real_tenant(tenant: &str) -> Result<&'static str, OAuthError> {
    match tenant {
        "common" | "consumers" => Err(OAuthError::new(
            400,
            "invalid_request",
            9_001_023,
            "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or \
             tenant-specific endpoint.",
        )),
        "organizations" => Err(OAuthError::new(
            400,
            "invalid_request",
            50059,
            "No tenant-identifying information found in either the request or implied by any provided credentials.",
        )),
        id if id.eq_ignore_ascii_case(constants::HOME_TENANT) => Ok(constants::HOME_TENANT),
        id if id.eq_ignore_ascii_case(constants::RESOURCE_TENANT) => Ok(constants::RESOURCE_TENANT),
        id => Err(error::unknown_tenant(id)),
    }
}

/// Client capabilities of the `claims` parameter: the values of `access_token.xms_cc`.
fn capabilities(form: &Form) -> Result<Option<Value>, OAuthError> {
    let Some(claims) = form.get("claims") else { return Ok(None) };
    let claims: Value = serde_json::from_str(claims)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| error::bad_parameter("The value of 'claims' is not a JSON object."))?;
    Ok(claims.pointer("/access_token/xms_cc/values").filter(|values| values.is_array()).cloned())
}

struct Issuance<'a> {
    shared: &'a Shared,
    app: &'a App,
    acr: Acr,
    capabilities: Option<Value>,
    v1: bool,
    client_info: bool,
}

impl Issuance<'_> {
    fn app_token(&self, tenant: &str, scopes: &Scopes) -> Result<Value, OAuthError> {
        let target = scopes.resource;
        let mut claims =
            tokens::app_claims(self.shared, tenant, &self.app.id, target.audience, target.version, self.acr);
        if !target.roles.is_empty() {
            set(&mut claims, "roles", target.roles.to_vec());
        }
        let lifetime = self.shared.options.app_token_ttl.as_secs();
        Ok(self.body(&self.sign(claims), lifetime, scopes))
    }

    fn user_token(&self, user: &User, scopes: &Scopes, nonce: Option<&str>) -> Result<Value, OAuthError> {
        let target = scopes.resource;
        obo::permission(self.shared, self.app, user, target)?;
        if scopes.granted.is_empty() {
            return Err(error::invalid_grant(
                65001,
                format!("The user or administrator has not consented to use the application with ID '{}' named '{}'. Send an interactive authorization request for this user and resource.", self.app.id, self.app.name),
            )
            .suberror("consent_required"));
        }
        let claims = tokens::user_claims(
            self.shared,
            user,
            &self.app.id,
            target.audience,
            &scopes.granted.join(" "),
            target.version,
            self.acr,
        );
        let mut body = self.body(&self.sign(claims), self.shared.options.user_token_ttl.as_secs(), scopes);
        set(&mut body, "scope", json!(scopes.answer));
        if scopes.openid {
            set(&mut body, "id_token", json!(self.id_token(user, nonce)));
        }
        if scopes.offline {
            set(&mut body, "refresh_token", json!(self.shared.directory().issue_refresh(&self.app.id, user.oid)));
        }
        if self.client_info {
            let info = json!({"uid": user.oid, "utid": user.tenant});
            set(&mut body, "client_info", json!(URL_SAFE_NO_PAD.encode(info.to_string())));
        }
        Ok(body)
    }

    fn sign(&self, mut claims: Value) -> String {
        if let Some(capabilities) = &self.capabilities {
            set(&mut claims, "xms_cc", capabilities.clone());
        }
        self.shared.keys.sign(Ring::Entra, &claims)
    }

    fn id_token(&self, user: &User, nonce: Option<&str>) -> String {
        let mut claims = tokens::user_claims(self.shared, user, &self.app.id, &self.app.id, "", Version::V2, self.acr);
        if let Some(members) = claims.as_object_mut() {
            members.retain(|name, _| !["scp", "azp", "azpacr"].contains(&name.as_str()));
            members.extend(nonce.map(|nonce| ("nonce".to_owned(), json!(nonce))));
            if self.app.group_claims {
                members.extend(groups::claims(user));
            }
        }
        self.shared.keys.sign(Ring::Entra, &claims)
    }

    fn body(&self, token: &str, lifetime: u64, scopes: &Scopes) -> Value {
        let expires = lifetime.saturating_sub(1);
        let refresh = self.shared.options.refresh_in.map(|after| after.as_secs());
        if self.v1 {
            let now = self.shared.clock.now();
            return json!({
                "token_type": "Bearer",
                "expires_in": expires.to_string(),
                "ext_expires_in": expires.to_string(),
                "expires_on": now.saturating_add_unsigned(expires).to_string(),
                "not_before": now.to_string(),
                "resource": scopes.named,
                "access_token": token,
            });
        }
        let mut body = json!({
            "token_type": "Bearer",
            "expires_in": expires,
            "ext_expires_in": expires,
            "access_token": token,
        });
        if let Some(refresh) = refresh {
            set(&mut body, "refresh_in", json!(refresh));
        }
        body
    }
}
