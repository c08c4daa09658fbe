//! Publishing and Resource Manager: every request field by field, as the guide of the service writes it.
#![cfg(all(feature = "publish", feature = "arm"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;

use common::{PROJECT, Script, Seen, Tokens, answer};
use entra_auth::Secret;
use foundry_client::ErrorKind;
use foundry_client::agents::ApprovalStatus;
use foundry_client::arm::{ArmClient, BotSpec, OAuthConnectionSpec};
use foundry_client::publish::{ActivityAccess, PublishRequest, PublishScope};
use serde_json::{Value, json};

const BOT: &str = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.BotService/botServices/bot";

fn arm(script: &Script) -> ArmClient {
    let builder = ArmClient::builder("sub", "rg").credential(Arc::new(Tokens::default()));
    builder.transport(Arc::new(script.clone())).build().unwrap()
}

#[track_caller]
fn is(seen: &Seen, method: &str, url: &str, body: &Value) {
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), (method, url));
    match body {
        Value::Null => assert!(seen.body.is_empty()),
        body => assert_eq!(seen.json(), *body),
    }
    assert_eq!(seen.headers["authorization"], "Bearer token-1");
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_published_made_ready_and_taken_back() {
    let agent = r#"{"name":"a","agent_endpoint":{"protocol_configuration":{"responses":{}},"authorization_schemes":[{"type":"Entra"}],"publish_approval_status":"pending"}}"#;
    let script = Script::new([
        answer(
            200,
            r#"{"agentDisplayName":"Help","recommendedNextAppVersion":"1.0.1","botServiceArmId":"/subscriptions/x"}"#,
        ),
        answer(200, r#"{"titleId":"T_1","teamsAppId":"app"}"#),
        answer(200, "PK"),
        answer(200, agent),
        answer(204, ""),
        answer(200, agent),
        answer(200, agent),
    ]);
    let client = script.client();
    let m365 = client.microsoft365();
    let defaults = m365.defaults("a").await.unwrap();
    let request = PublishRequest::new(PublishScope::TENANT).with_defaults(&defaults);
    let published = m365.publish("a", &request).await.unwrap();
    assert_eq!((published.title_id.as_deref(), published.teams_app_id.as_deref()), (Some("T_1"), Some("app")));
    assert_eq!(&m365.package("a", &request).await.unwrap()[..], b"PK");
    assert_eq!(m365.approval_status("a").await.unwrap(), Some(ApprovalStatus::PENDING));
    m365.unpublish("a").await.unwrap();
    m365.enable_activity("a", &ActivityAccess::tenant().private_network()).await.unwrap();
    let seen = script.seen();
    let url = |verb: &str| format!("{PROJECT}/agents/a/microsoft365/{verb}?api-version=v1");
    let body = json!({"publishScope": "Tenant", "agentDisplayName": "Help", "botServiceArmId": "/subscriptions/x", "appVersion": "1.0.1"});
    is(&seen[0], "GET", &format!("{}&publishAsDigitalWorker=false", url("publishdefaults")), &Value::Null);
    is(&seen[1], "POST", &url("publish"), &body);
    is(&seen[2], "POST", &url("zip"), &body);
    assert_eq!(seen[2].headers["accept"], "application/zip");
    is(&seen[3], "GET", &format!("{PROJECT}/agents/a?api-version=v1"), &Value::Null);
    is(&seen[4], "POST", &url("unpublish"), &Value::Null);
    let endpoint = json!({"agent_endpoint": {
        "protocol_configuration": {"activity": {"enable_m365_public_endpoint": true}, "responses": {}},
        "authorization_schemes": [{"type": "Entra"}, {"type": "BotServiceTenant"}]}});
    is(&seen[6], "PATCH", &format!("{PROJECT}/agents/a?api-version=v1"), &endpoint);
    assert_eq!(seen[6].headers["content-type"], "application/merge-patch+json");
}

#[tokio::test(start_paused = true)]
async fn publishing_is_not_repeated_and_bad_requests_are_not_sent() {
    let script = Script::new([answer(502, "")]);
    let request = PublishRequest::new(PublishScope::TENANT).bot_service_arm_id("/subscriptions/x");
    assert!(script.client().microsoft365().publish("a", &request).await.is_err());
    assert_eq!(script.seen().len(), 1);
    let bad = PublishRequest::new(PublishScope::TENANT).app_version("1");
    let error = script.client().microsoft365().publish("a", &bad).await.unwrap_err();
    assert_eq!((error.kind(), script.seen().len()), (ErrorKind::InvalidRequest, 1));
}

#[tokio::test(start_paused = true)]
async fn an_azure_bot_is_made_with_its_channel_and_connection() {
    let resource = json!({"id": BOT, "name": "bot", "properties": {"x": 1}}).to_string();
    let missing = r#"{"error":{"code":"ResourceNotFound","message":"x"}}"#;
    let providers = json!({"value": [{"properties": {"id": "p1", "serviceProviderName": "Aadv2", "displayName": "Azure AD v2",
        "parameters": [{"name": "tenantID", "type": "String"}]}}]});
    let script = Script::new([
        answer(200, r#"{"registrationState":"NotRegistered"}"#),
        answer(200, r#"{"registrationState":"Registering"}"#),
        answer(200, r#"{"valid":false,"message":"taken"}"#),
        answer(404, missing),
        answer(201, resource.clone()),
        answer(200, resource.clone()),
        answer(200, resource),
        answer(200, providers.to_string()),
    ]);
    let arm = arm(&script);
    assert_eq!(arm.provider_state().await.unwrap(), "NotRegistered");
    assert_eq!(arm.register_provider().await.unwrap(), "Registering");
    assert!(!arm.check_bot_name("bot").await.unwrap().valid);
    assert!(arm.bot("bot").await.unwrap().is_none());
    let endpoint = BotSpec::agent_endpoint("https://acme.services.ai.azure.com/api/projects/demo/", "helpdesk");
    let spec = BotSpec::new("Contoso Helpdesk", endpoint, "app", "tenant").description("d").icon_url("https://i");
    assert_eq!(arm.put_bot("bot", &spec).await.unwrap().id, BOT);
    arm.put_teams_channel("bot").await.unwrap();
    let secret = Secret::new("marker");
    let connection =
        OAuthConnectionSpec::entra("tenant", "client", secret, "User.Read").token_exchange_url("api://botid-client");
    assert!(!format!("{connection:?}").contains("marker"));
    arm.put_connection("bot", "sso", &connection).await.unwrap();
    let found = arm.auth_providers().await.unwrap();
    assert_eq!((found[0].name.as_str(), found[0].parameters.as_slice()), ("Aadv2", &["tenantID".to_owned()][..]));

    let seen = script.seen();
    let base = "https://management.azure.com";
    let provider = format!("{base}/subscriptions/sub/providers/Microsoft.BotService");
    is(&seen[0], "GET", &format!("{provider}?api-version=2021-04-01"), &Value::Null);
    is(&seen[1], "POST", &format!("{provider}/register?api-version=2021-04-01"), &Value::Null);
    let name = json!({"name": "bot", "type": "Microsoft.BotService/botServices"});
    is(
        &seen[2],
        "POST",
        &format!("{base}/providers/Microsoft.BotService/checkNameAvailability?api-version=2022-09-15"),
        &name,
    );
    is(&seen[3], "GET", &format!("{base}{BOT}?api-version=2022-09-15"), &Value::Null);
    let bot = json!({
        "location": "global", "kind": "azurebot", "sku": {"name": "F0"}, "tags": {},
        "properties": {
            "displayName": "Contoso Helpdesk", "description": "d", "iconUrl": "https://i",
            "endpoint": "https://acme.services.ai.azure.com/api/projects/demo/agents/helpdesk/endpoint/protocols/activityProtocol?api-version=2025-05-15-preview",
            "msaAppId": "app", "msaAppTenantId": "tenant", "msaAppType": "SingleTenant",
            "publicNetworkAccess": "Disabled", "isStreamingSupported": false, "disableLocalAuth": true
        }
    });
    is(&seen[4], "PUT", &format!("{base}{BOT}?api-version=2022-09-15"), &bot);
    let channel = json!({"location": "global", "properties": {"channelName": "MsTeamsChannel", "location": "global", "properties": {
        "isEnabled": true, "enableCalling": false, "callingWebhook": null, "incomingCallRoute": null,
        "deploymentEnvironment": "CommercialDeployment", "acceptedTerms": true}}});
    is(&seen[5], "PUT", &format!("{base}{BOT}/channels/MsTeamsChannel?api-version=2022-09-15"), &channel);
    let connection = json!({"location": "global", "properties": {
        "serviceProviderId": "30dd229c-58e3-4a48-bdfd-91ec48eb906c", "serviceProviderDisplayName": "Azure Active Directory v2",
        "clientId": "client", "clientSecret": "marker", "scopes": "User.Read",
        "parameters": [{"key": "tenantID", "value": "tenant"}, {"key": "tokenExchangeUrl", "value": "api://botid-client"}]}});
    is(&seen[6], "PUT", &format!("{base}{BOT}/connections/sso?api-version=2022-09-15"), &connection);
    is(&seen[7], "POST", &format!("{provider}/listAuthServiceProviders?api-version=2022-09-15"), &Value::Null);
}

#[test]
fn tokens_of_resource_manager_go_nowhere_else() {
    let script = Script::new([]);
    let builder =
        || ArmClient::builder("s", "g").credential(Arc::new(Tokens::default())).transport(Arc::new(script.clone()));
    assert!(builder().build().is_ok());
    assert!(builder().address("http://127.0.0.1:9").build().is_ok());
    assert!(builder().address("https://management.azure.com.evil.example").build().is_err());
    assert!(builder().address("http://management.azure.com").build().is_err());
    assert!(ArmClient::builder("s", "g").transport(Arc::new(script.clone())).build().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_managed_identity_has_its_own_form() {
    let script = Script::new([answer(200, json!({"id": BOT}).to_string())]);
    let spec = BotSpec::new("b", "https://x/api/messages", "app", "t")
        .managed_identity("/subscriptions/i")
        .paid()
        .public_network_access();
    arm(&script).put_bot("bot", &spec).await.unwrap();
    let body = script.seen()[0].json();
    let properties = &body["properties"];
    assert_eq!(
        (&properties["msaAppType"], &properties["msaAppMSIResourceId"]),
        (&json!("UserAssignedMSI"), &json!("/subscriptions/i"))
    );
    assert_eq!((&body["sku"]["name"], &properties["publicNetworkAccess"]), (&json!("S1"), &json!("Enabled")));
}
