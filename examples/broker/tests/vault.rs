//! A bot without any secret: its key stays in a vault, and a managed identity may use it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use m365_sandbox::{
    Fault, Renewal, Sandbox,
    constants::{BOT_APP_ID, MANAGED_IDENTITY_APP_ID, VAULT_CERTIFICATE},
};
use serde_json::Value;
use support::{Broker, TOKENS, chat, run, settings, text};

const SIGN: &str = "POST /vault/keys/{name}/{version}/sign";
const CERTIFICATE: &str = "GET /vault/certificates/{name}";
const ANSWERS: &str = "POST /connector/{region}/{tenant}/v3/conversations/{id}/activities/{activity}";

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

/// A broker with its key in the sandbox's vault.
async fn serve(sandbox: &Sandbox) -> Broker {
    let (vault, metadata) = addresses(sandbox, VAULT_CERTIFICATE);
    let changes = [
        ("BOT_APP_PASSWORD", ""),
        ("BOT_CERTIFICATE_VAULT_URL", vault.as_str()),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.as_str()),
    ];
    Broker::serve(sandbox, &changes, &[]).await
}

/// Status, and the header of the assertion, of each token request.
fn tokens(sandbox: &Sandbox) -> Vec<(u16, Value)> {
    let requests = sandbox.log(TOKENS);
    let header = |assertion: &str| {
        let header = URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap()).unwrap();
        serde_json::from_slice(&header).unwrap()
    };
    requests.iter().map(|request| (request.status, header(request.field("client_assertion").unwrap()))).collect()
}

/// The certificate is renewed in the vault, registered, and the old one is taken away, while the broker runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_up_without_a_restart() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = serve(&sandbox).await;
    let chat = chat(&sandbox);
    assert!(chat.say("My name is Ada.").await.answered);

    let old = sandbox.certificate_pem();
    let new = sandbox.renew_vault_certificate(Renewal::SelfSigned).await.unwrap();
    sandbox.register_certificate(BOT_APP_ID, &new).unwrap();
    assert!(sandbox.unregister_certificate(BOT_APP_ID, &old).unwrap());
    // Tokens live on; this makes a new one necessary.
    sandbox.fault(Fault::on(ANSWERS).status(401).times(1));
    let answer = chat.say("What is my name?").await;
    assert!(answer.text().contains("Ada"), "{}\n{}", answer.text(), broker.log());

    let tokens = tokens(&sandbox);
    let statuses: Vec<u16> = tokens.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 401, 200], "one refused request, and nobody noticed");
    let names: Vec<&Value> = tokens.iter().map(|(_, header)| &header["x5t#S256"]).collect();
    assert!(names[0] == names[1] && names[1] == names[2] && names[2] != names[3], "{names:?}");
    assert!(tokens.iter().all(|(_, header)| header.get("x5c").is_none()), "nobody issued them");
    assert_eq!(sandbox.requests(CERTIFICATE), 2, "at the start and after the refusal");
    assert!(broker.log().contains("certificate renewed"), "{}", broker.log());
}

/// Issued certificates are accepted by their chain: nobody registers anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_issued_certificate_comes_with_its_chain() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.renew_vault_certificate(Renewal::Issued).await.unwrap();
    let broker = serve(&sandbox).await;
    let chat = chat(&sandbox);
    assert!(chat.say("My name is Ada.").await.answered, "{}", broker.log());

    sandbox.renew_vault_certificate(Renewal::Issued).await.unwrap();
    sandbox.disable_old_vault_keys();
    sandbox.fault(Fault::on(ANSWERS).status(401).times(1));
    let answer = chat.say("What is my name?").await;
    assert!(answer.text().contains("Ada"), "{}\n{}", answer.text(), broker.log());

    let tokens = tokens(&sandbox);
    assert_eq!(tokens.len(), 3, "what the vault does not sign is not sent");
    for (status, header) in &tokens {
        let chain = header["x5c"].as_array().unwrap();
        assert_eq!((*status, chain.len()), (200, 2), "{header}");
    }
    assert_ne!(tokens[1].1["x5t#S256"], tokens[2].1["x5t#S256"]);
    assert_eq!(tokens[0].1["x5c"][1], tokens[2].1["x5c"][1], "one authority");
    assert_eq!(sandbox.requests("GET /vault/secrets/{name}/{version}"), 2);
}
