//! Responses without a stream: memory, chains, storage, background, locks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod foundry_support;

use std::time::Duration;

use foundry_support::{Cloud, answer_of, ask, types, with};
use m365_sandbox::constants;
use reqwest::Method;
use serde_json::{Value, json};

const AGENT: &str = constants::FOUNDRY_AGENT;

#[tokio::test]
async fn a_fact_of_turn_one_is_recalled_in_turn_three() {
    let cloud = Cloud::start().await;
    let (mine, other) = (cloud.conversation().await, cloud.conversation().await);
    assert!(cloud.turn(&mine, "Hello, my name is Ada. My favourite colour is green.").await.starts_with("Noted"));
    assert!(cloud.turn(&mine, "My VPN is slow").await.contains("VPN is slow"));
    let third = cloud.turn(&mine, "What is my favorite colour?").await;
    assert!(third.contains("green") && third.contains("3 user messages"), "{third}");
    assert!(cloud.turn(&mine, "Do you know my name?").await.contains("Ada"));
    assert!(cloud.turn(&mine, "What did I tell you?").await.contains("my name is Ada"));
    let stranger = cloud.turn(&other, "What is my favourite colour?").await;
    assert!(stranger.contains("have not told me") && stranger.contains("1 user message."), "{stranger}");
    // All of it is in the conversation, user and assistant in turns.
    let items = Cloud::ok(cloud.get(&format!("/conversations/{mine}/items?order=asc")).await);
    let roles: Vec<_> = items.body["data"].as_array().unwrap().iter().map(|item| item["role"].clone()).collect();
    assert_eq!(roles.len(), 10);
    assert!(roles.chunks(2).all(|pair| pair == [json!("user"), json!("assistant")]), "{roles:?}");
}

#[tokio::test]
async fn an_item_created_first_can_be_answered_without_input() {
    let cloud = Cloud::start().await;
    let conversation = cloud.conversation().await;
    let items = json!({"items": [{"type": "message", "role": "user", "content": "I am Grace"}]});
    Cloud::ok(cloud.post(&format!("/conversations/{conversation}/items"), &items).await);
    let body = json!({
        "conversation": {"id": conversation},
        "agent_reference": {"type": "agent_reference", "name": AGENT, "version": "1"},
    });
    let reply = Cloud::ok(cloud.post("/responses", &body).await);
    assert!(reply.answer().contains("I am Grace"), "{}", reply.text);
    assert_eq!(reply.body["conversation"], json!({"id": conversation}));
    assert!(cloud.turn(&conversation, "who am i?").await.contains("Grace"));
}

#[tokio::test]
async fn a_response_has_the_members_of_a_prompt_agent() {
    let cloud = Cloud::start().await;
    let body = with(with(ask(AGENT, "hello"), "metadata", json!({"k": "v"})), "temperature", 0.5);
    let reply = Cloud::ok(cloud.post("/responses", &body).await);
    let response = &reply.body;
    assert!(reply.id().starts_with("resp_") && reply.id().len() == 55);
    for (name, value) in [
        ("object", json!("response")),
        ("status", json!("completed")),
        ("background", json!(false)),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
        ("model", json!("gpt-4.1")),
        ("metadata", json!({"k": "v"})),
        ("temperature", json!(0.5)),
        ("store", json!(true)),
        ("tool_choice", Value::Null),
        ("tools", json!([])),
        ("conversation", Value::Null),
        ("previous_response_id", Value::Null),
        ("agent_reference", json!({"type": "agent_reference", "name": AGENT, "version": "1"})),
    ] {
        assert_eq!(response.get(name), Some(&value), "{name}");
    }
    assert_eq!(
        response["usage"]["total_tokens"].as_u64().unwrap() - response["usage"]["output_tokens"].as_u64().unwrap(),
        1
    );
    assert_eq!(response["content_filters"][0]["blocked"], false);
    assert_eq!(response["content_filters"][1]["source_type"], "completion");
    let item = &response["output"][0];
    assert!(item["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(
        (&item["type"], &item["role"], &item["status"]),
        (&json!("message"), &json!("assistant"), &json!("completed"))
    );
    assert_eq!(item["response_id"], response["id"]);
    assert_eq!(item["agent_reference"], response["agent_reference"]);
    assert_eq!(item["content"][0]["type"], "output_text");
    assert_eq!(reply.headers["x-ratelimit-remaining-requests"], "999");
}

#[tokio::test]
async fn a_hosted_response_leaves_members_out() {
    let cloud = Cloud::start().await;
    let reply = Cloud::ok(cloud.post("/responses", &ask("hosted-agent", "hello")).await);
    assert!(reply.id().starts_with("caresp_"));
    for absent in ["tools", "tool_choice", "metadata", "text", "content_filters"] {
        assert!(reply.body.get(absent).is_none(), "{absent}");
    }
    assert_eq!(reply.body["usage"], Value::Null);
    assert_eq!(reply.body["response_id"], reply.body["id"]);
    assert_eq!(reply.headers["x-agent-session-id"].to_str().unwrap(), reply.body["agent_session_id"]);
}

#[tokio::test]
async fn a_model_answers_without_an_agent() {
    let cloud = Cloud::start().await;
    let reply = Cloud::ok(cloud.post("/responses", &json!({"model": "gpt-4.1", "input": "hello"})).await);
    assert_eq!(reply.body["agent_reference"], Value::Null);
    assert!(reply.answer().starts_with("Hello!"));
}

#[tokio::test]
async fn responses_chain_by_the_previous_id() {
    let cloud = Cloud::start().await;
    let first = Cloud::ok(cloud.post("/responses", &ask(AGENT, "my name is Ada")).await);
    let next = |previous: String, text: &str| with(ask(AGENT, text), "previous_response_id", previous);
    let second = Cloud::ok(cloud.post("/responses", &next(first.id(), "my city is Oslo")).await);
    let third = Cloud::ok(cloud.post("/responses", &next(second.id(), "what is my name?")).await);
    assert!(third.answer().contains("Ada") && third.answer().contains("3 user"), "{}", third.text);
    assert_eq!(third.body["previous_response_id"], json!(second.id()));
    // A fork is fine for a prompt agent, not for a hosted one.
    let fork = Cloud::ok(cloud.post("/responses", &next(first.id(), "what is my city?")).await);
    assert!(fork.answer().contains("not told me"), "{}", fork.text);
    let root = Cloud::ok(cloud.post("/responses", &ask("hosted-agent", "hello")).await);
    let hosted = with(ask("hosted-agent", "hello"), "previous_response_id", root.id());
    Cloud::ok(cloud.post("/responses", &hosted).await);
    cloud.post("/responses", &hosted).await.refused(409, "conversation_fork_not_supported", "");
    // The input items are all the agent saw.
    let items = Cloud::ok(cloud.get(&format!("/responses/{}/input_items?order=asc", third.id())).await);
    let texts: Vec<_> = items.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["content"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!((texts.len(), texts[0], texts[4]), (5, "my name is Ada", "what is my name?"));
}

#[tokio::test]
async fn responses_are_kept_listed_and_deleted() {
    let cloud = Cloud::start().await;
    let created = Cloud::ok(cloud.post("/responses", &ask(AGENT, "hello")).await);
    let path = format!("/responses/{}", created.id());
    assert_eq!(Cloud::ok(cloud.get(&path).await).body, created.body);
    let listed = Cloud::ok(cloud.get(&format!("/responses?agent_name={AGENT}")).await);
    assert_eq!(listed.body["data"], json!([created.body]));
    assert_eq!(Cloud::ok(cloud.get("/responses?agent_name=other").await).body["data"], json!([]));
    let refused = cloud.post(&format!("{path}/cancel"), &json!({})).await;
    refused.refused(400, "invalid_request_error", "response_id");
    assert_eq!(refused.message(), "Cannot cancel a synchronous response.");
    cloud.get(&format!("{path}?stream=true")).await.refused(400, "invalid_mode", "stream");
    assert_eq!(
        Cloud::ok(cloud.delete(&path).await).body,
        json!({"id": created.id(), "object": "response", "deleted": true})
    );
    for reply in [cloud.get(&path).await, cloud.delete(&path).await, cloud.get(&format!("{path}/input_items")).await] {
        reply.refused(404, "invalid_request_error", "response_id");
    }
    cloud.get("/responses/resp_1").await.refused(400, "invalid_parameters", "response_id");
    // Not stored means not found, also as a predecessor.
    let unstored = Cloud::ok(cloud.post("/responses", &with(ask(AGENT, "hello"), "store", false)).await);
    assert_eq!(cloud.get(&format!("/responses/{}", unstored.id())).await.status, 404);
    let next = with(ask(AGENT, "x"), "previous_response_id", unstored.id());
    cloud.post("/responses", &next).await.refused(400, "previous_response_not_found", "previous_response_id");
}

#[tokio::test]
async fn a_busy_conversation_is_locked_until_the_reader_leaves() {
    let cloud = Cloud::start().await;
    for (hang, agent, status, kind) in
        [("hang-agent", AGENT, 400, "invalid_request_error"), ("hosted-hang-agent", "hosted-agent", 409, "conflict")]
    {
        let conversation = cloud.conversation().await;
        let body = with(with(ask(hang, "x"), "conversation", conversation.clone()), "stream", true);
        let mut running = cloud.request(Method::POST, &cloud.openai("/responses")).json(&body).send().await.unwrap();
        assert!(running.chunk().await.unwrap().is_some());
        let turn = with(ask(agent, "hello"), "conversation", conversation.clone());
        let locked = cloud.post("/responses", &turn).await;
        locked.refused(status, "conversation_locked", if status == 400 { "conversation" } else { "" });
        assert_eq!(locked.body["error"]["type"], kind);
        let items = json!({"items": [{"role": "user", "content": "x"}]});
        let locked = cloud.post(&format!("/conversations/{conversation}/items"), &items).await;
        locked.refused(400, "conversation_locked", "conversation");
        drop(running);
        let free = async {
            while cloud.post("/responses", &turn).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), free).await.expect("the lock ends with its reader");
    }
}

#[tokio::test]
async fn a_background_response_is_polled_resumed_and_cancelled() {
    let cloud = Cloud::start().await;
    let slow = with(with(ask("slow-agent", "hello"), "background", true), "structured_inputs", json!({"delay_ms": 20}));
    let queued = Cloud::ok(cloud.post("/responses", &slow).await);
    let path = format!("/responses/{}", queued.id());
    assert!(["queued", "in_progress"].contains(&queued.body["status"].as_str().unwrap()));
    cloud.delete(&path).await.refused(400, "invalid_request_error", "response_id");
    let done = async {
        loop {
            let now = Cloud::ok(cloud.get(&path).await).body;
            if now["status"] == "completed" {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), done).await.expect("completed");
    assert!(answer_of(&done).starts_with("Hello!"));
    let late = cloud.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(late.message(), "Cannot cancel a completed response.");

    // Streamed in the background: every event can be had again after a cursor.
    let (bytes, _) = cloud.stream_bytes(&with(ask(AGENT, "hello"), "background", true)).await;
    let all = foundry_support::events_of(&bytes);
    assert_eq!(types(&all)[0], "response.queued");
    let path = format!("/responses/{}", all[0]["response"]["id"].as_str().unwrap());
    for after in [0, 4, all.len() as u64 - 1] {
        let reply = Cloud::ok(cloud.get(&format!("{path}?stream=true&starting_after={after}")).await);
        let rest = foundry_support::events_of(reply.text.as_bytes());
        assert_eq!(rest, all[after as usize + 1..], "after {after}");
    }
    let whole = Cloud::ok(cloud.get(&format!("{path}?stream=true")).await);
    assert_eq!(foundry_support::events_of(whole.text.as_bytes()), all);
    let bad = cloud.get(&format!("{path}?stream=true&starting_after=x")).await;
    bad.refused(400, "invalid_request_error", "starting_after");
    assert_eq!(bad.message(), "starting_after must be an integer");

    // Cancelled: the stream ends without a terminal event, GET tells.
    let conversation = cloud.conversation().await;
    let hang = with(with(ask("hang-agent", "x"), "background", true), "conversation", conversation.clone());
    let hanging = Cloud::ok(cloud.post("/responses", &hang).await);
    let path = format!("/responses/{}", hanging.id());
    let cancelled = Cloud::ok(cloud.post(&format!("{path}/cancel"), &json!({})).await);
    assert_eq!(cancelled.body["status"], "cancelled");
    assert_eq!(Cloud::ok(cloud.get(&path).await).body["status"], "cancelled");
    cloud.turn(&conversation, "hello").await;
}

#[tokio::test]
async fn a_dangling_call_poisons_the_conversation() {
    let cloud = Cloud::start().await;
    let conversation = cloud.conversation().await;
    let body = with(ask("function-agent", "weather?"), "conversation", conversation.clone());
    let called = Cloud::ok(cloud.post("/responses", &body).await);
    let call = called.body["output"][0].clone();
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("get_weather")));
    assert!(call["id"].as_str().unwrap().starts_with("fc_"));
    let poisoned = cloud.post("/responses", &with(ask(AGENT, "hello"), "conversation", conversation.clone())).await;
    poisoned.refused(400, "invalid_request_error", "input");
    assert!(poisoned.message().starts_with("No tool output found for function call call_"));
    let unknown = json!([{"type": "function_call_output", "call_id": "call_x", "output": "x"}]);
    let reply = cloud.post("/responses", &with(ask("function-agent", ""), "input", unknown)).await;
    assert!(reply.message().starts_with("No tool call found for function call output with call_id call_x"));
    let output = json!([{"type": "function_call_output", "call_id": call["call_id"], "output": "12 degrees"}]);
    let body = with(with(ask("function-agent", ""), "input", output), "conversation", conversation.clone());
    assert_eq!(Cloud::ok(cloud.post("/responses", &body).await).answer(), "The tool answered: 12 degrees");
    cloud.turn(&conversation, "hello").await;
}

#[tokio::test]
async fn approval_and_consent_take_two_turns() {
    let cloud = Cloud::start().await;
    let asked = Cloud::ok(cloud.post("/responses", &ask("approval-agent", "tickets?")).await);
    assert_eq!(asked.body["status"], "completed");
    assert_eq!(asked.body["output"][0]["type"], "mcp_list_tools");
    let request = asked.body["output"][1].clone();
    assert_eq!(request["type"], "mcp_approval_request");
    for (approve, types, text) in
        [(true, vec!["mcp_call", "message"], "1 ticket"), (false, vec!["message"], "did not approve")]
    {
        let input =
            json!([{"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": approve}]);
        let body = with(with(ask("approval-agent", ""), "input", input), "previous_response_id", asked.id());
        let reply = Cloud::ok(cloud.post("/responses", &body).await);
        let output = reply.body["output"].as_array().unwrap();
        assert_eq!(output.iter().map(|item| item["type"].as_str().unwrap()).collect::<Vec<_>>(), types);
        assert!(reply.answer().contains(text));
    }
    let stray = json!([{"type": "mcp_approval_response", "approval_request_id": "mcpr_x", "approve": true}]);
    cloud.post("/responses", &with(ask("approval-agent", ""), "input", stray)).await.refused(
        400,
        "invalid_request_error",
        "input",
    );

    for (agent, status) in [
        ("consent-agent", "incomplete"),
        ("consent-completed-agent", "completed"),
        ("hosted-consent-agent", "incomplete"),
    ] {
        let asked = Cloud::ok(cloud.post("/responses", &ask(agent, "calendar?")).await);
        assert_eq!(asked.body["status"], status);
        let item = &asked.body["output"][0];
        assert_eq!((&item["type"], &item["server_label"]), (&json!("oauth_consent_request"), &json!("calendar")));
        assert!(item["consent_link"].as_str().unwrap().starts_with("https://"));
        let again = with(ask(agent, "calendar?"), "previous_response_id", asked.id());
        assert!(Cloud::ok(cloud.post("/responses", &again).await).answer().contains("reach your calendar"));
    }
}

#[tokio::test]
async fn pictures_and_files_are_seen() {
    let cloud = Cloud::start().await;
    let content = json!([
        {"type": "input_text", "text": "My dog is Rex."},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0K", "detail": "auto"},
        {"type": "input_image", "image_url": "https://docs.example/a.png", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
    ]);
    let input = json!([{"type": "message", "role": "user", "content": content}]);
    let body = with(ask(AGENT, ""), "input", input);
    let answer = Cloud::ok(cloud.post("/responses", &body).await).answer();
    let seen =
        "I see a picture (image/png, 6 bytes) and a picture (elsewhere) and the file a.pdf (application/pdf, 5 bytes).";
    assert!(answer.starts_with(seen) && answer.contains("My dog is Rex"), "{answer}");
}

#[tokio::test]
async fn an_item_reference_stands_for_its_item() {
    let cloud = Cloud::start().await;
    let first = Cloud::ok(cloud.post("/responses", &ask(AGENT, "my name is Ada")).await);
    let listed = Cloud::ok(cloud.get(&format!("/responses/{}/input_items", first.id())).await);
    let id = listed.body["data"][0]["id"].clone();
    let input = json!([{"type": "item_reference", "id": id}, {"role": "user", "content": "what is my name?"}]);
    assert!(Cloud::ok(cloud.post("/responses", &with(ask(AGENT, ""), "input", input)).await).answer().contains("Ada"));
    let input = json!([{"type": "item_reference", "id": "msg_none"}]);
    cloud.post("/responses", &with(ask(AGENT, ""), "input", input)).await.refused(404, "not_found", "");
}

#[tokio::test]
async fn endings_without_a_stream() {
    let cloud = Cloud::start().await;
    let failed = Cloud::ok(cloud.post("/responses", &ask("failed-agent", "x")).await);
    assert_eq!(failed.body["status"], "failed");
    assert_eq!(failed.body["error"]["code"], "server_error");
    for agent in ["error-flat-agent", "error-nested-agent", "error-bare-agent"] {
        cloud.post("/responses", &ask(agent, "x")).await.refused(500, "server_error", "");
    }
    let filtered = Cloud::ok(cloud.post("/responses", &ask("content-filter-agent", "x")).await);
    assert_eq!(filtered.body["incomplete_details"], json!({"reason": "content_filter"}));
    assert_eq!(filtered.body["content_filters"][1]["blocked"], true);
    let long = with(ask(AGENT, &"word ".repeat(60)), "max_output_tokens", 16);
    let cut = Cloud::ok(cloud.post("/responses", &long).await);
    assert_eq!(cut.body["status"], "incomplete");
    assert_eq!(cut.body["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(cut.answer().split_whitespace().count(), 16);
    let broken = cloud.request(Method::POST, &cloud.openai("/responses")).json(&ask("truncated-agent", "x"));
    assert!(broken.send().await.unwrap().bytes().await.is_err(), "the body breaks");
}

#[tokio::test]
async fn a_lost_answer_can_be_found_in_the_conversation() {
    let cloud = Cloud::start().await;
    let conversation = cloud.conversation().await;
    let body = with(ask("lost-agent", "my name is Ada"), "conversation", conversation.clone());
    let lost = cloud.post("/responses", &body).await;
    assert_eq!((lost.status.as_u16(), lost.text.as_str()), (503, ""));
    let items = Cloud::ok(cloud.get(&format!("/conversations/{conversation}/items")).await);
    assert_eq!(items.body["data"][0]["role"], "assistant");
    assert!(items.body["data"][0]["content"][0]["text"].as_str().unwrap().contains("Ada"));
    assert_eq!(items.body["data"][1]["role"], "user");
}

#[tokio::test]
async fn a_silent_agent_does_not_even_send_a_status() {
    let cloud = Cloud::start().await;
    let request = cloud.request(Method::POST, &cloud.openai("/responses")).json(&ask("silent-agent", "x"));
    assert!(tokio::time::timeout(Duration::from_millis(300), request.send()).await.is_err());
}

#[tokio::test]
async fn a_fresh_restart_forgets_and_a_kept_one_does_not() {
    let cloud = Cloud::start().await;
    let conversation = cloud.conversation().await;
    cloud.turn(&conversation, "my name is Ada").await;
    cloud.sandbox.stop().await;
    cloud.sandbox.restart(m365_sandbox::Restart::Kept).await.unwrap();
    assert!(cloud.turn(&conversation, "what is my name?").await.contains("Ada"));
    cloud.sandbox.stop().await;
    cloud.sandbox.restart(m365_sandbox::Restart::Fresh).await.unwrap();
    let mut cloud = cloud;
    cloud.token =
        cloud.app_token(constants::RESOURCE_TENANT, &format!("{}/.default", constants::FOUNDRY_RESOURCE)).await;
    cloud.get(&format!("/conversations/{conversation}")).await.refused(404, "not_found", "");
}
