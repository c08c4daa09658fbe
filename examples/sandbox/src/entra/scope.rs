//! The rules of the `scope` parameter.

use super::directory::{Resource, resource};
use super::error::OAuthError;
use crate::constants::GRAPH_RESOURCE;

/// Scopes of OpenID Connect: no resource, no permission.
const OIDC: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Scopes {
    /// The one resource.
    pub(crate) resource: &'static Resource,
    /// The name the client used for it, without final slash.
    pub(crate) named: String,
    /// Permission names, without the resource. `.default` is resolved.
    pub(crate) granted: Vec<&'static str>,
    /// The whole `scope` of the answer.
    pub(crate) answer: String,
    /// `openid` was asked.
    pub(crate) openid: bool,
    /// `offline_access` was asked.
    pub(crate) offline: bool,
}

/// Client credentials: exactly one `{resource}/.default`. The OpenID scopes some libraries add are ignored.
pub(crate) fn for_app(scope: &str, tenant: &str) -> Result<Scopes, OAuthError> {
    let asked = resource_scopes(scope);
    let [one] = asked.as_slice() else { return Err(wrong_count(scope, &asked)) };
    if !one.ends_with("/.default") {
        return Err(invalid(
            one,
            "Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).",
        ));
    }
    resolve(scope, &asked, tenant)
}

/// Delegated grants: one resource, `.default` or named permissions, not both. A bare name belongs to Graph.
pub(crate) fn for_user(scope: &str, tenant: &str) -> Result<Scopes, OAuthError> {
    let asked = resource_scopes(scope);
    if asked.is_empty() {
        return Err(wrong_count(scope, &asked));
    }
    resolve(scope, &asked, tenant)
}

/// The authorization endpoint: permissions of several resources may be asked at once, or of none.
pub(crate) fn resources(scope: &str, tenant: &str) -> Result<Vec<&'static Resource>, OAuthError> {
    let mut found: Vec<&'static Resource> = Vec::new();
    for one in resource_scopes(scope) {
        let target = resolve(one, &[one], tenant)?.resource;
        if !found.iter().any(|known| known.id == target.id) {
            found.push(target);
        }
    }
    Ok(found)
}

/// The first token of a sign-in. When only the sign-in itself is asked for, it is one of Graph.
pub(crate) fn for_sign_in(scope: &str, tenant: &str) -> Result<Scopes, OAuthError> {
    if !resource_scopes(scope).is_empty() {
        return for_user(scope, tenant);
    }
    let graph = resource(GRAPH_RESOURCE).ok_or_else(|| unknown_resource(GRAPH_RESOURCE, tenant))?;
    let granted: Vec<&'static str> = graph.scopes.iter().copied().filter(|one| has(scope, one)).collect();
    if granted.is_empty() {
        return Err(wrong_count(scope, &[]));
    }
    let answer = granted.join(" ");
    let (openid, offline) = (has(scope, "openid"), has(scope, "offline_access"));
    Ok(Scopes { resource: graph, named: GRAPH_RESOURCE.to_owned(), granted, answer, openid, offline })
}

fn resource_scopes(scope: &str) -> Vec<&str> {
    scope.split_whitespace().filter(|one| !OIDC.contains(one)).collect()
}

fn resolve(scope: &str, asked: &[&str], tenant: &str) -> Result<Scopes, OAuthError> {
    let mut found: Option<(&'static Resource, String)> = None;
    let mut granted = Vec::new();
    let mut all = false;
    for one in asked {
        let (name, permission) = one.rsplit_once('/').unwrap_or((GRAPH_RESOURCE, one));
        let name = name.strip_suffix('/').unwrap_or(name);
        let target = resource(name).ok_or_else(|| unknown_resource(name, tenant))?;
        match &found {
            Some((other, _)) if other.id != target.id => return Err(several(scope)),
            _ => found = Some((target, name.to_owned())),
        }
        if permission == ".default" {
            all = true;
        } else {
            let known = target.scopes.iter().find(|known| known.eq_ignore_ascii_case(permission));
            granted.push(*known.ok_or_else(|| invalid(one, "The scope is not one the resource offers."))?);
        }
    }
    let Some((target, named)) = found else { return Err(wrong_count(scope, asked)) };
    if all && !granted.is_empty() {
        return Err(invalid(scope, "The .default scope can't be combined with resource-specific scopes."));
    }
    if all {
        granted = target.scopes.to_vec();
    }
    let (openid, offline) = (has(scope, "openid"), has(scope, "offline_access"));
    let mut answer: Vec<String> = granted.iter().map(|permission| format!("{named}/{permission}")).collect();
    if all {
        answer.push(format!("{named}/.default"));
    }
    answer.extend(
        OIDC.iter().filter(|oidc| has(scope, oidc) && **oidc != "offline_access").map(|oidc| (*oidc).to_owned()),
    );
    Ok(Scopes { resource: target, named, granted, answer: answer.join(" "), openid, offline })
}

fn has(scope: &str, wanted: &str) -> bool {
    scope.split_whitespace().any(|one| one == wanted)
}

fn wrong_count(scope: &str, asked: &[&str]) -> OAuthError {
    if asked.is_empty() {
        return OAuthError::new(
            400,
            "invalid_scope",
            28002,
            format!(
                "Provided value for the input parameter scope '{scope}' is not valid when requesting an access token. \
                 Please specify a valid scope."
            ),
        );
    }
    let resources: Vec<&str> =
        asked.iter().map(|one| one.rsplit_once('/').map_or(GRAPH_RESOURCE, |(name, _)| name)).collect();
    if resources.windows(2).all(|pair| pair.first() == pair.last()) {
        invalid(scope, "Exactly one scope is allowed.")
    } else {
        several(scope)
    }
}

fn several(scope: &str) -> OAuthError {
    OAuthError::new(
        400,
        "invalid_scope",
        700022,
        format!(
            "The provided value for the input parameter 'scope' is not valid because it contains more than one \
             resource. Scope {scope} is not valid."
        ),
    )
}

fn invalid(scope: &str, why: &str) -> OAuthError {
    OAuthError::new(
        400,
        "invalid_scope",
        70011,
        format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid. {why}"
        ),
    )
}

fn unknown_resource(name: &str, tenant: &str) -> OAuthError {
    OAuthError::new(
        400,
        "invalid_resource",
        500011,
        format!(
            "The resource principal named {name} was not found in the tenant named {tenant}. This can happen if the \
             application has not been installed by the administrator of the tenant or consented to by any user in \
             the tenant. You might have sent your authentication request to the wrong tenant."
        ),
    )
}
