//! The tables of the book's page on troubleshooting, made of the table that judges errors.
//!
//! After a change: `ENTRA_PAGES=write cargo test -p entra-auth --lib aadsts::page` writes the page anew.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    Configuration, Consent, Credential, ErrorKind, Interaction, MEANINGS, Policy, Reauthenticate, Throttled, Transient,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/troubleshooting.md");

/// Who must act, and whether the same request may succeed later.
const KINDS: &[(ErrorKind, &str, &str)] = &[
    (ErrorKind::Transport, "the operator, when it stays", "retry; then look at name resolution, firewall, proxy, TLS"),
    (Transient, "nobody", "retry with back-off; this crate has tried three times already"),
    (Throttled, "the developer, when it stays", "wait for `Error::retry_after()`; look for a token that is not cached"),
    (Reauthenticate, "the user", "sign the user in again"),
    (Consent, "the user, or an administrator", "ask for consent; some permissions need an administrator"),
    (Interaction, "the user", "pass `Error::claims_challenge()` on to the sign-in, or to the caller of the API"),
    (Policy, "an administrator of the tenant", "show the user the code and the correlation id; do not retry"),
    (Configuration, "the developer or the operator", "correct registration, settings or request; do not retry"),
    (Credential, "the operator", "renew secret, certificate or federated credential; check the clock"),
    (ErrorKind::Protocol, "the operator", "find out who answered in the place of Entra: a proxy, a test server"),
    (ErrorKind::Unsupported, "the developer", "use a credential that can do what was asked"),
    (ErrorKind::ForeignOrigin, "the developer", "add the origin to the `Audience`, or do not send the token there"),
];

/// What to do, by the first code of each row.
const ADVICE: &[(u32, &str)] = &[
    (16000, "Choose another account, or invite the user to the tenant."),
    (28002, "Ask for one resource: its scopes for a user, `{resource}/.default` for an application."),
    (50001, "Check the resource's identifier URI; in another tenant an administrator adds it first."),
    (
        500_011,
        "An administrator of the tenant consents to the resource (`ConfidentialClient::admin_consent`), which adds it.",
    ),
    (50005, "Sign in from a device that the policy takes, or have the policy changed."),
    (50011, "Register the redirect URI letter by letter, as a web address for this kind of client."),
    (50012, "Compare `Certificate::thumbprint()` with the registration; upload the certificate if it is not there."),
    (50013, "Send the access token that came in, unchanged; it must be a user's, for this very application."),
    (
        500_131,
        "In Teams: the SSO registration, the token exchange URL and the client id here must be of one application.",
    ),
    (500_133, "Exchange the token while it is valid; for longer work use `start_long_running`."),
    (50014, "The guest accepts the invitation, or an administrator creates the user."),
    (50020, "Use an account of the tenant, invite the user, or let the application in for other tenants."),
    (500_207, "Sign in with a work account; personal accounts do not reach this resource."),
    (500_212, "Both administrators look at the cross-tenant access settings, inbound and outbound."),
    (50027, "Look at what is sent as assertion or parameter; the code's text in Entra's log names it."),
    (50049, "Check `AZURE_AUTHORITY_HOST`."),
    (50055, "The user changes the password."),
    (50057, "An administrator enables the account, or the user is gone for good."),
    (50058, "Begin the sign-in again in the browser."),
    (50059, "Check tenant id or domain."),
    (50072, "Pass the claims challenge on; the user signs in with it."),
    (50105, "An administrator assigns the user or their group to the enterprise application."),
    (
        50131,
        "With claims in the error the user can satisfy the policy; without, an administrator reads the sign-in log.",
    ),
    (501_481, "Redeem the code with the session in which the sign-in began; keep sessions per browser."),
    (50194, "Use the tenant's own id, or make the registration multi-tenant."),
    (50196, "Find the loop: a token fetched anew for every request, a refused token fetched again and again."),
    (500_181, "Use the certificate that the token was bound to."),
    (65001, "Send the user to the sign-in with `Prompt::Consent`, or an administrator to `admin_consent`."),
    (65004, "Ask again, and say what the permission is for."),
    (65005, "Add the permission to the registration, then consent."),
    (70000, "Drop the refresh token (this crate has) and sign the user in again."),
    (70001, "An administrator enables the application in the tenant."),
    (700_011, "Compare client id and tenant. A single-tenant bot gets its tokens in its own tenant."),
    (70002, "Copy the secret's value, not its id; percent-encoding is done here."),
    (7_000_222, "Make a new secret; better, a certificate or a managed identity."),
    (7_000_218, "Configure a credential, or allow public client flows in the registration."),
    (700_025, "Use a `PublicClient`, or register the platform as web."),
    (700_024, "Set the clock of this machine; a fresh assertion is made for each request."),
    (700_030, "Register subject name and issuer, and send the chain (`send_chain`)."),
    (7_000_214, "Make a new certificate, register it, put it in the file's place."),
    (1_000_502, "Register the successor and put it in the file's place; it is read without a restart."),
    (70016, "Nothing: `Users::wait_for` asks again."),
    (70018, "Begin the device sign-in again."),
    (70019, "Begin the device sign-in again."),
    (
        70021,
        "Compare issuer, subject and audience with the federated credential, upper and lower case included; wait some minutes after creating one.",
    ),
    (700_229, "Use a token of a managed identity or of another application."),
    (7_000_114, "Use another registration; this one may not use On-Behalf-Of."),
    (70043, "Sign the user in again; the policy says how often."),
    (82014, "Grant the permission to the blueprint, as one that agents inherit."),
    (90006, "Nothing, when it passes; look at Entra's service health when it does not."),
    (90038, "Use the host of the tenant's cloud."),
    (90094, "Send an administrator to `ConfidentialClient::admin_consent`."),
    (9_001_023, "Use the tenant's own id in place of `common`, `organizations` or `consumers`."),
    (900_382, "Register the application in the cloud in which it asks."),
    (100_007, "Do not call `Authority::in_region`."),
    (240_002, "Send the access token to the API, not the id token."),
    (392_189, "Use the ordinary endpoint; mTLS is not offered here."),
];

#[test]
fn every_row_has_advice_and_every_kind_a_line() {
    let rows: Vec<u32> = MEANINGS.iter().filter_map(|meaning| meaning.codes.first().copied()).collect();
    let advised: Vec<u32> = ADVICE.iter().map(|(code, _)| *code).collect();
    assert_eq!(rows, advised, "one line of advice for each row, in the same order");
    for meaning in MEANINGS {
        assert!(KINDS.iter().any(|(kind, ..)| *kind == meaning.kind), "{:?}", meaning.kind);
    }
}

#[test]
fn the_troubleshooting_page_is_made_of_this_table() {
    let page = Path::new(PAGE);
    // A published package has no book beside it.
    if !page.parent().is_some_and(Path::exists) {
        return;
    }
    let old = fs::read_to_string(page).unwrap();
    let new = replaced(&replaced(&old, "kinds", &kinds()), "codes", &codes());
    #[allow(clippy::disallowed_methods)] // a switch of whoever runs this test, no setting
    if std::env::var("ENTRA_PAGES").is_ok_and(|value| value == "write") {
        fs::write(page, &new).unwrap();
        return;
    }
    let changed: Vec<&str> = new.lines().filter(|line| !old.contains(line)).collect();
    let how = "ENTRA_PAGES=write cargo test -p entra-auth --lib aadsts::page";
    assert_eq!(old, new, "docs/src/troubleshooting.md is behind the table; run {how}\n{}", changed.join("\n"));
}

/// The text with new lines between two marks.
fn replaced(page: &str, mark: &str, lines: &str) -> String {
    let (begin, end) = (format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->"));
    let (before, rest) = page.split_once(&begin).expect("the mark of the beginning");
    let (_, after) = rest.split_once(&end).expect("the mark of the end");
    format!("{before}{begin}\n{lines}\n{end}{after}")
}

fn kinds() -> String {
    let mut text = String::from("| `ErrorKind` | who must act | what to do |\n|---|---|---|\n");
    for (kind, who, what) in KINDS {
        writeln!(text, "| `{kind:?}` | {who} | {what} |").unwrap();
    }
    text
}

fn codes() -> String {
    let mut rows: Vec<(u32, String)> = Vec::new();
    for (meaning, (_, advice)) in MEANINGS.iter().zip(ADVICE) {
        let who = KINDS.iter().find(|(kind, ..)| *kind == meaning.kind).map_or("", |(_, who, _)| who);
        for code in meaning.codes {
            let row = format!("| {code} | {} | `{:?}` | {who} | {advice} |", meaning.text, meaning.kind);
            rows.push((*code, row));
        }
    }
    rows.sort_unstable_by_key(|(code, _)| *code);
    let mut text =
        String::from("| AADSTS | what it means | kind | who must act | what to do |\n|---|---|---|---|---|\n");
    for (_, row) in rows {
        text.push_str(&row);
        text.push('\n');
    }
    text
}
