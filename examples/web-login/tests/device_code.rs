//! A sign-in on a device without a browser, against the sandbox: the device shows a code, a browser elsewhere takes it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::time::Duration;

use entra_auth::{
    Authority, ErrorKind, IdTokenValidator, PublicClient, SignInAudience, TenantPolicy, TokenCredential, TokenRequest,
    Users,
};
use m365_sandbox::{Fault, Sandbox, constants::*};
use support::{Browser, TOKENS};
use url::Url;

const SCOPE: &str = "https://graph.microsoft.com/User.Read";

fn users(sandbox: &Sandbox, policy: TenantPolicy) -> Users {
    let authority: Authority = format!("{}/entra", sandbox.base_url()).parse().unwrap();
    let client = PublicClient::builder(RESOURCE_TENANT.parse().unwrap(), CLI_APP_ID.parse().unwrap())
        .authority(authority.clone())
        .build()
        .unwrap();
    let validator = IdTokenValidator::builder(authority, CLI_APP_ID.parse().unwrap(), policy).build().unwrap();
    client.users(validator).with_audience(SignInAudience::Organizations)
}

fn both() -> TenantPolicy {
    TenantPolicy::allow([HOME_TENANT.parse().unwrap(), RESOURCE_TENANT.parse().unwrap()])
}

/// What the person does in a browser, after a moment: the code, then a button.
async fn enters(page: Url, code: String, step: (&'static str, &'static str)) {
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let mut browser = Browser::default();
    assert!(browser.get(page.clone()).await.body.contains("Enter the code"));
    let fields = [("code".to_owned(), code)];
    let asked = browser.post(page.clone(), &fields).await;
    assert!(asked.body.contains("Are you trying to sign in to Sandbox Command Line?"), "{}", asked.body);
    let code = ("code".to_owned(), asked.hidden("code").unwrap());
    let done = browser.post(page, &[code, (step.0.to_owned(), step.1.to_owned())]).await;
    assert_eq!(done.status, 200, "{}", done.body);
}

#[tokio::test]
async fn a_device_signs_its_user_in() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let users = users(&sandbox, both());
    let code = users.device_code(&SCOPE.parse().unwrap()).await.unwrap();
    assert!(code.message().unwrap().contains(code.user_code()));
    assert!(code.remaining() > Duration::from_secs(800));
    assert!(!format!("{code:?}").contains(code.user_code()));
    // A passing fault on the way is waited out as well.
    sandbox.fault(Fault::on(TOKENS).status(503).times(1));
    let (page, shown) = (code.verification_uri().clone(), code.user_code().to_owned());
    let person = tokio::spawn(enters(page, shown, ("user", USER_THREE.oid)));
    let signed_in = tokio::time::timeout(Duration::from_secs(60), users.wait_for(code)).await.unwrap().unwrap();
    person.await.unwrap();
    let user = signed_in.account.user_key();
    assert_eq!((user.tenant().as_str(), user.object_id().as_str()), (RESOURCE_TENANT, USER_THREE.oid));

    let polls = sandbox.log(TOKENS);
    assert!(polls.len() >= 3, "{}", polls.len());
    assert!(polls.iter().all(|poll| poll.field("client_secret").is_none() && poll.path.contains("/organizations/")));
    assert!(polls.windows(2).all(|pair| pair[1].at >= pair[0].at));
    assert_eq!((polls[0].status, polls.last().unwrap().status), (503, 200));

    // From here on without the user, at the user's own tenant.
    sandbox.clear_log();
    let credential = users.credential(user);
    let ask = async |scope: &str| credential.get_token(&TokenRequest::new(scope.parse().unwrap())).await;
    assert!(ask(SCOPE).await.unwrap().same_as(&signed_in.token));
    ask("https://graph.microsoft.com/Files.Read").await.unwrap();
    let refreshed = sandbox.log(TOKENS);
    assert_eq!(refreshed.len(), 1);
    assert!(refreshed[0].path.contains(RESOURCE_TENANT) && refreshed[0].field("refresh_token").is_some());
    users.sign_out(user).await.unwrap();
    assert_eq!(ask(SCOPE).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
}

#[tokio::test]
async fn who_declines_or_is_not_let_in_is_not_signed_in() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let home = TenantPolicy::Single(HOME_TENANT.parse().unwrap());
    for (policy, step, kind) in [
        (both(), ("step", "cancel"), ErrorKind::ConsentRequired),
        (home, ("user", USER_THREE.oid), ErrorKind::PolicyBlocked),
    ] {
        let users = users(&sandbox, policy);
        let code = users.device_code(&SCOPE.parse().unwrap()).await.unwrap();
        let (page, shown) = (code.verification_uri().clone(), code.user_code().to_owned());
        let person = tokio::spawn(enters(page, shown, step));
        let result = tokio::time::timeout(Duration::from_secs(60), users.wait_for(code)).await.unwrap();
        person.await.unwrap();
        assert_eq!(result.unwrap_err().kind(), kind);
        assert!(users.accounts().is_empty());
    }
}

#[tokio::test]
async fn a_code_that_nobody_enters_in_time_is_over() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let users = users(&sandbox, both());
    let code = users.device_code(&SCOPE.parse().unwrap()).await.unwrap();
    sandbox.advance_clock(901);
    let result = tokio::time::timeout(Duration::from_secs(60), users.wait_for(code)).await.unwrap();
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Reauthenticate);
}
