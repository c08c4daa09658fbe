//! Conversations and their items.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod foundry_support;

use foundry_support::Cloud;
use reqwest::Method;
use serde_json::{Value, json};

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": text})
}

#[tokio::test]
async fn a_conversation_lives_and_dies() {
    let cloud = Cloud::start().await;
    let created = Cloud::ok(cloud.post("/conversations", &json!({"metadata": {"user": "one"}})).await);
    let id = created.id();
    assert!(id.starts_with("conv_") && id.len() == 55, "{id}");
    assert_eq!(created.body["object"], "conversation");
    assert_eq!(created.body["metadata"], json!({"user": "one"}));
    assert!(created.body["created_at"].as_i64().unwrap() > 1_600_000_000);
    assert_eq!(created.body.as_object().unwrap().len(), 4);

    let path = format!("/conversations/{id}");
    assert_eq!(Cloud::ok(cloud.get(&path).await).body, created.body);
    let updated = Cloud::ok(cloud.post(&path, &json!({"metadata": {"topic": "vpn"}})).await);
    assert_eq!(updated.body["metadata"], json!({"topic": "vpn"}));
    assert_eq!(Cloud::ok(cloud.get(&path).await).body, updated.body);

    let deleted = Cloud::ok(cloud.delete(&path).await);
    assert_eq!(deleted.body, json!({"id": id, "object": "conversation.deleted", "deleted": true}));
    for reply in [
        cloud.get(&path).await,
        cloud.delete(&path).await,
        cloud.get(&format!("{path}/items")).await,
        cloud.post(&format!("{path}/items"), &json!({"items": [user("x")]})).await,
        cloud.post("/responses", &json!({"input": "x", "model": "gpt-4.1", "conversation": id})).await,
    ] {
        reply.refused(404, "not_found", "");
        assert_eq!(reply.body["error"]["type"], "error");
        assert!(reply.message().starts_with(&format!("Conversation with id '{id}' not found. [Request ID: ")));
    }
}

#[tokio::test]
async fn an_empty_body_creates_a_conversation() {
    let cloud = Cloud::start().await;
    let reply = cloud.call(cloud.request(Method::POST, &cloud.openai("/conversations"))).await;
    assert_eq!(Cloud::ok(reply).body["metadata"], json!({}));
}

#[tokio::test]
async fn items_are_stored_listed_and_deleted() {
    let cloud = Cloud::start().await;
    let created = Cloud::ok(cloud.post("/conversations", &json!({"items": [user("zero")]})).await);
    let items = format!("/conversations/{}/items", created.id());
    let added =
        Cloud::ok(cloud.post(&items, &json!({"items": [user("one"), {"role": "assistant", "content": "two"}]})).await);
    assert_eq!(added.body["object"], "list");
    assert_eq!(added.body["has_more"], false);
    let data = added.body["data"].as_array().unwrap();
    assert_eq!(added.body["first_id"], data[0]["id"]);
    assert_eq!(added.body["last_id"], data[1]["id"]);
    assert_eq!(data[0]["status"], "completed");
    assert_eq!(data[0]["content"], json!([{"type": "input_text", "text": "one"}]));
    assert_eq!(data[1]["content"], json!([{"type": "output_text", "text": "two", "annotations": [], "logprobs": []}]));

    // Newest first by default, oldest first on request.
    let listed = Cloud::ok(cloud.get(&items).await);
    assert_eq!(texts(&listed.body), ["two", "one", "zero"]);
    assert_eq!(texts(&Cloud::ok(cloud.get(&format!("{items}?order=asc")).await).body), ["zero", "one", "two"]);

    let one = data[0]["id"].as_str().unwrap();
    assert_eq!(Cloud::ok(cloud.get(&format!("{items}/{one}")).await).body, data[0]);
    let answer = Cloud::ok(cloud.delete(&format!("{items}/{one}")).await);
    assert_eq!(answer.body["object"], "conversation");
    assert_eq!(answer.id(), created.id());
    cloud.get(&format!("{items}/{one}")).await.refused(404, "not_found", "");
    cloud.delete(&format!("{items}/{one}")).await.refused(404, "not_found", "");
    assert_eq!(texts(&Cloud::ok(cloud.get(&items).await).body), ["two", "zero"]);
}

#[tokio::test]
async fn pages_follow_cursors() {
    let cloud = Cloud::start().await;
    let items = format!("/conversations/{}/items", cloud.conversation().await);
    let many: Vec<Value> = (0..20).map(|number| user(&number.to_string())).collect();
    Cloud::ok(cloud.post(&items, &json!({"items": many})).await);
    Cloud::ok(cloud.post(&items, &json!({"items": [user("20")]})).await);

    let default = Cloud::ok(cloud.get(&items).await);
    assert_eq!((default.body["data"].as_array().unwrap().len(), &default.body["has_more"]), (20, &json!(true)));
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = Cloud::ok(cloud.get(&format!("{items}?order=asc&limit=8{after}")).await);
        seen.extend(texts(&page.body));
        if page.body["has_more"] == false {
            break;
        }
        after = format!("&after={}", page.body["last_id"].as_str().unwrap());
    }
    assert_eq!(seen, (0..21).map(|number| number.to_string()).collect::<Vec<_>>());
    let first = Cloud::ok(cloud.get(&format!("{items}?order=asc&limit=8{after}")).await);
    let before = first.body["first_id"].as_str().unwrap();
    let page = Cloud::ok(cloud.get(&format!("{items}?order=asc&limit=100&before={before}")).await);
    assert_eq!(page.body["data"].as_array().unwrap().len(), 16);

    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=msg_1", "after"),
    ] {
        cloud.get(&format!("{items}?{query}")).await.refused(400, "invalid_request_error", param);
    }
}

#[tokio::test]
async fn the_list_of_conversations_can_be_asked_for_an_agent() {
    let cloud = Cloud::start().await;
    let (first, second) = (cloud.conversation().await, cloud.conversation().await);
    cloud.turn(&second, "hello").await;
    let all = Cloud::ok(cloud.get("/conversations").await);
    assert_eq!(all.body["first_id"], json!(second));
    assert_eq!(all.body["last_id"], json!(first));
    for query in ["agent_name=sandbox-agent", "agent_id=sandbox-agent:1"] {
        let some = Cloud::ok(cloud.get(&format!("/conversations?{query}")).await);
        assert_eq!(some.body["data"].as_array().unwrap().len(), 1, "{query}");
        assert_eq!(some.body["first_id"], json!(second));
    }
}

#[tokio::test]
async fn bad_conversations_are_refused() {
    let cloud = Cloud::start().await;
    let pairs = |count: usize| -> Value {
        (0..count).map(|n| (n.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>().into()
    };
    Cloud::ok(cloud.post("/conversations", &json!({"metadata": pairs(16)})).await);
    let cases = [
        (json!({"metadata": pairs(17)}), "object_above_max_properties", "metadata"),
        (json!({"metadata": []}), "invalid_type", "metadata"),
        (json!({"metadata": {"a": 1}}), "invalid_type", "metadata.a"),
        (json!({"metadata": {"a": "x".repeat(513)}}), "string_above_max_length", "metadata.a"),
        (json!({"metadata": {"x".repeat(65): "a"}}), "string_above_max_length", "metadata"),
        (json!({"items": vec![user("x"); 21]}), "array_above_max_length", "items"),
        (json!({"items": "x"}), "invalid_type", "items"),
        (json!({"items": [], "agent": "x"}), "unknown_parameter", "agent"),
        (json!({"id": "conv_mine"}), "unknown_parameter", "id"),
    ];
    for (body, code, param) in cases {
        cloud.post("/conversations", &body).await.refused(400, code, param);
    }
    let path = format!("/conversations/{}", cloud.conversation().await);
    cloud.post(&path, &json!({})).await.refused(400, "missing_required_parameter", "metadata");
    for id in ["conv_mine", "resp_x", "x"] {
        cloud.get(&format!("/conversations/{id}")).await.refused(400, "invalid_parameters", "conversation_id");
    }
}

#[tokio::test]
async fn bad_items_are_refused() {
    let cloud = Cloud::start().await;
    let items = format!("/conversations/{}/items", cloud.conversation().await);
    let part = |part: Value| json!([{"role": "user", "content": [part]}]);
    let cases = [
        (json!([{"type": "message", "role": "robot", "content": "x"}]), "invalid_value", "items[0].role"),
        (json!([user("x"), {"role": "user"}]), "missing_required_parameter", "items[1].content"),
        (json!([{"type": "message", "content": "x"}]), "missing_required_parameter", "items[0].role"),
        (json!([{"content": "x"}]), "missing_required_parameter", "items[0].type"),
        (json!([{"role": "user", "content": 1}]), "invalid_type", "items[0].content"),
        (json!([{"role": "user", "content": "x", "colour": 1}]), "unknown_parameter", "items[0].colour"),
        (
            json!([{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]),
            "invalid_value",
            "items[0].content[0].type",
        ),
        (
            json!([{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]),
            "invalid_value",
            "items[0].content[0].type",
        ),
        (
            json!([{"role": "user", "content": [{"type": "input_text"}]}]),
            "missing_required_parameter",
            "items[0].content[0].text",
        ),
        (json!([{"role": "user", "content": ["x"]}]), "invalid_type", "items[0].content[0]"),
        (part(json!({"type": "input_image"})), "invalid_value", "items[0].content[0].image_url"),
        (part(json!({"type": "input_image", "image_url": 1})), "invalid_type", "items[0].content[0].image_url"),
        (
            part(json!({"type": "input_image", "image_url": "data:image/bmp;base64,QQ=="})),
            "invalid_value",
            "items[0].content[0].image_url",
        ),
        (
            part(json!({"type": "input_image", "image_url": "data:image/png;base64,?"})),
            "invalid_value",
            "items[0].content[0].image_url",
        ),
        (
            part(json!({"type": "input_file", "file_data": "data:application/pdf;base64,QQ=="})),
            "missing_required_parameter",
            "items[0].content[0].filename",
        ),
        (
            part(json!({"type": "input_file", "filename": "a", "file_data": "QQ=="})),
            "invalid_value",
            "items[0].content[0].file_data",
        ),
        (
            part(json!({"type": "input_file", "file_id": "f", "file_url": "https://x"})),
            "invalid_value",
            "items[0].content[0].file_data",
        ),
        (json!([{"type": "dream"}]), "invalid_value", "items[0]"),
        (json!(["x"]), "invalid_type", "items[0]"),
        (json!([{"type": "function_call_output", "output": "x"}]), "missing_required_parameter", "items[0].call_id"),
        (json!([{"type": "function_call_output", "call_id": "c"}]), "missing_required_parameter", "items[0].output"),
        (
            json!([{"type": "mcp_approval_response", "approval_request_id": "m", "approve": "yes"}]),
            "invalid_type",
            "items[0].approve",
        ),
    ];
    for (list, code, param) in cases {
        cloud.post(&items, &json!({"items": list})).await.refused(400, code, param);
    }
    cloud.post(&items, &json!({})).await.refused(400, "missing_required_parameter", "items");
    // A refused list leaves nothing behind.
    assert_eq!(Cloud::ok(cloud.get(&items).await).body["data"], json!([]));
    // The same id twice.
    let item = json!({"role": "user", "content": "x", "id": "msg_1"});
    Cloud::ok(cloud.post(&items, &json!({"items": [item]})).await);
    cloud.post(&items, &json!({"items": [item]})).await.refused(400, "invalid_request_error", "items");
}

fn texts(list: &Value) -> Vec<String> {
    let data = list["data"].as_array().unwrap();
    data.iter().map(|item| item["content"][0]["text"].as_str().unwrap().to_owned()).collect()
}
