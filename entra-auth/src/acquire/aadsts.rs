//! What Entra's errors mean: who must act.
//!
//! `error` and `suberror` decide by contract; the AADSTS numbers refine. Source: the reference of error codes,
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>. The troubleshooting page of the book is made
//! of the same table (`page`).

#[cfg(test)]
mod page;

use crate::{ErrorKind, OAuthError};

/// What a code means and what to say about it.
struct Meaning {
    codes: &'static [u32],
    kind: ErrorKind,
    text: &'static str,
}

const fn meaning(codes: &'static [u32], kind: ErrorKind, text: &'static str) -> Meaning {
    Meaning { codes, kind, text }
}

use ErrorKind::{
    ClientCredential as Credential, Configuration, ConsentRequired as Consent, InteractionRequired as Interaction,
    PolicyBlocked as Policy, Reauthenticate, Throttled, Transient,
};

#[rustfmt::skip]
static MEANINGS: &[Meaning] = &[
    meaning(&[16000], Reauthenticate, "the account is not in this tenant, or the user must choose an account"),
    meaning(&[28002, 28003, 70011, 700_022, 700_023], Configuration, "the scope is invalid for this grant; name exactly one resource"),
    meaning(&[50001], Configuration, "the resource is unknown or disabled in this tenant"),
    meaning(&[500_011], Configuration, "the resource is not installed in this tenant; an administrator must add it"),
    meaning(&[50005, 50129, 53000, 53001, 53002], Policy, "a device policy of the tenant forbids it"),
    meaning(&[50011], Configuration, "the redirect URI is not the registered one"),
    meaning(&[50012, 700_027, 7_000_274], Credential, "the client assertion is refused: check that this certificate is registered and in order"),
    meaning(&[50013], Configuration, "the user assertion is not acceptable: wrong issuer, form or audience"),
    meaning(&[500_131], Configuration, "the user assertion was issued for another application; its audience must be the app that presents it"),
    meaning(&[500_133], Reauthenticate, "the user assertion is outside its lifetime; get a new user token"),
    meaning(&[50014, 50034, 51004], Reauthenticate, "the user is not known in this tenant"),
    meaning(&[50020], Reauthenticate, "a user of another tenant is not allowed here"),
    meaning(&[500_207], Configuration, "this kind of account cannot use the resource"),
    meaning(&[500_212, 500_213], Policy, "a cross-tenant access policy forbids it"),
    meaning(&[50027, 90014, 900_144, 90023, 9_002_313], Configuration, "the request is malformed or lacks a parameter"),
    meaning(&[50049], Configuration, "the authority is unknown"),
    meaning(&[50055, 50144], Reauthenticate, "the user's password has expired"),
    meaning(&[50057], Policy, "the account is disabled"),
    meaning(&[50058, 50089, 50126, 50132, 50133, 50173, 54005], Reauthenticate, "the sign-in is no longer good; the user must sign in again"),
    meaning(&[50059, 90019, 90002], Configuration, "the tenant is unknown; check AZURE_TENANT_ID"),
    meaning(&[50072, 50074, 50076, 50078, 50079, 50097, 50158], Interaction, "the user must satisfy a further requirement such as MFA"),
    meaning(&[50105], Policy, "the user is not assigned to the application; an administrator assigns users"),
    meaning(&[50131, 53003, 53004, 530_032], Policy, "Conditional Access forbids it"),
    meaning(&[501_481], Configuration, "the PKCE verifier does not match"),
    meaning(&[50194], Configuration, "the application is single-tenant; use its own tenant"),
    meaning(&[50196, 90055], Throttled, "too many requests; look for a missing cache"),
    meaning(&[500_181], Credential, "the TLS client certificate does not match"),
    meaning(&[65001], Consent, "consent is missing for this application and resource"),
    meaning(&[65004], Consent, "the user declined consent"),
    meaning(&[65005, 650_052, 650_056, 650_057], Configuration, "the resource is not among the application's permissions"),
    meaning(&[70000, 70008, 700_082, 700_084], Reauthenticate, "the grant or refresh token is no longer good"),
    meaning(&[70001, 7_000_112], Configuration, "the application is disabled"),
    meaning(&[700_011, 700_016], Configuration, "the application does not exist in this tenant; check BOT_APP_ID and AZURE_TENANT_ID (a single-tenant bot has its own tenant)"),
    meaning(&[70002, 7_000_215], Credential, "the client secret is wrong (often the secret's id was pasted instead of its value)"),
    meaning(&[7_000_222], Credential, "the client secret has expired"),
    meaning(&[7_000_218], Configuration, "the application needs a credential, or public client flows are not enabled"),
    meaning(&[700_025], Configuration, "a public client must not send a credential"),
    meaning(&[700_024], Credential, "the client assertion is outside its lifetime; check this machine's clock"),
    meaning(&[700_030], Configuration, "the certificate's subject name and issuer are not registered for this application"),
    meaning(&[7_000_214, 7_000_277], Credential, "the certificate is revoked"),
    meaning(&[1_000_502], Credential, "the certificate is outside its validity"),
    meaning(&[70016], Transient, "the user has not finished the device sign-in"),
    meaning(&[70018], Configuration, "the device code is wrong"),
    meaning(&[70019], Reauthenticate, "the device code has expired"),
    meaning(&[70021, 700_211, 700_213, 7_002_137, 7_002_138], Configuration, "no federated credential matches issuer, subject and audience to the letter (a new one takes some minutes)"),
    meaning(&[700_229], Configuration, "only app-only tokens can be federated credentials"),
    meaning(&[7_000_114], Configuration, "the application may not act on behalf of users"),
    meaning(&[70043], Reauthenticate, "the sign-in is older than the policy allows"),
    meaning(&[82014], Configuration, "an agent identity takes its consent from its blueprint"),
    meaning(&[90006, 90012, 90024, 90033, 90090, 50033, 50087], Transient, "Entra reports a passing fault"),
    meaning(&[90038], Configuration, "the tenant lives in another cloud; check AZURE_AUTHORITY_HOST"),
    meaning(&[90094, 90095], Consent, "an administrator must consent"),
    meaning(&[9_001_023, 90124, 90130], Configuration, "this grant needs a tenant of its own, not a shared endpoint"),
    meaning(&[900_382, 900_432], Configuration, "a confidential client cannot be used across clouds"),
    meaning(&[100_007], Configuration, "the regional endpoint does not serve this application; use the global one"),
    meaning(&[240_002], Configuration, "an id token is no user assertion; send an access token"),
    meaning(&[392_189, 392_200], Configuration, "the mTLS endpoint does not accept this request"),
];

/// Sub-errors of `invalid_grant` that no sign-in of the user will cure.
const NOT_FOR_USERS: [&str; 2] = ["client_mismatch", "protection_policy_required"];

/// The kind of an OAuth error, and a sentence for whoever must act.
pub(crate) fn judge(oauth: &OAuthError) -> (ErrorKind, &'static str) {
    let known = oauth.error_codes.iter().find_map(|code| MEANINGS.iter().find(|meaning| meaning.codes.contains(code)));
    if let Some(known) = known {
        // Policies that a stronger sign-in can satisfy come with the claims to ask for.
        let kind = match known.kind {
            Policy | Reauthenticate if oauth.claims.is_some() => Interaction,
            kind => kind,
        };
        return (kind, known.text);
    }
    match (oauth.error.as_str(), oauth.suberror.as_deref()) {
        _ if oauth.status == 429 => (Throttled, "too many requests"),
        ("temporarily_unavailable" | "server_error", _) => (Transient, "Entra reports a passing fault"),
        (_, Some("consent_required")) | ("consent_required", _) => (Consent, "consent is missing"),
        ("invalid_grant", Some(sub)) if NOT_FOR_USERS.contains(&sub) => {
            (Policy, "the grant is refused and no sign-in of the user will change that")
        }
        (_, Some("basic_action" | "additional_action" | "message_only")) => {
            (Interaction, "the user must satisfy a further requirement")
        }
        ("interaction_required", _) => (Interaction, "the user must satisfy a further requirement"),
        ("invalid_grant", _) if oauth.claims.is_some() => (Interaction, "the user must satisfy a further requirement"),
        ("invalid_grant" | "login_required", _) => (Reauthenticate, "the user must sign in again"),
        ("invalid_client", _) => (Credential, "the client's secret, certificate or assertion is refused"),
        _ if oauth.status == 408 || oauth.status >= 500 => (Transient, "Entra reports a passing fault"),
        _ => (Configuration, "Entra refuses the request; the code says why"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::ClaimsChallenge;

    fn oauth(status: u16, error: &str, suberror: Option<&str>, codes: &[u32]) -> OAuthError {
        OAuthError {
            status,
            error: error.to_owned(),
            suberror: suberror.map(str::to_owned),
            error_codes: codes.to_vec(),
            ..OAuthError::default()
        }
    }

    #[test]
    fn every_code_has_one_meaning() {
        let mut seen = HashSet::new();
        for code in MEANINGS.iter().flat_map(|meaning| meaning.codes) {
            assert!(seen.insert(code), "{code} is listed twice");
        }
        assert!(seen.len() >= 100, "{}", seen.len());
    }

    #[test]
    fn codes_refine_errors() {
        for (status, error, suberror, codes, expected) in [
            (400, "invalid_grant", None, &[65001][..], Consent),
            (400, "invalid_grant", None, &[50076], Interaction),
            (400, "invalid_grant", None, &[500_133], Reauthenticate),
            (400, "invalid_grant", None, &[500_131], Configuration),
            (401, "invalid_client", None, &[7_000_215], Credential),
            (401, "invalid_client", None, &[7_000_222], Credential),
            (400, "unauthorized_client", None, &[700_016], Configuration),
            (400, "invalid_request", None, &[50196], Throttled),
            (503, "temporarily_unavailable", None, &[], Transient),
            (500, "", None, &[], Transient),
            (429, "", None, &[], Throttled),
            (400, "invalid_grant", Some("consent_required"), &[999], Consent),
            (400, "invalid_grant", Some("client_mismatch"), &[999], Policy),
            (400, "invalid_grant", Some("basic_action"), &[], Interaction),
            (400, "invalid_grant", Some("user_password_expired"), &[], Reauthenticate),
            (400, "invalid_grant", Some("something_new"), &[1], Reauthenticate),
            (400, "interaction_required", None, &[], Interaction),
            (401, "invalid_client", None, &[123_456_789], Credential),
            (400, "invalid_something", None, &[], Configuration),
        ] {
            let oauth = oauth(status, error, suberror, codes);
            assert_eq!(judge(&oauth).0, expected, "{oauth:?}");
        }
    }

    #[test]
    fn a_policy_with_claims_is_a_step_up() {
        let mut oauth = oauth(400, "interaction_required", None, &[53003]);
        assert_eq!(judge(&oauth).0, Policy);
        oauth.claims = ClaimsChallenge::from_json("{}");
        assert_eq!(judge(&oauth).0, Interaction);
    }
}
