//! What a refused exchange means. The service wraps what Entra answered; decisions follow `error` and `suberror`
//! first, then the AADSTS number, then the service's own words.

use serde_json::Value;

use super::TokenServiceErrorKind as Kind;
use crate::tree;

/// The kind of a refused exchange (status 400) and the AADSTS number behind it.
///
/// The body is `{"error":{"code","message","innerHttpError":{"statusCode","body"}}}`, members in either letter case; the
/// inner body is Entra's own, as an object or as its text.
pub(super) fn refused_exchange(body: &[u8]) -> (Kind, Option<u32>) {
    let response = tree::read(body).unwrap_or_default();
    let error = tree::member(&response, "error", "Error");
    let message = tree::member(error, "message", "Message").as_str().unwrap_or_default();
    let inner = tree::member(tree::member(error, "innerHttpError", "InnerHttpError"), "body", "Body");
    let parsed = inner.as_str().and_then(|text| tree::read(text.as_bytes()));
    let inner = parsed.as_ref().unwrap_or(inner);
    let entra = |name| tree::member(inner, name, name).as_str().unwrap_or_default();
    let code = tree::member(inner, "error_codes", "error_codes").get(0).and_then(Value::as_u64);
    let code = code.and_then(|code| u32::try_from(code).ok());
    let code = code.or_else(|| aadsts(entra("error_description"))).or_else(|| aadsts(message));
    (kind(entra("error"), entra("suberror"), code, message), code)
}

fn kind(error: &str, suberror: &str, code: Option<u32>, message: &str) -> Kind {
    if let Some(known) = code.and_then(known) {
        return known;
    }
    match (error, suberror) {
        (_, "consent_required" | "basic_action" | "additional_action" | "message_only")
        | ("interaction_required" | "consent_required" | "login_required", _) => Kind::ConsentRequired,
        ("invalid_client" | "unauthorized_client", _) => Kind::BadConnection,
        _ if message.to_ascii_lowercase().contains("consent required") => Kind::ConsentRequired,
        _ => Kind::InvalidExchange,
    }
}

fn known(code: u32) -> Option<Kind> {
    Some(match code {
        // Consent, also of an administrator; MFA and its relatives.
        65001 | 9_002_341 | 90094 | 90095 | 650_056 => Kind::ConsentRequired,
        50072 | 50074 | 50076 | 50078 | 50079 | 50097 | 50158 | 53004 | 70043 => Kind::ConsentRequired,
        // Sessions that are over: a fresh sign-in makes a fresh token.
        50132 | 50133 | 50173 | 70008 | 700_082 => Kind::ConsentRequired,
        50013 | 500_133 => Kind::StaleToken,
        // The client or the scope of the connection.
        70002 | 700_027 | 7_000_215 | 7_000_222 | 700_016 | 700_011 | 65005 | 650_057 | 70011 | 500_011 => {
            Kind::BadConnection
        }
        50055 | 50057 | 50105 | 50131 | 53000 | 53001 | 53002 | 53003 | 500_131 => Kind::InvalidExchange,
        _ => return None,
    })
}

/// The number after the first `AADSTS`.
fn aadsts(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("AADSTS")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_by_class() {
        for (body, expected) in [
            // As observed.
            (r#"{"error":{"code":"ServiceError","message":"Consent Required"}}"#, (Kind::ConsentRequired, None)),
            (r#"{"Error":{"Code":"ServiceError","Message":"consent required."}}"#, (Kind::ConsentRequired, None)),
            (
                r#"{"error":{"code":"ServiceError","message":"AADSTS65001: The user or administrator has not consented"}}"#,
                (Kind::ConsentRequired, Some(65001)),
            ),
            // Entra's body inside, as an object and as a text.
            (
                r#"{"error":{"code":"ServiceError","message":"no","innerHttpError":{"statusCode":400,"body":{"error":"invalid_grant","error_codes":[50076]}}}}"#,
                (Kind::ConsentRequired, Some(50076)),
            ),
            (
                r#"{"error":{"message":"no","innerHttpError":{"body":"{\"error\":\"invalid_grant\",\"error_codes\":[500133]}"}}}"#,
                (Kind::StaleToken, Some(500_133)),
            ),
            (
                r#"{"error":{"message":"no","innerHttpError":{"body":{"error":"invalid_grant","suberror":"consent_required"}}}}"#,
                (Kind::ConsentRequired, None),
            ),
            (
                r#"{"error":{"message":"no","innerHttpError":{"body":{"error":"interaction_required"}}}}"#,
                (Kind::ConsentRequired, None),
            ),
            (
                r#"{"error":{"message":"no","innerHttpError":{"body":{"error":"invalid_client","error_codes":[7000222]}}}}"#,
                (Kind::BadConnection, Some(7_000_222)),
            ),
            // A policy is no consent: another try changes nothing.
            (
                r#"{"error":{"message":"Consent Required","innerHttpError":{"body":{"error":"invalid_grant","error_codes":[53003]}}}}"#,
                (Kind::InvalidExchange, Some(53003)),
            ),
            (
                r#"{"error":{"message":"no","innerHttpError":{"body":{"error":"invalid_grant","error_codes":[999]}}}}"#,
                (Kind::InvalidExchange, Some(999)),
            ),
            (r#"{"error":{"code":"BadArgument","message":"The token is not valid."}}"#, (Kind::InvalidExchange, None)),
            (r#"{"error":{"innerHttpError":{"body":"<html>"}}}"#, (Kind::InvalidExchange, None)),
            ("<html>", (Kind::InvalidExchange, None)),
            ("", (Kind::InvalidExchange, None)),
            ("[]", (Kind::InvalidExchange, None)),
        ] {
            assert_eq!(refused_exchange(body.as_bytes()), expected, "{body}");
        }
    }
}
