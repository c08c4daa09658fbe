//! Every call of the surface: method, address, headers and body as the reference of the service writes them.
#![cfg(feature = "client")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    missing_docs
)]

mod common;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::{PROJECT, Script, Seen, Step, Tokens, answer, sse, with};
use entra_auth::{ObjectId, TenantId, UserKey};
use foundry_client::agents::{
    AgentDefinition, AgentPatch, CodeArchive, EndpointChange, Feature, FromManifest, HostedDefinition, NewVersion,
    PromptDefinition, Protocol, SchemeKind, WorkflowDefinition,
};
use foundry_client::resource::{ConnectionKind, FilePurpose, MemoryKind, NewMemoryStore, Remember};
use foundry_client::{
    CompactResponse, CreateConversation, CreateResponse, Error, ErrorKind, FoundryClient, InputItem, ListAgents,
    ListConversations, ListFiles, ListItems, ListPage, ListResponses, ListVersions, Order, Polling, RawCall, RawJson,
    Resource, ResponseStatus, Target,
};
use http::Method;
use serde_json::{Value, json};

const RESPONSE: &str = r#"{"id":"resp_1","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}]}"#;
const CONVERSATION: &str = r#"{"id":"conv_1","object":"conversation","created_at":1,"metadata":{}}"#;
const PAGE: &str = r#"{"object":"list","data":[],"has_more":false}"#;
const AGENT: &str = r#"{"object":"agent","name":"a"}"#;
const VERSION: &str =
    r#"{"object":"agent.version","name":"a","version":"1","definition":{"kind":"prompt","model":"m"}}"#;
const MESSAGE: &str = r#"{"type":"message","id":"msg_1","role":"user","content":[]}"#;

/// Makes the call and gives what was sent.
async fn sent<T, F: Future<Output = Result<T, Error>>>(body: &str, call: impl FnOnce(FoundryClient) -> F) -> Seen {
    let script = Script::new([answer(200, body.to_owned())]);
    call(script.client()).await.unwrap_or_else(|error| panic!("{error} {error:?}"));
    let seen = script.seen();
    assert_eq!(seen.len(), 1);
    seen[0].clone()
}

#[track_caller]
fn is(seen: &Seen, method: &str, path: &str, body: Value) {
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), (method, format!("{PROJECT}{path}").as_str()));
    if body.is_null() {
        assert!(seen.body.is_empty() && !seen.headers.contains_key("content-type"), "a body");
    } else {
        assert_eq!(seen.json(), body);
    }
    assert_eq!(seen.headers["authorization"], "Bearer token-1");
    assert!(seen.headers.contains_key("x-ms-client-request-id"));
}

#[tokio::test(start_paused = true)]
async fn conversations() {
    let get = sent(CONVERSATION, async |c| c.conversations().get("conv_1").await).await;
    is(&get, "GET", "/openai/v1/conversations/conv_1", Value::Null);
    let update = sent(CONVERSATION, async |c| c.conversations().update("conv_1", [("k", "v")]).await).await;
    is(&update, "POST", "/openai/v1/conversations/conv_1", json!({"metadata": {"k": "v"}}));
    let gone = r#"{"id":"conv_1","object":"conversation.deleted","deleted":true}"#;
    let delete = sent(gone, async |c| c.conversations().delete("conv_1").await).await;
    is(&delete, "DELETE", "/openai/v1/conversations/conv_1", Value::Null);
    let query = ListConversations::new().agent_name("a").agent_id("a:1").limit(2).order(Order::Ascending).after("c");
    let list = sent(PAGE, async |c| c.conversations().list(&query).await).await;
    let path = "/openai/v1/conversations?agent_name=a&agent_id=a%3A1&limit=2&order=asc&after=c";
    is(&list, "GET", path, Value::Null);
    let create = sent(PAGE, async |c| c.items("conv_1").create_with([InputItem::user_text("x")], &["a.b"]).await).await;
    let user = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]});
    is(&create, "POST", "/openai/v1/conversations/conv_1/items?include%5B%5D=a.b", json!({"items": [user]}));
    let item = sent(MESSAGE, async |c| c.items("conv_1").get("msg_1").await).await;
    is(&item, "GET", "/openai/v1/conversations/conv_1/items/msg_1", Value::Null);
    let delete = sent(CONVERSATION, async |c| c.items("conv_1").delete("msg_1").await).await;
    is(&delete, "DELETE", "/openai/v1/conversations/conv_1/items/msg_1", Value::Null);
    let query = ListItems::new().item_type("message").include("a.b");
    let list = sent(PAGE, async |c| c.items("conv_1").list(&query).await).await;
    is(&list, "GET", "/openai/v1/conversations/conv_1/items?item_type=message&include%5B%5D=a.b", Value::Null);
}

#[tokio::test(start_paused = true)]
async fn responses() {
    let get = sent(RESPONSE, async |c| c.responses().get("resp_1").await).await;
    is(&get, "GET", "/openai/v1/responses/resp_1", Value::Null);
    let get = sent(RESPONSE, async |c| c.responses().get_with("resp_1", &["a", "b"]).await).await;
    is(&get, "GET", "/openai/v1/responses/resp_1?include%5B%5D=a&include%5B%5D=b", Value::Null);
    let cancel = sent(RESPONSE, async |c| c.responses().cancel("resp_1").await).await;
    is(&cancel, "POST", "/openai/v1/responses/resp_1/cancel", Value::Null);
    let delete = sent(r#"{"id":"resp_1","object":"response","deleted":true}"#, async |c| {
        let gone = c.responses().delete("resp_1").await?;
        assert!(gone.deleted && gone.id == "resp_1");
        Ok(())
    });
    is(&delete.await, "DELETE", "/openai/v1/responses/resp_1", Value::Null);
    let empty = sent("", async |c| c.responses().delete("resp_1").await);
    is(&empty.await, "DELETE", "/openai/v1/responses/resp_1", Value::Null);
    let items = sent(PAGE, async |c| c.responses().input_items("resp_1", &ListItems::new().limit(3)).await).await;
    is(&items, "GET", "/openai/v1/responses/resp_1/input_items?limit=3", Value::Null);
    let query = ListResponses::new().agent_name("a").conversation_id("conv_1");
    let list = sent(PAGE, async |c| c.responses().list(&query).await).await;
    is(&list, "GET", "/openai/v1/responses?agent_name=a&conversation_id=conv_1", Value::Null);
    let request =
        CompactResponse::new("m").previous_response_id("resp_0").instructions("i").item(InputItem::user_text("x"));
    let answer =
        r#"{"id":"cmp_1","output":[{"type":"compaction","encrypted_content":"e"}],"usage":{"total_tokens":3}}"#;
    let compact = sent(answer, async |c| {
        let compacted = c.responses().compact(&request).await?;
        assert_eq!((compacted.output[0].kind().as_str(), compacted.usage.unwrap().total_tokens), ("compaction", 3));
        Ok(())
    });
    let user = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]});
    let body = json!({"model": "m", "previous_response_id": "resp_0", "instructions": "i", "input": [user]});
    is(&compact.await, "POST", "/openai/v1/responses/compact", body);
}

#[tokio::test(start_paused = true)]
async fn agents() {
    let list = sent(PAGE, async |c| c.agents().list(&ListAgents::new().kind("prompt").limit(5)).await).await;
    is(&list, "GET", "/agents?api-version=v1&kind=prompt&limit=5", Value::Null);
    let get = sent(AGENT, async |c| c.agents().get("a").await).await;
    is(&get, "GET", "/agents/a?api-version=v1", Value::Null);
    assert!(!get.headers.contains_key("foundry-features"));
    let version = NewVersion::new(PromptDefinition::new("m")).description("d").metadata("k", "v");
    let definition = json!({"kind": "prompt", "model": "m"});
    let create = sent(AGENT, async |c| c.agents().create("a", &version).await).await;
    let whole = json!({"name": "a", "definition": definition, "description": "d", "metadata": {"k": "v"}});
    is(&create, "POST", "/agents?api-version=v1", whole);
    let parts = json!({"definition": definition, "description": "d", "metadata": {"k": "v"}});
    let update = sent(AGENT, async |c| c.agents().update("a", &version).await).await;
    is(&update, "POST", "/agents/a?api-version=v1", parts.clone());
    let create = sent(VERSION, async |c| c.agents().create_version("a", &version).await).await;
    is(&create, "POST", "/agents/a/versions?api-version=v1", parts);
    let hosted = NewVersion::new(HostedDefinition::container("r/i:t", "0.5", "1Gi")).draft(true);
    let create = sent(VERSION, async |c| c.agents().create_version("a", &hosted).await).await;
    let definition = json!({"kind": "hosted", "cpu": "0.5", "memory": "1Gi",
        "container_configuration": {"image": "r/i:t"},
        "protocol_versions": [{"protocol": "responses", "version": "2.0.0"}]});
    is(&create, "POST", "/agents/a/versions?api-version=v1", json!({"definition": definition, "draft": true}));
    let list = sent(PAGE, async |c| c.agents().versions("a", &ListVersions::new().limit(1)).await).await;
    is(&list, "GET", "/agents/a/versions?api-version=v1&limit=1", Value::Null);
    let get = sent(VERSION, async |c| c.agents().version("a", "1").await).await;
    is(&get, "GET", "/agents/a/versions/1?api-version=v1", Value::Null);
    let gone = r#"{"object":"agent.deleted","name":"a","deleted":true}"#;
    let delete = sent(gone, async |c| c.agents().delete_version("a", "1", false).await).await;
    is(&delete, "DELETE", "/agents/a/versions/1?api-version=v1", Value::Null);
    let delete = sent(gone, async |c| c.agents().delete("a", true).await).await;
    is(&delete, "DELETE", "/agents/a?api-version=v1&force=true", Value::Null);
    let enable = sent("", async |c| c.agents().enable("a").await).await;
    is(&enable, "POST", "/agents/a:enable?api-version=v1", Value::Null);
    let disable = sent("", async |c| c.agents().disable("a").await).await;
    is(&disable, "POST", "/agents/a:disable?api-version=v1", Value::Null);
    let error = Script::new([]).client().agents().enable("a:disable").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn what_else_an_agent_has_is_written() {
    let version = NewVersion::new(PromptDefinition::new("m")).draft(true).blueprint("b-1");
    let create = sent(VERSION, async |c| c.agents().create_version("a", &version).await).await;
    let reference = json!({"type": "ManagedAgentIdentityBlueprint", "blueprint_id": "b-1"});
    let body = json!({"definition": {"kind": "prompt", "model": "m"}, "draft": true, "blueprint_reference": reference});
    is(&create, "POST", "/agents/a/versions?api-version=v1", body);
    let card = RawJson::from_value(&json!({"name": "x"})).unwrap();
    let change = AgentPatch::new().card(card).digital_worker_type("autopilot");
    let patch = sent(AGENT, async |c| c.agents().patch("a", &change).await).await;
    is(
        &patch,
        "PATCH",
        "/agents/a?api-version=v1",
        json!({"agent_card": {"name": "x"}, "digital_worker_type": "autopilot"}),
    );
    assert_eq!(patch.headers["content-type"], "application/merge-patch+json");
    let query = ListVersions::new().limit(5).include_drafts(true);
    let drafts = sent(PAGE, async |c| c.agents().versions("a", &query).await).await;
    is(&drafts, "GET", "/agents/a/versions?api-version=v1&limit=5&include_drafts=true", Value::Null);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_read_merged_and_written() {
    let agent = r#"{"object":"agent","name":"a","agent_endpoint":{"protocol_configuration":{"responses":{}},
        "authorization_schemes":[{"type":"Entra"}],"publish_approval_status":"pending"}}"#;
    let script = Script::new([answer(200, agent), answer(200, agent), answer(200, agent)]);
    let change = EndpointChange::new().enable(Protocol::ACTIVITY).admit(SchemeKind::BOT_SERVICE_RBAC);
    script.client().agents().update_endpoint("a", &change).await.unwrap();
    let seen = script.seen();
    assert_eq!((seen.len(), seen[0].method.as_str()), (2, "GET"));
    assert_eq!(seen[1].headers["content-type"], "application/merge-patch+json");
    let body = json!({"agent_endpoint": {"protocol_configuration": {"activity": {}, "responses": {}},
        "authorization_schemes": [{"type": "Entra"}, {"type": "BotServiceRbac"}]}});
    is(&seen[1], "PATCH", "/agents/a?api-version=v1", body);
    // Nothing to change: nothing is written.
    script.client().agents().update_endpoint("a", &EndpointChange::new().enable(Protocol::RESPONSES)).await.unwrap();
    assert_eq!(script.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn previews_are_opted_in_to_and_a_missing_opt_in_is_named() {
    let refused = r#"{"error":{"code":"preview_feature_required","message":"This operation requires the opt-in WorkflowAgents=V1Preview in the header.","param":"Foundry-Features"}}"#;
    let script =
        Script::new([answer(403, refused), answer(200, VERSION), answer(200, RESPONSE), answer(200, RESPONSE)]);
    let client = script.client();
    let version = NewVersion::new(WorkflowDefinition::new("a: b"));
    let error = client.agents().create_version("a", &version).await.unwrap_err();
    let feature = error.missing_feature().unwrap();
    assert_eq!((error.kind(), &feature), (ErrorKind::PreviewRequired, &Feature::WORKFLOW_AGENTS));
    let client = client.with_feature(feature.clone()).with_feature(feature).with_feature(Feature::VOICE_AGENTS);
    client.agents().create_version("a", &version).await.unwrap();
    client.responses().get("resp_1").await.unwrap();
    client.at(Target::Agent("a".to_owned())).responses().get("resp_1").await.unwrap();
    let features: Vec<_> = script.seen().iter().map(|seen| seen.headers.get("foundry-features").cloned()).collect();
    let both = Some(http::HeaderValue::from_static("WorkflowAgents=V1Preview,VoiceAgents=V1Preview"));
    // The project's own OpenAI operations take none.
    assert_eq!(features, [None, both.clone(), None, both]);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_project() {
    let list = sent(PAGE, async |c| c.files().list(&ListFiles::new().purpose("assistants")).await).await;
    is(&list, "GET", "/openai/v1/files?purpose=assistants", Value::Null);
    let get = sent(r#"{"id":"f"}"#, async |c| c.files().get("f").await).await;
    is(&get, "GET", "/openai/v1/files/f", Value::Null);
    let content = sent("bytes", async |c| c.files().content("f").await.map(|bytes| assert_eq!(&bytes[..], b"bytes")));
    is(&content.await, "GET", "/openai/v1/files/f/content", Value::Null);
    let upload =
        sent(r#"{"id":"f","bytes":2}"#, async |c| c.files().upload("a.txt", &FilePurpose::ASSISTANTS, b"hi").await)
            .await;
    let kind = upload.headers["content-type"].to_str().unwrap().to_owned();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert!(std::str::from_utf8(&upload.body).unwrap().ends_with(&format!("\r\n\r\nhi\r\n--{boundary}--\r\n")));
    let stores = sent(PAGE, async |c| c.vector_stores().list(&ListPage::new()).await).await;
    is(&stores, "GET", "/openai/v1/vector_stores", Value::Null);
    let store = sent(r#"{"id":"vs"}"#, async |c| c.vector_stores().create("s", &["f"]).await).await;
    is(&store, "POST", "/openai/v1/vector_stores", json!({"name": "s", "file_ids": ["f"]}));
    let store = sent(r#"{"id":"vs"}"#, async |c| c.vector_stores().get("vs").await).await;
    is(&store, "GET", "/openai/v1/vector_stores/vs", Value::Null);
    let kind = sent(r#"{"value":[]}"#, async |c| {
        c.connections().list_kind(&ConnectionKind::COGNITIVE_SEARCH, true).collect().await
    });
    let path = "/connections?api-version=v1&connectionType=CognitiveSearch&defaultConnection=true";
    is(&kind.await, "GET", path, Value::Null);
    let get = sent(r#"{"name":"c"}"#, async |c| c.connections().get("c").await).await;
    is(&get, "GET", "/connections/c?api-version=v1", Value::Null);
    let secrets = sent(r#"{"name":"c"}"#, async |c| c.connections().get_with_credentials("c").await).await;
    is(&secrets, "POST", "/connections/c/getConnectionWithCredentials?api-version=v1", Value::Null);
    let get = sent(r#"{"name":"d","modelName":"m","modelVersion":1}"#, async |c| {
        let found = c.deployments().get("d").await?;
        assert_eq!((found.model_name.as_deref(), found.model_version.as_deref()), (Some("m"), Some("1")));
        Ok(())
    });
    is(&get.await, "GET", "/deployments/d?api-version=v1", Value::Null);
    let list = sent(PAGE, async |c| c.memory_stores().list(&ListPage::new()).await).await;
    is(&list, "GET", "/memory_stores?api-version=v1", Value::Null);
    assert_eq!(list.headers["foundry-features"], "MemoryStores=V1Preview");
    let items = [InputItem::user_text("x")];
    let search =
        sent(r#"{"memories":[{}]}"#, async |c| c.memory_stores().search("m", "user", &items, Some(5)).await).await;
    let user = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]});
    let body = json!({"scope": "user", "items": [user], "options": {"max_memories": 5}});
    is(&search, "POST", "/memory_stores/m:search_memories?api-version=v1", body);
    let forget = sent("", async |c| c.memory_stores().delete_scope("m", "user").await).await;
    is(&forget, "POST", "/memory_stores/m:delete_scope?api-version=v1", json!({"scope": "user"}));
    let list = sent(PAGE, async |c| c.toolboxes().list(&ListPage::new()).await).await;
    is(&list, "GET", "/toolboxes?api-version=v1", Value::Null);
    let version = sent(r#"{"version":"1","tools":[{"type":"mcp","server_label":"s"}]}"#, async |c| {
        let found = c.toolboxes().version("t", "1").await?;
        assert_eq!(found.tools[0].kind().as_str(), "mcp");
        Ok(())
    });
    is(&version.await, "GET", "/toolboxes/t/versions/1?api-version=v1", Value::Null);
    let call = RawCall::foundry(Method::PUT, ["routines", "r/1"]).query("x", "y").json(&json!({"a": 1}));
    let raw =
        sent(r#"{"b":2}"#, async |c| c.raw(call).await?.json::<Value>().map(|body| assert_eq!(body["b"], 2))).await;
    is(&raw, "PUT", "/routines/r%2F1?api-version=v1&x=y", json!({"a": 1}));
    let raw = sent("", async |c| c.raw(RawCall::openai(Method::GET, ["evals"])).await).await;
    is(&raw, "GET", "/openai/v1/evals", Value::Null);
}

#[tokio::test(start_paused = true)]
async fn agents_from_manifests_and_from_code() {
    let manifest = FromManifest::new("m-1").parameter("tone", "kind".into()).description("d").metadata("k", "v");
    let body =
        json!({"manifest_id": "m-1", "parameter_values": {"tone": "kind"}, "description": "d", "metadata": {"k": "v"}});
    let mut named = body.clone();
    named["name"] = "a".into();
    is(
        &sent(AGENT, async |c| c.agents().import("a", &manifest).await).await,
        "POST",
        "/agents:import?api-version=v1",
        named,
    );
    let update = sent(AGENT, async |c| c.agents().update_from_manifest("a", &manifest).await).await;
    is(&update, "POST", "/agents/a/import?api-version=v1", body.clone());
    let version = sent(VERSION, async |c| c.agents().create_version_from_manifest("a", &manifest).await).await;
    is(&version, "POST", "/agents/a/versions:import?api-version=v1", body);
    let bare =
        sent(VERSION, async |c| c.agents().create_version_from_manifest("a", &FromManifest::new("m")).await).await;
    assert_eq!(bare.json(), json!({"manifest_id": "m", "parameter_values": {}}));

    let mut definition = HostedDefinition::default();
    definition.code_configuration = Some(json!({"runtime": "python_3_12", "entry_point": ["main.py"]}));
    let version = NewVersion::new(definition).description("first");
    let code = CodeArchive::new(&b"PK\x03\x04\x00"[..], [0xab; 32]);
    assert!(!format!("{code:?}").contains("PK"));
    let upload = sent(VERSION, async |c| c.agents().create_version_from_code("a", &version, &code).await).await;
    assert_eq!((upload.method.as_str(), upload.uri), ("POST", format!("{PROJECT}/agents/a/versions?api-version=v1")));
    assert_eq!(upload.headers["x-ms-code-zip-sha256"], "ab".repeat(32));
    let kind = upload.headers["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let metadata = json!({"definition": {"kind": "hosted", "code_configuration":
        {"runtime": "python_3_12", "entry_point": ["main.py"]}}, "description": "first"});
    let text = String::from_utf8(upload.body.to_vec()).unwrap();
    let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
    let [_, first, second, end] = parts[..] else { panic!("{text}") };
    let (head, content) = first.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("name=\"metadata\"") && head.contains("Content-Type: application/json"));
    assert_eq!(serde_json::from_str::<Value>(content.trim()).unwrap(), metadata);
    let (head, content) = second.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("name=\"code\"; filename=\"code.zip\"") && head.contains("application/zip"));
    assert_eq!((content, end), ("PK\u{3}\u{4}\0\r\n", "--\r\n"));
    let script = Script::new([]);
    for zip in [Vec::new(), vec![0; 250_000_001]] {
        let code = CodeArchive::new(zip, [0; 32]);
        let error = script.client().agents().create_version_from_code("a", &version, &code).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "nothing was sent");
    }
    let read = sent("PK", async |c| {
        assert_eq!(&c.agents().download_code("a", Some("2")).await?[..], b"PK");
        Ok(())
    });
    let read = read.await;
    is(&read, "GET", "/agents/a/code:download?api-version=v1&agent_version=2", Value::Null);
    assert_eq!(read.headers["accept"], "application/zip");
    let newest = sent("PK", async |c| c.agents().download_code("a", None).await).await;
    is(&newest, "GET", "/agents/a/code:download?api-version=v1", Value::Null);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_hosted_agents() {
    const SESSION: &str = r#"{"agent_session_id":"s1","status":"active","version_indicator":{"type":"version_ref","agent_version":"2"},"created_at":5}"#;
    let user = UserKey::assume_verified(
        "11111111-0000-4000-8000-000000000001".parse::<TenantId>().unwrap(),
        "11111111-0000-4000-8000-000000000002".parse::<ObjectId>().unwrap(),
    );
    let create = sent(SESSION, async |c| {
        let made = c.for_user(&user).sessions("a").create("2", Some("s1")).await?;
        assert_eq!((made.agent_session_id.as_str(), made.status.unwrap().as_str()), ("s1", "active"));
        assert_eq!((made.created_at, made.expires_at), (Some(5), None));
        Ok(())
    });
    let create = create.await;
    let version = json!({"type": "version_ref", "agent_version": "2"});
    let body = json!({"agent_session_id": "s1", "version_indicator": version});
    is(&create, "POST", "/agents/a/endpoint/sessions?api-version=v1", body);
    assert!(create.headers.contains_key("x-ms-user-identity"), "sessions belong to users");
    let create = sent(SESSION, async |c| c.sessions("a").create("2", None).await).await;
    assert_eq!(create.json(), json!({"version_indicator": version}));
    let get = sent(SESSION, async |c| c.sessions("a").get("s1").await).await;
    is(&get, "GET", "/agents/a/endpoint/sessions/s1?api-version=v1", Value::Null);
    let list = sent(PAGE, async |c| c.sessions("a").list(&ListPage::new().limit(5)).await).await;
    is(&list, "GET", "/agents/a/endpoint/sessions?api-version=v1&limit=5", Value::Null);
    let delete = sent("", async |c| c.sessions("a").delete("s1").await).await;
    is(&delete, "DELETE", "/agents/a/endpoint/sessions/s1?api-version=v1", Value::Null);
    let stop = sent("", async |c| c.sessions("a").stop("s1").await).await;
    is(&stop, "POST", "/agents/a/endpoint/sessions/s1:stop?api-version=v1", Value::Null);
    assert!(Script::new([]).client().sessions("a").stop("s1:stop").await.is_err());

    let entries =
        r#"{"path":"/","entries":[{"name":"a.txt","size":3,"is_directory":false},{"name":"b","is_directory":true}]}"#;
    let files = sent(entries, async |c| {
        let found = c.sessions("a").files("s1", Some("/data"), &ListPage::new().limit(2)).await?.data;
        assert_eq!((found[0].name.as_str(), found[0].size, found[1].is_directory), ("a.txt", Some(3), true));
        Ok(())
    });
    let path = "/agents/a/endpoint/sessions/s1/files?api-version=v1&path=%2Fdata&limit=2";
    is(&files.await, "GET", path, Value::Null);
    let upload = sent(r#"{"path":"/data/a b","bytes_written":2}"#, async |c| {
        let written = c.sessions("a").upload_file("s1", "/data/a b", &b"hi"[..]).await?;
        assert_eq!((written.path.as_str(), written.bytes_written), ("/data/a b", Some(2)));
        Ok(())
    });
    let upload = upload.await;
    let content = "/agents/a/endpoint/sessions/s1/files/content?api-version=v1&path=%2Fdata%2Fa+b";
    assert_eq!((upload.method.as_str(), upload.uri), ("PUT", format!("{PROJECT}{content}")));
    assert_eq!(
        (&upload.body[..], &upload.headers["content-type"]),
        (&b"hi"[..], &"application/octet-stream".parse().unwrap())
    );
    let read = sent("hi", async |c| {
        assert_eq!(&c.sessions("a").download_file("s1", "/data/a b").await?[..], b"hi");
        Ok(())
    });
    is(&read.await, "GET", content, Value::Null);
    let remove = sent("", async |c| c.sessions("a").delete_file("s1", "/data", true).await).await;
    is(
        &remove,
        "DELETE",
        "/agents/a/endpoint/sessions/s1/files?api-version=v1&path=%2Fdata&recursive=true",
        Value::Null,
    );
    let missing = Script::new([answer(404, r#"{"error":{"code":"not_found","message":"no"}}"#)]);
    let error = missing.client().sessions("a").get("s1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound(Resource::Session));
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_session_is_read_as_it_comes() {
    let script = Script::new([sse(": hi\n\nevent: log\ndata: {\"a\":1}\n\nevent: log\ndata: plain\n\n", 7)]);
    let mut logs = script.client().sessions("a").logs("2", "s1").await.unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = logs.next().await {
        let entry = entry.unwrap();
        seen.push((entry.event().unwrap().to_owned(), entry.data().to_vec()));
    }
    assert_eq!(seen, [("log".to_owned(), b"{\"a\":1}".to_vec()), ("log".to_owned(), b"plain".to_vec())]);
    let request = &script.seen()[0];
    is(request, "GET", "/agents/a/versions/2/sessions/s1:logstream?api-version=v1", Value::Null);
    assert_eq!(request.headers["accept"], "text/event-stream");
    // What breaks is an error and the end; what falls silent ends with the time of the call.
    let broken =
        [common::Chunk::Data("event: log\n".into()), common::Chunk::Break(entra_auth::TransportErrorKind::Interrupted)];
    for (chunks, kind) in [(broken.to_vec(), ErrorKind::Transport), (vec![common::Chunk::Hang], ErrorKind::Timeout)] {
        let script = Script::new([common::events(chunks)]);
        let mut logs = script.client().sessions("a").logs("2", "s1").await.unwrap();
        assert_eq!(logs.next().await.unwrap().unwrap_err().kind(), kind);
        assert!(logs.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn memory_stores_are_made_and_written() {
    const STORE: &str = r#"{"object":"memory_store","name":"m"}"#;
    let store = NewMemoryStore::new("m", "gpt", "embed")
        .description("d")
        .metadata("k", "v")
        .option("user_profile_enabled", true.into());
    let create = sent(STORE, async |c| c.memory_stores().create(&store).await).await;
    let definition = json!({"kind": "default", "chat_model": "gpt", "embedding_model": "embed", "options": {"user_profile_enabled": true}});
    let body = json!({"name": "m", "description": "d", "metadata": {"k": "v"}, "definition": definition});
    is(&create, "POST", "/memory_stores?api-version=v1", body);
    let update = sent(STORE, async |c| c.memory_stores().update("m", Some("new"), None).await).await;
    is(&update, "POST", "/memory_stores/m?api-version=v1", json!({"description": "new"}));
    let delete = sent("", async |c| c.memory_stores().delete("m").await).await;
    is(&delete, "DELETE", "/memory_stores/m?api-version=v1", Value::Null);

    let user = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]});
    let what = Remember::new("user", [InputItem::user_text("x")]).after("u0").delay_seconds(60);
    let remember = sent(r#"{"update_id":"u1","status":"queued"}"#, async |c| {
        let begun = c.memory_stores().remember("m", &what).await?;
        assert!(begun.is_pending() && begun.update_id == "u1");
        Ok(())
    });
    let body = json!({"scope": "user", "items": [user], "previous_update_id": "u0", "update_delay": 60});
    is(&remember.await, "POST", "/memory_stores/m:update_memories?api-version=v1", body);
    let steps = ["queued", "in_progress", "superseded"];
    let answers = steps
        .map(|status| answer(200, json!({"update_id": "u1", "status": status, "superseded_by": "u2"}).to_string()));
    let script = Script::new(answers);
    let done = script.client().memory_stores().wait_remembered("m", "u1", Polling::default()).await.unwrap();
    assert_eq!((done.status.unwrap().as_str(), done.superseded_by.as_deref()), ("superseded", Some("u2")));
    is(&script.seen()[2], "GET", "/memory_stores/m/updates/u1?api-version=v1", Value::Null);
    let pending = (0..9).map(|_| answer(200, r#"{"update_id":"u1","status":"queued"}"#));
    let patience = Polling::default().at_most(Duration::from_secs(10));
    let error = Script::new(pending).client().memory_stores().wait_remembered("m", "u1", patience).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let search =
        sent(r#"{"memories":[]}"#, async |c| c.memory_stores().search_after("m", "user", &[], None, Some("s0")).await);
    let body = json!({"scope": "user", "previous_search_id": "s0"});
    is(&search.await, "POST", "/memory_stores/m:search_memories?api-version=v1", body);

    const ITEM: &str = r#"{"memory_id":"i1","scope":"user","kind":"user_profile","content":"tea","updated_at":5}"#;
    let kind = MemoryKind::USER_PROFILE;
    let create = sent(ITEM, async |c| {
        let made = c.memory_stores().create_item("m", "user", &kind, "tea").await?;
        assert_eq!((made.memory_id.as_str(), made.content.as_deref(), made.updated_at), ("i1", Some("tea"), Some(5)));
        Ok(())
    });
    let body = json!({"scope": "user", "kind": "user_profile", "content": "tea"});
    is(&create.await, "POST", "/memory_stores/m/items?api-version=v1", body);
    let get = sent(ITEM, async |c| c.memory_stores().item("m", "i1").await).await;
    is(&get, "GET", "/memory_stores/m/items/i1?api-version=v1", Value::Null);
    let update = sent(ITEM, async |c| c.memory_stores().update_item("m", "i1", "coffee").await).await;
    is(&update, "POST", "/memory_stores/m/items/i1?api-version=v1", json!({"content": "coffee"}));
    let delete = sent("", async |c| c.memory_stores().delete_item("m", "i1").await).await;
    is(&delete, "DELETE", "/memory_stores/m/items/i1?api-version=v1", Value::Null);
    let list =
        sent(PAGE, async |c| c.memory_stores().items("m", "user", Some(&kind), &ListPage::new().limit(5)).await).await;
    is(&list, "POST", "/memory_stores/m/items:list?api-version=v1&kind=user_profile&limit=5", json!({"scope": "user"}));
    assert_eq!(list.headers["foundry-features"], "MemoryStores=V1Preview");
    assert!(Script::new([]).client().memory_stores().update("m:x", None, None).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_raw_call_is_repeated_like_any_other() {
    let script = Script::new([answer(502, ""), answer(200, "{}"), answer(502, "")]);
    script.client().raw(RawCall::foundry(Method::GET, ["x"])).await.unwrap();
    let error = script.client().raw(RawCall::foundry(Method::POST, ["x"])).await.unwrap_err();
    assert_eq!((error.kind(), script.seen().len()), (ErrorKind::Server, 3));
    let script = Script::new([answer(502, ""), answer(200, "{}")]);
    script.client().raw(RawCall::foundry(Method::POST, ["x"]).idempotent(true)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_is_repeated_may_find_nothing() {
    let missing = r#"{"error":{"code":"not_found","message":"x"}}"#;
    let script = Script::new([answer(502, ""), answer(404, missing)]);
    assert!(script.client().conversations().delete("conv_1").await.unwrap().deleted);
    let script = Script::new([answer(404, missing)]);
    let error = script.client().conversations().delete("conv_1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound(Resource::Conversation));
}

#[tokio::test(start_paused = true)]
async fn targets_decide_path_and_version() {
    let script = Script::new((0..4).map(|_| answer(200, RESPONSE)));
    let project = script.client();
    let agent = project.at(Target::Agent("helpdesk".to_owned()));
    agent.responses().create(CreateResponse::new().text("hi")).await.unwrap();
    agent.responses().resume("resp_1", Some(3)).await.unwrap();
    let refused = agent.responses().create(CreateResponse::new().agent("other").text("hi")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
    assert!(agent.responses().stream(CreateResponse::new().model("m").text("hi")).await.is_err());
    project.responses().resume("resp_1", None).await.unwrap();
    let base = "/agents/helpdesk/endpoint/protocols/openai/responses";
    let seen = script.seen();
    is(&seen[0], "POST", &format!("{base}?api-version=v1"), json!({"input": "hi"}));
    is(&seen[1], "GET", &format!("{base}/resp_1?api-version=v1&starting_after=3&stream=true"), Value::Null);
    is(&seen[2], "GET", "/openai/v1/responses/resp_1?stream=true", Value::Null);
    let tuned = Script::new([answer(200, RESPONSE), answer(200, AGENT)]);
    let client = tuned.builder().default_query("api-version", "2026-01-01").default_query("tier", "a b");
    let client = client.header("x-client-trace", "7").build().unwrap();
    client.responses().get("resp_1").await.unwrap();
    client.with_header("traceparent", "00-1-2-00").unwrap().agents().get("a").await.unwrap();
    let seen = tuned.seen();
    is(&seen[0], "GET", "/openai/v1/responses/resp_1?api-version=2026-01-01&tier=a+b", Value::Null);
    is(&seen[1], "GET", "/agents/a?api-version=2026-01-01&tier=a+b", Value::Null);
    assert_eq!(
        (&seen[1].headers["x-client-trace"], &seen[1].headers["traceparent"]),
        (&"7".parse().unwrap(), &"00-1-2-00".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn local_servers_get_a_bearer_and_a_gateway_everything() {
    let script = Script::new([answer(200, RESPONSE)]);
    let local = FoundryClient::builder("http://127.0.0.1:8088/v1").target(Target::Base).api_key("k");
    let local = local.transport(Arc::new(script.clone())).build().unwrap();
    local.responses().get("resp_1").await.unwrap();
    let seen = &script.seen()[0];
    assert_eq!(
        (seen.uri.as_str(), seen.headers["authorization"].to_str().unwrap()),
        ("http://127.0.0.1:8088/v1/responses/resp_1", "Bearer k")
    );
    assert_eq!(local.agents().get("a").await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    let script = Script::new([answer(200, RESPONSE)]);
    let gateway = script.builder().dangerous().gateway("https://apim.contoso.example/foundry").build().unwrap();
    gateway.responses().get("resp_1").await.unwrap();
    let seen = &script.seen()[0];
    assert_eq!(seen.uri, "https://apim.contoso.example/foundry/openai/v1/responses/resp_1");
    assert_eq!(seen.headers["authorization"], "Bearer token-1");
    assert!(script.builder().dangerous().gateway("http://apim.contoso.example/x").build().is_err());
}

#[test]
fn headers_of_the_client_cannot_be_set() {
    let script = Script::new([]);
    for name in ["authorization", "Api-Key", "cookie", "host", "content-type", "x-ms-user-identity", "foundry-features"]
    {
        assert!(script.builder().header(name, "x").build().is_err(), "{name}");
        assert!(script.client().with_header(name, "x").is_err(), "{name}");
    }
    assert!(script.client().with_header("x-a", "a\nb").is_err());
    assert!(script.client().with_header("x a", "b").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_user_is_named_on_conversations_and_responses_only() {
    let user = UserKey::assume_verified(
        TenantId::try_from("11111111-1111-4111-8111-111111111111").unwrap(),
        ObjectId::try_from("22222222-2222-4222-8222-222222222222").unwrap(),
    );
    let refused = r#"{"error":{"code":"PermissionDenied","message":"The principal lacks the required data action `Microsoft.CognitiveServices/accounts/AIServices/agents/endpoints/UserIdentityImpersonation/action`."}}"#;
    let script = Script::new([answer(200, CONVERSATION), answer(200, AGENT), answer(403, refused)]);
    let client = script.client().for_user(&user);
    assert!(!format!("{client:?}").contains("22222222"));
    client.conversations().create(CreateConversation::new()).await.unwrap();
    client.agents().get("a").await.unwrap();
    let error = client.responses().get("resp_1").await.unwrap_err();
    let seen = script.seen();
    let value = &seen[0].headers["x-ms-user-identity"];
    assert_eq!(value, "11111111-1111-4111-8111-111111111111:22222222-2222-4222-8222-222222222222");
    assert!(value.is_sensitive() && !seen[1].headers.contains_key("x-ms-user-identity"));
    let missing = error.missing_role().unwrap();
    assert_eq!((error.kind(), missing.role), (ErrorKind::MissingRole, None));
    assert!(missing.to_string().contains("custom role") && missing.to_string().contains("Owner"), "{missing}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_role_says_whom_to_ask() {
    let write = r#"{"error":{"code":"PermissionDenied","message":"The principal lacks the required data action `Microsoft.CognitiveServices/accounts/AIServices/agents/write` to perform"}}"#;
    let script = Script::new([answer(401, write)]);
    let error = script.client().agents().get("a").await.unwrap_err();
    let missing = error.missing_role().unwrap();
    assert_eq!(missing.role, Some("Foundry User"));
    let text = missing.to_string();
    for part in ["\"Foundry User\"", "agents/write", "Owner", "User Access Administrator"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_are_followed_by_cursor_and_by_link() {
    let page = |ids: &[&str], more: bool| {
        let data: Vec<Value> = ids.iter().map(|id| json!({"object": "agent", "name": id})).collect();
        json!({"object": "list", "data": data, "last_id": ids.last(), "has_more": more}).to_string()
    };
    let script = Script::new([answer(200, page(&["a", "b"], true)), answer(502, ""), answer(200, page(&["c"], false))]);
    let all = script.client().agents().list_all(&ListAgents::new().limit(2).after("0")).collect().await.unwrap();
    assert_eq!(all.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let seen = script.seen();
    is(&seen[0], "GET", "/agents?api-version=v1&limit=2&after=0", Value::Null);
    is(&seen[2], "GET", "/agents?api-version=v1&limit=2&after=b", Value::Null);
    // A cursor that does not move is no endless list.
    let script = Script::new([answer(200, page(&["a"], true)), answer(200, page(&["a"], true))]);
    let error = script.client().agents().list_all(&ListAgents::new()).collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    // An empty page ends it, whatever it says.
    let script = Script::new([answer(200, page(&[], true))]);
    assert!(script.client().agents().list_all(&ListAgents::new()).collect().await.unwrap().is_empty());
    let link = format!("{PROJECT}/connections?api-version=v1&skip=2");
    let first = json!({"value": [{"name": "a"}], "nextLink": link}).to_string();
    let script = Script::new([answer(200, first), answer(200, r#"{"value":[{"name":"b"}],"nextLink":null}"#)]);
    assert_eq!(script.client().connections().list_all().collect().await.unwrap().len(), 2);
    assert_eq!(script.seen()[1].uri, link);
    // A link to another host would carry the token there.
    let evil = r#"{"value":[{"name":"a"}],"nextLink":"https://evil.example/x"}"#;
    let script = Script::new([answer(200, evil)]);
    let mut list = script.client().connections().list_all();
    assert_eq!(list.next().await.unwrap().unwrap().name, "a");
    assert_eq!(list.next().await.unwrap().unwrap_err().kind(), ErrorKind::Protocol);
    assert!(list.next().await.is_none() && script.seen().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_background_response_is_waited_for() {
    let of = |status: &str| {
        format!(r#"{{"id":"resp_1","status":"{status}","output":[],"error":{{"code":"server_error"}}}}"#)
    };
    let script = Script::new([
        answer(200, of("queued")),
        answer(200, of("queued")),
        answer(200, of("in_progress")),
        answer(200, RESPONSE),
    ]);
    let client = script.client();
    let first = client.responses().create(CreateResponse::new().agent("a").text("x").background(true)).await.unwrap();
    assert_eq!(first.status, ResponseStatus::QUEUED);
    let done = client.responses().wait("resp_1", Polling::default()).await.unwrap();
    assert_eq!(done.output_text(), "hi");
    let seen = script.seen();
    assert_eq!((&seen[0].json()["background"], &seen[0].json()["store"]), (&json!(true), &json!(true)));
    assert_eq!(seen[3].at - seen[1].at, Duration::from_secs(4));
    let script = Script::new([answer(200, of("failed"))]);
    let error = script.client().responses().wait("resp_1", Polling::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseFailed);
    let script = Script::new([answer(200, of("queued")), answer(200, of("queued"))]);
    let short = Polling::default().every(Duration::from_secs(1)).at_most(Duration::from_secs(1));
    let error = script.client().responses().wait("resp_1", short).await.unwrap_err();
    assert_eq!((error.kind(), error.response_id()), (ErrorKind::Timeout, Some("resp_1")));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_read_from_the_head_of_the_answer() {
    let script = Script::new([with(answer(200, RESPONSE), "x-agent-session-id", "sess_1")]);
    let response = script.client().responses().create(CreateResponse::new().agent("a").text("x")).await.unwrap();
    assert_eq!(response.agent_session_id.as_deref(), Some("sess_1"));
    let script =
        Script::new([with(sse(include_str!("fixtures/streams/prompt_agent.sse"), 64), "x-agent-session-id", "sess_2")]);
    let stream = script.client().responses().stream(CreateResponse::new().agent("a").text("x")).await.unwrap();
    assert_eq!(stream.agent_session_id(), Some("sess_2"));
}

#[tokio::test(start_paused = true)]
async fn a_response_reads_as_a_type_of_ones_own() {
    #[derive(serde::Deserialize, PartialEq, Debug)]
    struct Weather {
        degrees: i32,
    }
    let body = RESPONSE.replace("\"hi\"", r#""{\"degrees\": 7}""#);
    let script = Script::new([answer(200, body), answer(200, RESPONSE)]);
    let request = || CreateResponse::new().model("m").text("x").json_schema("weather", &json!({"type": "object"}));
    let response = script.client().responses().create(request()).await.unwrap();
    assert_eq!(response.output_json::<Weather>().unwrap(), Weather { degrees: 7 });
    assert!(script.client().responses().create(request()).await.unwrap().output_json::<Weather>().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_definition_of_an_agent_is_typed() {
    let script = Script::new([answer(200, VERSION)]);
    let version = script.client().agents().version("a", "1").await.unwrap();
    let AgentDefinition::Prompt(prompt) = version.definition else { panic!() };
    assert_eq!((prompt.model.as_str(), version.version.as_str()), ("m", "1"));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_for_loopback_only() {
    let script = Script::new([Step::Hang]);
    let remote = FoundryClient::builder(PROJECT).api_key("k").transport(Arc::new(script.clone()));
    assert!(remote.build().is_err());
    assert!(script.builder().credential(Arc::new(Tokens::default())).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_call_may_have_a_deadline_of_its_own() {
    let script = Script::new([Step::Hang]);
    let short = foundry_client::Limits::default().total(Duration::from_secs(3)).attempt(Duration::from_secs(3));
    let start = tokio::time::Instant::now();
    let error = script.client().with_limits(short).responses().get("resp_1").await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::Timeout, 3));
}
