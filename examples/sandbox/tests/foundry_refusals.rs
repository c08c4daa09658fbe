//! What the front door and the request check refuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod foundry_support;

use foundry_support::{Cloud, agent, ask, with};
use m365_sandbox::constants;
use reqwest::Method;
use serde_json::json;

const AGENT: &str = constants::FOUNDRY_AGENT;

#[tokio::test]
async fn no_bad_or_foreign_token_gets_in() {
    let cloud = Cloud::start().await;
    let url = cloud.openai("/conversations");
    let wrong_audience =
        cloud.app_token(constants::RESOURCE_TENANT, &format!("{}/.default", constants::CONNECTOR_RESOURCE)).await;
    for request in [
        cloud.client.post(&url),
        cloud.client.post(&url).bearer_auth("not-a-token"),
        cloud.client.post(&url).basic_auth("a", Some("b")),
        cloud.client.post(&url).header("api-key", "0123456789abcdef"),
        cloud.client.post(&url).bearer_auth(wrong_audience),
        cloud.client.get(format!("{}/nowhere", cloud.project)),
    ] {
        let reply = cloud.call(request).await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        assert_eq!(reply.body["statusCode"], 401);
        assert!(reply.body["message"].as_str().unwrap().contains("audience is incorrect (https://ai.azure.com)"));
        assert!(reply.headers.contains_key("x-request-id"));
    }
    cloud.sandbox.advance_clock(2 * 3600);
    assert_eq!(cloud.get("/conversations").await.status, 401, "an expired token");
}

#[tokio::test]
async fn nobody_speaks_for_another_user() {
    let cloud = Cloud::start().await;
    let with_identity =
        |value: &str| cloud.request(Method::POST, &cloud.openai("/conversations")).header("x-ms-user-identity", value);
    let reply = cloud.call(with_identity("user-1")).await;
    reply.refused(403, "PermissionDenied", "");
    assert!(reply.message().contains("UserIdentityImpersonation"));
    cloud.call(with_identity("no spaces")).await.refused(400, "invalid_request", "x-ms-user-identity");
}

#[tokio::test]
async fn wrong_paths_methods_and_types_are_refused() {
    let cloud = Cloud::start().await;
    cloud.get("/nowhere").await.refused(404, "404", "");
    let other = cloud.openai("/conversations").replace("/projects/sandbox", "/projects/other");
    let reply = cloud.call(cloud.request(Method::GET, &other)).await;
    reply.refused(404, "NotFound", "");
    assert_eq!(reply.message(), "Project not found");

    let reply = cloud.call(cloud.request(Method::PUT, &cloud.openai("/responses"))).await;
    reply.refused(405, "method_not_supported", "");
    assert!(reply.headers["allow"].to_str().unwrap().contains("POST"));
    assert_eq!(cloud.delete("/conversations").await.status, 405);
    assert_eq!(cloud.post("/responses/x/input_items", &json!({})).await.status, 405);

    let text = |content_type: &str, body: &'static str| {
        cloud
            .request(Method::POST, &cloud.openai("/responses"))
            .header("content-type", content_type.to_owned())
            .body(body)
    };
    cloud.call(text("text/plain", "{}")).await.refused(415, "unsupported_content_type", "");
    cloud.call(text("application/x-www-form-urlencoded", "a=b")).await.refused(415, "unsupported_content_type", "");
    cloud.call(text("application/json", "{\"input\":")).await.refused(400, "invalid_request_error", "");
    cloud.call(text("application/json", "[1]")).await.refused(400, "invalid_request", "");
    let good = r#"{"input":"x","model":"gpt-4.1"}"#;
    Cloud::ok(cloud.call(text("application/json; charset=utf-8", good)).await);
}

#[tokio::test]
async fn every_answer_carries_request_ids() {
    let cloud = Cloud::start().await;
    let request = cloud.request(Method::GET, &cloud.openai("/conversations")).header("x-ms-client-request-id", "abc-1");
    let reply = Cloud::ok(cloud.call(request).await);
    assert_eq!(reply.headers["x-ms-client-request-id"], "abc-1");
    assert_eq!(reply.headers["x-request-id"].len(), 36);
    assert_eq!(reply.headers["apim-request-id"].len(), 36);
}

#[tokio::test]
async fn the_api_version_belongs_to_one_base_only() {
    let cloud = Cloud::start().await;
    let body = json!({"input": "hello"});
    let base = format!("{}/agents/{AGENT}/endpoint/protocols/openai/responses", cloud.project);
    let post = |url: String, body: serde_json::Value| cloud.call(cloud.request(Method::POST, &url).json(&body));
    post(base.clone(), body.clone()).await.refused(400, "MissingApiVersion", "api-version");
    post(format!("{base}?api-version=2024"), body.clone()).await.refused(400, "UnsupportedApiVersion", "api-version");
    let reply = Cloud::ok(post(format!("{base}?api-version=v1"), body.clone()).await);
    assert_eq!(reply.body["agent_reference"]["name"], AGENT);
    // The agent is in the path, so it may not be in the body.
    post(format!("{base}?api-version=v1"), ask(AGENT, "x")).await.refused(400, "invalid_request", "agent_reference");
    let nobody = base.replace(AGENT, "nobody");
    post(format!("{nobody}?api-version=v1"), body).await.refused(404, "not_found", "");
    cloud.post("/responses?api-version=2025-05-01", &ask(AGENT, "x")).await.refused(400, "BadRequest", "");

    let agents = format!("{}/agents", cloud.project);
    let get = |url: String| cloud.call(cloud.request(Method::GET, &url));
    get(agents.clone()).await.refused(400, "MissingApiVersion", "api-version");
    let listed = Cloud::ok(get(format!("{agents}?api-version=v1&order=asc")).await);
    assert_eq!(listed.body["first_id"], AGENT);
    let one = Cloud::ok(get(format!("{agents}/{AGENT}?api-version=v1")).await);
    assert_eq!(one.body["object"], "agent");
    assert_eq!(one.body["versions"]["latest"]["id"], format!("{AGENT}:1"));
    get(format!("{agents}/nobody?api-version=v1")).await.refused(404, "not_found", "");
}

#[tokio::test]
async fn unknown_agents_and_models_are_refused() {
    let cloud = Cloud::start().await;
    let reply = cloud.post("/responses", &ask("nobody", "x")).await;
    reply.refused(404, "not_found", "");
    assert!(reply.message().starts_with("Agent nobody not found. [Request ID: "));
    let versioned =
        with(ask(AGENT, "x"), "agent_reference", json!({"type": "agent_reference", "name": AGENT, "version": "9"}));
    cloud.post("/responses", &versioned).await.refused(404, "not_found", "");
    cloud.post("/responses", &json!({"input": "x", "model": "gpt-0"})).await.refused(404, "DeploymentNotFound", "");
    cloud.post("/responses", &json!({"input": "x"})).await.refused(400, "missing_required_parameter", "model");
    for (reference, param) in [
        (json!("sandbox-agent"), "agent_reference"),
        (json!({"name": AGENT}), "agent_reference.type"),
        (json!({"type": "agent_reference"}), "agent_reference.name"),
        (json!({"type": "agent_reference", "name": AGENT, "version": 1}), "agent_reference.version"),
    ] {
        let body = json!({"input": "x", "agent_reference": reference});
        cloud.post("/responses", &body).await.refused(400, "invalid_request", param);
    }
    // The name of the member before v1.
    let body = json!({"input": "x", "agent": agent(AGENT)});
    cloud.post("/responses", &body).await.refused(400, "unknown_parameter", "agent");
}

#[tokio::test]
async fn bad_requests_are_refused_member_by_member() {
    let cloud = Cloud::start().await;
    let base = ask(AGENT, "x");
    for (member, value, code, param) in [
        ("colour", json!("red"), "unknown_parameter", "colour"),
        ("stream", json!("yes"), "invalid_type", "stream"),
        ("store", json!(1), "invalid_type", "store"),
        ("temperature", json!(3), "decimal_above_max_value", "temperature"),
        ("top_p", json!(-1), "decimal_below_min_value", "top_p"),
        ("max_output_tokens", json!(15), "integer_below_min_value", "max_output_tokens"),
        ("max_output_tokens", json!("many"), "invalid_type", "max_output_tokens"),
        ("metadata", json!({"a": 1}), "invalid_type", "metadata.a"),
        ("input", json!(7), "invalid_type", "input"),
        ("input", json!([{"role": "robot", "content": "x"}]), "invalid_value", "input[0].role"),
        ("conversation", json!("conv_mine"), "invalid_parameters", "conversation"),
        ("conversation", json!({}), "missing_required_parameter", "conversation.id"),
        ("conversation", json!(1), "invalid_type", "conversation"),
        ("previous_response_id", json!("x"), "invalid_parameters", "previous_response_id"),
        (
            "previous_response_id",
            json!(format!("resp_{}", "0".repeat(50))),
            "previous_response_not_found",
            "previous_response_id",
        ),
        ("stream_options", json!({"include_obfuscation": false}), "invalid_mode", "stream"),
        ("tools", json!({}), "invalid_type", "tools"),
    ] {
        cloud.post("/responses", &with(base.clone(), member, value)).await.refused(400, code, param);
    }
    cloud.post("/responses", &json!({"agent_reference": agent(AGENT)})).await.refused(
        400,
        "missing_required_parameter",
        "input",
    );
    let both = with(
        with(base.clone(), "conversation", cloud.conversation().await),
        "previous_response_id",
        format!("resp_{}", "0".repeat(50)),
    );
    cloud.post("/responses", &both).await.refused(400, "mutually_exclusive_parameters", "previous_response_id");
    let unstored = with(with(base, "background", true), "store", false);
    cloud.post("/responses", &unstored).await.refused(400, "unsupported_parameter", "background");
    // A hosted server blames the path in the details.
    let hosted = with(ask("hosted-agent", ""), "input", json!([{"role": "robot", "content": "x"}]));
    let reply = cloud.post("/responses", &hosted).await;
    reply.refused(400, "invalid_request", "");
    assert_eq!(reply.body["error"]["details"][0]["param"], "$.input[0].role");
    // Nothing of all this was stored.
    assert_eq!(Cloud::ok(cloud.get("/responses").await).body["data"], json!([]));
}

#[tokio::test]
async fn busy_and_broken_agents_answer_in_their_own_forms() {
    let cloud = Cloud::start().await;
    let throttled = cloud.post("/responses", &ask("throttled-agent", "x")).await;
    throttled.refused(429, "too_many_requests", "");
    assert_eq!(throttled.headers["retry-after"], "1");
    assert_eq!(cloud.post("/responses", &ask("throttled-once-agent", "x")).await.status, 429);
    assert_eq!(cloud.post("/responses", &ask("throttled-once-agent", "x")).await.status, 200);
    let gateway = cloud.post("/responses", &ask("gateway-throttled-agent", "x")).await;
    assert_eq!((gateway.status.as_u16(), &gateway.body["statusCode"]), (429, &json!(429)));
    assert!(gateway.body.get("error").is_none());
    let bare = cloud.post("/responses", &ask("unavailable-agent", "x")).await;
    assert_eq!((bare.status.as_u16(), bare.text.as_str()), (503, ""));
    assert!(!bare.headers.contains_key("retry-after"));
    assert_eq!(cloud.post("/responses", &ask("unavailable-once-agent", "x")).await.status, 503);
    assert_eq!(cloud.post("/responses", &ask("unavailable-once-agent", "x")).await.status, 200);
    cloud.post("/responses", &ask("server-error-agent", "x")).await.refused(500, "server_error", "");
    cloud.post("/responses", &ask("not-ready-agent", "x")).await.refused(424, "session_not_ready", "");
    let html = cloud.post("/responses", &ask("html-agent", "x")).await;
    assert_eq!((html.status.as_u16(), html.headers["content-type"].to_str().unwrap()), (502, "text/html"));
    let timed_out = cloud.post("/responses", &ask("timed-out-agent", "x")).await;
    assert_eq!((timed_out.status.as_u16(), &timed_out.body["error"]), (408, &json!("RequestTimedOut")));
}

#[tokio::test]
async fn a_preview_agent_needs_its_opt_in() {
    let cloud = Cloud::start().await;
    cloud.post("/responses", &ask("preview-agent", "x")).await.refused(
        403,
        "preview_feature_required",
        "Foundry-Features",
    );
    let request = cloud
        .request(Method::POST, &cloud.openai("/responses"))
        .header("Foundry-Features", "VoiceAgents=V1Preview, WorkflowAgents=V1Preview")
        .json(&ask("preview-agent", "hello"));
    Cloud::ok(cloud.call(request).await);
}
