//! The program itself, on tokens of a sandbox cloud.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use m365_sandbox::{
    Sandbox, Signer,
    constants::{BOT_APP_ID, HOME_TENANT, SSO_RESOURCE, USER_ONE},
};
use serde_json::{Value, json};

const SERVICE_URL: &str = "https://smba.trafficmanager.net/amer/a1a1a1a1-0000-4000-8000-00000000000a/";

fn run(settings: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_m365"))
        .arg("verdict")
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that ends early closes its end; what it says is asserted by the caller.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn verdicts(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
        .stdout
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn activity(service_url: &str) -> Value {
    json!({
        "type": "message", "id": "1", "channelId": "msteams", "serviceUrl": service_url, "text": "hi",
        "from": {"id": "29:1", "aadObjectId": USER_ONE.oid}, "recipient": {"id": format!("28:{BOT_APP_ID}")},
        "conversation": {"id": "a:1", "tenantId": HOME_TENANT}, "channelData": {"tenant": {"id": HOME_TENANT}},
    })
}

#[tokio::test]
async fn channel_requests() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let good = sandbox.channel_token(BOT_APP_ID, SERVICE_URL);
    let elsewhere = sandbox.channel_token(BOT_APP_ID, "https://evil.example/");
    let stranger = sandbox.channel_token("00000000-0000-0000-0000-000000000001", SERVICE_URL);
    let forged =
        sandbox.sign(Signer::Forger, &json!({}), &json!({"iss": "https://api.botframework.com", "aud": BOT_APP_ID}));
    let mut twice = activity(SERVICE_URL).to_string();
    twice.insert_str(1, r#""type":"message","#);
    let line = |name: &str, authorization: Option<String>, activity: &str| {
        format!(
            r#"{{"name":{},"profile":"bf-channel","authorization":{},"activity":{activity},"ignored":1}}"#,
            json!(name),
            json!(authorization)
        )
    };
    let plain = activity(SERVICE_URL).to_string();
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let cases = [
        (line("good", bearer(&good), &plain), None),
        (line("none", None, &plain), Some("missing-token")),
        (line("empty", Some(String::new()), &plain), Some("")),
        (line("stranger", bearer(&stranger), &plain), Some("audience-mismatch")),
        (line("forged", bearer(&forged), &plain), Some("")),
        (line("elsewhere", bearer(&elsewhere), &plain), Some("host-not-allowed")),
        (
            line("other url", bearer(&good), &activity("https://smba.trafficmanager.net/emea/").to_string()),
            Some("service-url-mismatch"),
        ),
        (line("duplicate", bearer(&good), &twice), Some("malformed-activity")),
        (line("no body", bearer(&good), "null"), Some("malformed-body")),
        ("no json".to_owned(), Some("malformed-input")),
        (r#"["x","bf-channel",null]"#.to_owned(), Some("malformed-input")),
        (r#"{"name":"x","profile":"bf-channel","authorization":5}"#.to_owned(), Some("malformed-input")),
        (r#"{"name":"x","profile":"other"}"#.to_owned(), Some("unknown-profile")),
        (r#"{"name":"x","profile":"entra-v2","authorization":null}"#.to_owned(), Some("profile-not-configured")),
    ];
    let input: String = cases.iter().map(|(line, _)| format!("{line}\n")).collect();
    let metadata = format!("{}/botframework/v1/.well-known/openidconfiguration", sandbox.base_url());
    let output =
        tokio::task::spawn_blocking(move || run(&[("BF_APP_ID", BOT_APP_ID), ("BF_METADATA_URL", &metadata)], &input))
            .await
            .unwrap();
    let verdicts = verdicts(&output);
    assert_eq!(verdicts.len(), cases.len());
    for (verdict, (line, rule)) in verdicts.iter().zip(&cases) {
        match rule {
            None => assert_eq!(
                (&verdict["verdict"], &verdict["rule"]),
                (&json!("accept"), &Value::Null),
                "{line} {verdict}"
            ),
            Some(rule) => {
                assert_eq!(verdict["verdict"], "reject", "{line}");
                let found = verdict["rule"].as_str().unwrap();
                assert!(rule.is_empty() || found == *rule, "{verdict}");
            }
        }
    }
    assert_eq!(verdicts[0]["name"], "good");
}

#[tokio::test]
async fn entra_tokens() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let token = sandbox.sso_token(&USER_ONE);
    let settings = [
        ("ENTRA_AUDIENCE", SSO_RESOURCE.to_owned()),
        ("ENTRA_TENANT", HOME_TENANT.to_owned()),
        (
            "ENTRA_METADATA_URL",
            format!("{}/entra/{HOME_TENANT}/v2.0/.well-known/openid-configuration", sandbox.base_url()),
        ),
    ];
    let claims: Value = {
        use base64::Engine as _;
        let payload = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    };
    let audience = claims["aud"].as_str().unwrap().to_owned();
    let judge = move |settings: [(&'static str, String); 3], token: String| async move {
        let line = json!({"name": "n", "profile": "entra-v2", "authorization": format!("Bearer {token}")}).to_string();
        let output = tokio::task::spawn_blocking(move || {
            let settings: Vec<_> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
            run(&settings, &line)
        });
        verdicts(&output.await.unwrap())[0]["rule"].as_str().map(str::to_owned)
    };
    let mut right = settings.clone();
    right[0].1 = audience;
    assert_eq!(judge(right.clone(), token.clone()).await, None);
    let mut wrong = right.clone();
    wrong[0].1 = "api://other".to_owned();
    assert_eq!(judge(wrong, token.clone()).await.as_deref(), Some("audience-mismatch"));
    let mut foreign = right.clone();
    foreign[1].1 = "00000000-0000-0000-0000-000000000001".to_owned();
    assert_eq!(judge(foreign, token.clone()).await.as_deref(), Some("tenant-not-allowed"));
    let mut tampered = token;
    tampered.replace_range(tampered.len() - 4.., "AAAA");
    assert_eq!(judge(right, tampered).await.as_deref(), Some("bad-signature"));
}

#[test]
fn without_settings_it_says_what_to_set() {
    let output = run(&[], "");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("BF_APP_ID") && text.contains("ENTRA_AUDIENCE"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_fetched_are_explained_once() {
    let output = tokio::task::spawn_blocking(|| {
        let payload = r#"{"iss":"https://api.botframework.com","aud":"22222222-2222-2222-2222-222222222222","nbf":1000,"exp":2000,"serviceurl":"https://smba.trafficmanager.net/amer/"}"#;
        let token = [r#"{"alg":"RS256","kid":"k"}"#, payload, "signature"].map(base64url).join(".");
        let line = json!({"name": "x", "profile": "bf-channel", "authorization": format!("Bearer {token}")});
        // Nothing listens on the discard port.
        let settings =
            [("BF_APP_ID", "22222222-2222-2222-2222-222222222222"), ("BF_METADATA_URL", "http://127.0.0.1:9/"), ("NOW", "1500")];
        run(&settings, &format!("{line}\n{line}\n"))
    })
    .await
    .unwrap();
    assert!(verdicts(&output).iter().all(|verdict| verdict["rule"] == "keys-unavailable"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told.matches("BF_METADATA_URL").count(), 1, "{told}");
}

fn base64url(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        out.extend((0..=chunk.len()).map(|i| char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63])));
    }
    out
}
