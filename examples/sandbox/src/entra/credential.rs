//! How a client proves itself: secret, an assertion signed with a registered certificate, or the token of a managed
//! identity that the registration trusts.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::directory::{App, Certificate, SecretCheck};
use super::error::{self, OAuthError};
use super::form::Form;
use super::vault::Certificates;
use crate::constants::{self, RESOURCE_TENANT, TOKEN_EXCHANGE_RESOURCE, V1_ISSUER_HOST};
use crate::der;
use crate::state::Shared;
use crate::tokens::{self, Acr};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Clock skew tolerated in a client assertion, seconds.
const SKEW: i64 = 300;

/// The client that asks, if it exists here and proved itself; and how. `tenant` is the one of the path, which may be a
/// name for all of them.
pub(crate) fn client(shared: &Shared, form: &Form, tenant: &str) -> Result<(App, Acr), OAuthError> {
    let id = form.need("client_id")?;
    let here = |app: &&App| app.tenants.contains(&tenant) || (!constants::is_tenant(tenant) && app.is_multi_tenant());
    let app = shared.directory().app(id).filter(here).cloned();
    let app = app.ok_or_else(|| unknown_app(id, tenant))?;
    match (form.get("client_assertion"), form.get("client_secret")) {
        (None, None) if app.is_public => Ok((app, "0")),
        _ if app.is_public => Err(error::invalid_client(
            700_025,
            "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
        )),
        (Some(assertion), _) => {
            match form.need("client_assertion_type")? {
                ASSERTION_TYPE => assertion_fits(shared, &app, tenant, assertion)?,
                _ => return Err(error::bad_parameter("The value of 'client_assertion_type' is not supported.")),
            }
            Ok((app, "2"))
        }
        (None, Some(secret)) => match app.secret(secret) {
            SecretCheck::Good => Ok((app, "1")),
            SecretCheck::Expired => Err(error::invalid_client(
                7_000_222,
                format!(
                    "The provided client secret keys for app '{}' are expired. Visit the Azure portal to create new \
                     keys for your app, or consider using certificate credentials for added security.",
                    app.id
                ),
            )),
            SecretCheck::Wrong => Err(error::invalid_client(
                7_000_215,
                format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                     value, not the client secret ID, for a secret added to app '{}'.",
                    app.id
                ),
            )),
        },
        (None, None) => Err(error::invalid_client(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )),
    }
}

/// AADSTS700016.
pub(crate) fn unknown_app(id: &str, tenant: &str) -> OAuthError {
    OAuthError::new(
        400,
        "unauthorized_client",
        700016,
        format!(
            "Application with identifier '{id}' was not found in the directory '{tenant}'. This can happen if the \
             application has not been installed by the administrator of the tenant or consented to by any user in the \
             tenant. You may have sent your authentication request to the wrong tenant."
        ),
    )
}

/// All checks of a client assertion, cheapest first; the last one uses it up.
fn assertion_fits(shared: &Shared, app: &App, tenant: &str, assertion: &str) -> Result<(), OAuthError> {
    let (input, signature) = assertion.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = input.split_once('.').ok_or_else(malformed)?;
    let (header, claims) = (part(header)?, part(payload)?);
    let text = |json: &Value, name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);

    // Entra's own tokens name their key in another way.
    if text(&header, "kid").is_some()
        && header.get("x5t#S256").is_none()
        && text(&claims, "iss") != Some(app.id.clone())
    {
        return identity_fits(shared, app, assertion);
    }
    let thumbprint = text(&header, "x5t#S256").or_else(|| text(&header, "x5t")).map(|given| canonical(&given));
    let thumbprint = thumbprint.ok_or_else(malformed)?;
    let issued = app.trusts_authority.then(|| issued(shared, &header, &thumbprint)).flatten();
    let certificate = app.certificate(&thumbprint).or(issued.as_ref()).ok_or_else(|| unknown_key(app, &thumbprint))?;
    signature_fits(text(&header, "alg").as_deref(), certificate, input, signature)?;

    if text(&claims, "iss").as_deref() != Some(&app.id) || text(&claims, "sub").as_deref() != Some(&app.id) {
        return Err(refused("Issuer and subject of the client assertion are not the client_id."));
    }
    let audience = text(&claims, "aud").unwrap_or_default();
    if !audiences(shared, tenant).contains(&audience) {
        return Err(refused("The audience of the client assertion is not this token endpoint."));
    }
    let now = shared.clock.now();
    let expires = seconds(&claims, "exp").ok_or_else(malformed)?;
    let begins = seconds(&claims, "nbf").unwrap_or(i64::MIN);
    if now > expires.saturating_add(SKEW) || now < begins.saturating_sub(SKEW) {
        return Err(error::invalid_client(
            700024,
            "Client assertion is not within its valid time range. Review the assertion's nbf and exp claims.",
        ));
    }
    if now < certificate.facts.not_before || now > certificate.facts.not_after {
        return Err(error::invalid_client(
            1_000_502,
            "The provided certificate is not within its specified validity period.",
        ));
    }
    let jti = text(&claims, "jti").ok_or_else(malformed)?;
    // Kept as long as the assertion would pass the time check.
    if !shared.directory().first_use(&app.id, &jti, expires.saturating_add(SKEW), now) {
        return Err(refused("The client assertion was already used: its jti has been seen."));
    }
    Ok(())
}

/// The certificate of an assertion that carries its chain, when the vault's authority issued it: trust by subject name and
/// issuer.
fn issued(shared: &Shared, header: &Value, thumbprint: &str) -> Option<Certificate> {
    let chain = header.get("x5c")?.as_array()?;
    let chain: Vec<Vec<u8>> = chain.iter().filter_map(|der| STANDARD.decode(der.as_str()?).ok()).collect();
    let [leaf, authority] = chain.as_slice() else { return None };
    let trusted = shared.extension::<Certificates>().trusted_authority().filter(|trusted| trusted == authority)?;
    let (signed, signature) = der::signed(leaf)?;
    let key = der::certificate(&trusted)?.public_key;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key).verify(signed, signature).ok()?;
    Certificate::read(leaf)
        .filter(|certificate| [&certificate.sha256, &certificate.sha1].contains(&&thumbprint.to_owned()))
}

/// The token of a managed identity, of which the registration says that it speaks for it.
fn identity_fits(shared: &Shared, app: &App, token: &str) -> Result<(), OAuthError> {
    let caller = tokens::check_token(shared, token, &[TOKEN_EXCHANGE_RESOURCE]).map_err(|refusal| {
        error::invalid_client(
            700_211,
            format!(
                "No matching federated identity record found for presented assertion issuer or audience. [Reason - {}]",
                refusal.reason()
            ),
        )
    })?;
    if caller.is_user() {
        return Err(error::invalid_client(
            700_229,
            "Only app-only access tokens can be used as Federated Identity Credentials for AAD issuer.",
        ));
    }
    if caller.tenant != RESOURCE_TENANT || app.federated != Some(&*caller.app_id) {
        return Err(error::invalid_client(
            700_213,
            format!(
                "No matching federated identity record found for presented assertion subject '{}'. The assertion must \
                 match a configured federated identity exactly.",
                caller.oid
            ),
        ));
    }
    Ok(())
}

fn signature_fits(
    alg: Option<&str>,
    certificate: &Certificate,
    input: &str,
    signature: &str,
) -> Result<(), OAuthError> {
    let algorithm: &'static dyn VerificationAlgorithm = match alg {
        Some("PS256") => &RSA_PSS_2048_8192_SHA256,
        Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(malformed()),
    };
    let signature = URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')).map_err(|_| malformed())?;
    UnparsedPublicKey::new(algorithm, &certificate.facts.public_key).verify(input.as_bytes(), &signature).map_err(
        |_| {
            error::invalid_client(
                700027,
                "Client assertion failed signature validation. [Reason - The provided signature value did not match \
                 the expected signature value.]",
            )
        },
    )
}

/// The token endpoint is what the documentation asks for; the issuer forms are accepted by Entra too.
fn audiences(shared: &Shared, tenant: &str) -> [String; 4] {
    let authority = shared.authority();
    [
        format!("{authority}/{tenant}/oauth2/v2.0/token"),
        format!("{authority}/{tenant}/oauth2/token"),
        format!("{authority}/{tenant}/v2.0"),
        format!("{V1_ISSUER_HOST}/{tenant}/"),
    ]
}

/// One part as a JSON object. Libraries send padded base64url as well.
fn part(encoded: &str) -> Result<Value, OAuthError> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).map_err(|_| malformed())?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object).ok_or_else(malformed)
}

/// Thumbprints come as base64url with and without padding and as standard base64.
fn canonical(thumbprint: &str) -> String {
    thumbprint.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Whole seconds; some libraries send floats.
fn seconds(claims: &Value, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    value.as_i64().or_else(|| value.as_f64().filter(|float| float.is_finite()).map(|float| float as i64))
}

fn malformed() -> OAuthError {
    OAuthError::new(400, "invalid_request", 50027, "JWT token is invalid or malformed.")
}

fn refused(why: &str) -> OAuthError {
    error::invalid_client(50012, format!("Authentication failed. {why}"))
}

fn unknown_key(app: &App, thumbprint: &str) -> OAuthError {
    error::invalid_client(
        700027,
        format!(
            "The certificate with identifier used to sign the client assertion is not registered on application. \
             [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}', application '{}']",
            app.id
        ),
    )
}
