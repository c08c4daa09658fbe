//! A bot without any secret: its key stays in a vault, and a managed identity may use it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use m365_sandbox::{
    Fault, Sandbox,
    constants::{MANAGED_IDENTITY_APP_ID, VAULT_CERTIFICATE},
};
use support::{Broker, TOKENS, chat, run, settings, text};

const SIGN: &str = "POST /vault/keys/{name}/{version}/sign";
const CERTIFICATE: &str = "GET /vault/certificates/{name}";

/// The addresses of the vault's certificate and of the machine's metadata service.
fn addresses(sandbox: &Sandbox, name: &str) -> (String, String) {
    (format!("{}/vault/certificates/{name}", sandbox.base_url()), sandbox.base_url())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_with_a_key_in_a_vault_and_no_secret() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let (vault, metadata) = addresses(&sandbox, VAULT_CERTIFICATE);
    let changes = [
        ("BOT_APP_PASSWORD", ""),
        ("BOT_CERTIFICATE_VAULT_URL", vault.as_str()),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.as_str()),
        ("AZURE_CLIENT_ID", MANAGED_IDENTITY_APP_ID),
    ];
    let broker = Broker::serve(&sandbox, &changes, &[]).await;
    assert!(chat(&sandbox).say("My name is Ada.").await.answered);

    let tokens = sandbox.log(TOKENS);
    assert_eq!(tokens.len(), 2, "one token for Foundry, one for the connector");
    for request in &tokens {
        assert_eq!(request.status, 200);
        assert!(request.field("client_secret").is_none() && request.field("client_assertion").is_some());
    }
    // One signature at start, to see that it works; then one an assertion.
    let signed = sandbox.log(SIGN);
    assert_eq!(signed.len(), 3);
    for request in &signed {
        let body = request.json.as_ref().unwrap();
        assert_eq!((request.status, body["alg"].as_str()), (200, Some("PS256")));
        assert_eq!(body["value"].as_str().unwrap().len(), 43, "a digest of 32 bytes");
        assert_eq!(request.parameter("api-version"), Some("7.4"));
    }
    assert_eq!(sandbox.requests(CERTIFICATE), 1);
    let identity = sandbox.log("GET /metadata/identity/oauth2/token");
    assert_eq!(identity.len(), 1, "the token of the identity is cached");
    assert_eq!(identity[0].parameter("resource"), Some("https://vault.azure.net"));
    assert_eq!(identity[0].parameter("client_id"), Some(MANAGED_IDENTITY_APP_ID));
    assert!(!broker.log().contains("eyJ"), "{}", broker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vault_refuses_is_said_at_start() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let start = async |name: &str| {
        let (vault, metadata) = addresses(&sandbox, name);
        let changes = [
            ("BOT_APP_PASSWORD", ""),
            ("BOT_CERTIFICATE_VAULT_URL", vault.as_str()),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.as_str()),
        ];
        let output = run(&settings(&sandbox, &changes), &["--serve"], None).await;
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = start("another").await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("BOT_CERTIFICATE_VAULT_URL: Key Vault has no certificate of this name"), "{said}");

    let forbidden = r#"{"error":{"code":"Forbidden","message":"marker","innererror":{"code":"ForbiddenByRbac"}}}"#;
    for (route, expected) in [(CERTIFICATE, "Key Vault Certificate User"), (SIGN, "Key Vault Crypto User")] {
        sandbox.fault(Fault::on(route).answer(403, forbidden));
        let (code, said) = start(VAULT_CERTIFICATE).await;
        sandbox.clear_faults();
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected) && !said.contains("marker"), "{said}");
    }

    // A passing fault is waited out; one that stays is said with the time to wait.
    sandbox.clear_log();
    sandbox.fault(Fault::on(CERTIFICATE).status(429).header("retry-after", "1"));
    let (code, said) = start(VAULT_CERTIFICATE).await;
    sandbox.clear_faults();
    assert_eq!((code, sandbox.requests(CERTIFICATE)), (Some(2), 3), "{said}");
    assert!(said.contains("Key Vault asks for fewer requests (429); try again after 1 s"), "{said}");
    sandbox.fault(Fault::on(CERTIFICATE).status(503).times(2));
    let (vault, metadata) = addresses(&sandbox, VAULT_CERTIFICATE);
    let changes = [
        ("BOT_APP_PASSWORD", ""),
        ("BOT_CERTIFICATE_VAULT_URL", vault.as_str()),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.as_str()),
    ];
    let _broker = Broker::serve(&sandbox, &changes, &[]).await;
}
