//! What openai-python and azure-ai-projects send for a call, and what we send for the same call. `peers/clients.py` makes
//! theirs against a recorder; every request names its case in the header `x-case`.
//!
//! Intended differences: User-Agent, telemetry headers and ids; `Accept` where theirs takes anything; theirs opts in to
//! every preview on an agent's endpoint and for a new version, ours to those asked for. Query pairs are compared without
//! their order.
#![cfg(all(feature = "client", feature = "publish"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;
mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::Tokens;
use entra_auth::{ReqwestTransport, RetryPolicy};
use foundry_client::agents::{
    AgentDefinition, CodeArchive, EndpointChange, FromManifest, NewVersion, PromptDefinition, Protocol, SchemeKind,
};
use foundry_client::publish::{PublishRequest, PublishScope};
use foundry_client::resource::{ConnectionKind, MemoryKind, NewMemoryStore, Remember};
use foundry_client::tool::{FunctionTool, Tool};
use foundry_client::{
    CompactResponse, CreateConversation, CreateResponse, Decision, FoundryClient, InputContent, InputItem, ListAgents,
    ListFiles, ListItems, ListPage, ListVersions, Order, RawJson, Role, Target,
};
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// Enough of everything for either side to go on.
fn reply(request: &Request) -> ResponseTemplate {
    let path = request.url.path();
    if path.ends_with("/zip") {
        return ResponseTemplate::new(200).set_body_raw("PK", "application/zip");
    }
    let stream = request.url.query().unwrap_or_default().contains("stream=true")
        || serde_json::from_slice::<Value>(&request.body).is_ok_and(|body| body["stream"] == json!(true));
    let response = json!({"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt",
        "output": [], "parallel_tool_calls": true, "tool_choice": "auto", "tools": []});
    if stream && path.contains("/responses") {
        let event = json!({"type": "response.completed", "sequence_number": 9, "response": response});
        return ResponseTemplate::new(200).set_body_raw(format!("data: {event}\n\n"), "text/event-stream");
    }
    // Listing things.
    let last = path.rsplit('/').next().unwrap_or_default();
    let lists = [
        "agents",
        "connections",
        "deployments",
        "memory_stores",
        "sessions",
        "items:list",
        "toolboxes",
        "items",
        "input_items",
        "versions",
        "files",
        "vector_stores",
    ];
    if (request.method == "GET" || last == "items:list") && lists.contains(&last) {
        return ResponseTemplate::new(200).set_body_json(
            json!({"object": "list", "data": [], "value": [], "entries": [], "has_more": false, "first_id": null, "last_id": null}),
        );
    }
    ResponseTemplate::new(200).set_body_json(json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt", "output": [],
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "metadata": {}, "name": "helpdesk", "version": "1",
        "definition": {"kind": "prompt", "model": "gpt-4.1"}, "versions": {}, "data": [], "deleted": true, "type": "message",
        "role": "user", "content": [], "agent_session_id": "s1", "update_id": "u1", "memory_id": "i1", "path": "/data/a b",
        "titleId": "T", "teamsAppId": "A", "agent_endpoint": {}
    }))
}

/// What is compared of a request.
#[derive(Debug, PartialEq)]
struct Shape {
    method: String,
    path: String,
    query: BTreeSet<(String, String)>,
    body: Option<Value>,
    content_type: Option<String>,
    features: Option<String>,
    accept: Option<String>,
    digest: Option<String>,
}

/// A body as JSON: of a form the parts by their names, of anything else that is no JSON the text.
fn body(bytes: &[u8], content_type: &str) -> Value {
    let Some(boundary) = content_type.strip_prefix("multipart/form-data; boundary=") else {
        return serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into());
    };
    let text = String::from_utf8_lossy(bytes);
    let boundary = format!("--{}", boundary.trim_matches('"'));
    let parts = text.split(&boundary).filter_map(|part| part.split_once("\r\n\r\n"));
    let named = parts.map(|(head, content)| {
        let name = head.split("name=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let content = content.strip_suffix("\r\n").unwrap_or(content);
        (name.to_owned(), serde_json::from_str(content).unwrap_or_else(|_| content.into()))
    });
    Value::Object(named.collect())
}

/// SHA-256 of `PK-code`; theirs is computed by them.
const SHA256_OF_CODE: [u8; 32] = [
    0x69, 0x21, 0x35, 0x39, 0x0a, 0x44, 0x12, 0xda, 0xd0, 0x82, 0x54, 0xac, 0x2e, 0xb2, 0xc5, 0xe3, 0xd4, 0xa5, 0xa1,
    0xf2, 0x5f, 0x3e, 0x55, 0x5a, 0x44, 0x2d, 0x16, 0x8f, 0x2a, 0x39, 0xba, 0xb1,
];

fn shape(request: &Request) -> Shape {
    let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let path = request.url.path().to_owned();
    // Theirs lists all previews it knows where it opts in at all.
    let features = header("foundry-features").filter(|list| list.split(',').count() == 1);
    let content_type = header("content-type").filter(|_| !request.body.is_empty());
    Shape {
        method: request.method.to_string(),
        query: request.url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
        body: (!request.body.is_empty()).then(|| body(&request.body, content_type.as_deref().unwrap_or_default())),
        digest: header("x-ms-code-zip-sha256"),
        content_type: content_type.map(|kind| kind.split(';').next().unwrap_or_default().to_owned()),
        features,
        accept: Some(header("accept").unwrap_or_default()).filter(|_| path.ends_with("/zip")),
        path,
    }
}

/// The last request of each case: a read before a change is no part of the comparison.
async fn recorded(server: &MockServer) -> BTreeMap<String, Shape> {
    let requests = server.received_requests().await.unwrap();
    let case = |request: &Request| Some(request.headers.get("x-case")?.to_str().ok()?.to_owned());
    requests.iter().filter_map(|request| Some((case(request)?, shape(request)))).collect()
}

async fn recorder() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(reply).mount(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_equal_those_of_the_sdks() {
    let Some(python) = programs::python() else { return };
    let theirs = recorder().await;
    let url = theirs.uri();
    let run = tokio::task::spawn_blocking(move || {
        Command::new(python).arg(programs::script("clients.py")).arg(url).output().unwrap()
    });
    let output = tokio::time::timeout(Duration::from_secs(240), run).await.expect("in time").unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let theirs = recorded(&theirs).await;
    let ours = recorder().await;
    make_ours(&ours.uri()).await;
    let ours = recorded(&ours).await;
    assert!(theirs.len() >= 60, "only {} cases: {:?}\n{said}", theirs.len(), theirs.keys());
    let names = |shapes: &BTreeMap<String, Shape>| shapes.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&theirs), names(&ours), "{said}");
    let differ: Vec<_> = theirs.iter().filter(|(name, shape)| ours.get(*name) != Some(shape)).collect();
    for (name, shape) in &differ {
        println!("{name}\n  theirs: {shape:?}\n  ours:   {:?}", ours.get(*name));
    }
    assert!(differ.is_empty(), "{} of {} cases differ", differ.len(), theirs.len());
    println!("{} requests are equal", theirs.len());
}

struct Cases(FoundryClient);

impl Cases {
    async fn make<T, F: Future<Output = T>>(&self, name: &str, call: impl FnOnce(FoundryClient) -> F) {
        call(self.0.with_header("x-case", name).unwrap()).await;
    }
}

fn agent() -> CreateResponse {
    CreateResponse::new().agent("helpdesk")
}

async fn make_ours(url: &str) {
    let client = FoundryClient::builder(format!("{url}/api/projects/demo"))
        .credential(Arc::new(Tokens::default()))
        .transport(Arc::new(ReqwestTransport::new().unwrap()))
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    let cases = Cases(client);
    responses(&cases).await;
    conversations(&cases).await;
    foundry(&cases).await;
    publish(&cases).await;
}

async fn responses(cases: &Cases) {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let user = || InputItem::user_text("hi");
    let gpt = || CreateResponse::new().model("gpt").text("hi");
    cases.make("create", async |c| c.responses().create(agent().text("hi")).await).await;
    let full =
        agent().item(user()).conversation("conv_1").store(true).metadata("k", "v").include("file_search_call.results");
    let full = full.max_output_tokens(9).instructions("short");
    cases.make("create_in_conversation", async |c| c.responses().create(full).await).await;
    let function = Tool::from(FunctionTool::new("f", schema.clone()).description("d"));
    let chained = CreateResponse::new().model("gpt").item(InputItem::function_call_output("call_1", "{}"));
    let chained = chained.previous_response_id("resp_0").temperature(0.5).top_p(0.25).parallel_tool_calls(false);
    let chained = chained.max_tool_calls(3).tool_choice("required").truncation("auto").reasoning_effort("low");
    let chained = chained.safety_identifier("hash").tool(&function);
    cases.make("create_chained", async |c| c.responses().create(chained).await).await;
    cases.make("create_structured", async |c| c.responses().create(gpt().json_schema("answer", &schema)).await).await;
    cases.make("create_background", async |c| c.responses().create(gpt().background(true)).await).await;
    let parts = [
        InputContent::text("what is it?"),
        InputContent::image("image/png", b"hi"),
        InputContent::file_id("file_1"),
        InputContent::file("a.pdf", "application/pdf", b"hi"),
    ];
    let picture = CreateResponse::new().model("gpt").item(InputItem::message(Role::USER, parts));
    cases.make("create_with_picture", async |c| c.responses().create(picture).await).await;
    let approve = agent().previous_response_id("resp_0").item(Decision::Approve.about("mcpr_1"));
    cases.make("approve", async |c| c.responses().create(approve).await).await;
    let customer = RawJson::from_value(&"Contoso").unwrap();
    let inputs = agent().text("hi").structured_input("customer", customer).agent_session_id("sess_1");
    cases.make("structured_inputs", async |c| c.responses().create(inputs).await).await;
    let stream = agent().text("hi").include_obfuscation(false);
    cases.make("stream", async |c| c.responses().stream(stream).await.unwrap().finish().await).await;
    cases.make("get", async |c| c.responses().get("resp_1").await).await;
    cases.make("get_with", async |c| c.responses().get_with("resp_1", &["a", "b"]).await).await;
    cases.make("resume_stream", async |c| c.responses().resume("resp_1", Some(3)).await.unwrap().finish().await).await;
    cases.make("cancel", async |c| c.responses().cancel("resp_1").await).await;
    cases.make("delete", async |c| c.responses().delete("resp_1").await).await;
    let query = ListItems::new().limit(5).order(Order::Ascending).after("x").include("a");
    cases.make("input_items", async |c| c.responses().input_items("resp_1", &query).await).await;
    let compact = CompactResponse::new("gpt").previous_response_id("resp_0").instructions("i");
    cases.make("compact", async |c| c.responses().compact(&compact).await).await;
    let at = |c: FoundryClient| c.at(Target::Agent("helpdesk".to_owned()));
    cases.make("agent_create", async |c| at(c).responses().create(CreateResponse::new().text("hi")).await).await;
    cases.make("agent_get", async |c| at(c).responses().get("resp_1").await).await;
    cases.make("agent_conversation", async |c| at(c).conversations().create(CreateConversation::new()).await).await;
}

async fn conversations(cases: &Cases) {
    let user = || InputItem::user_text("hi");
    let create = CreateConversation::new().item(user()).metadata("k", "v");
    cases.make("conversation_create", async |c| c.conversations().create(create).await).await;
    cases.make("conversation_get", async |c| c.conversations().get("conv_1").await).await;
    cases.make("conversation_update", async |c| c.conversations().update("conv_1", [("k", "v")]).await).await;
    cases.make("conversation_delete", async |c| c.conversations().delete("conv_1").await).await;
    cases.make("items_create", async |c| c.items("conv_1").create([user()]).await).await;
    let query = ListItems::new().limit(5).order(Order::Ascending).after("x").include("a").include("b");
    cases.make("items_list", async |c| c.items("conv_1").list(&query).await).await;
    cases.make("item_get", async |c| c.items("conv_1").get("msg_1").await).await;
    cases.make("item_delete", async |c| c.items("conv_1").delete("msg_1").await).await;
    cases.make("file_get", async |c| c.files().get("file_1").await).await;
    cases.make("file_delete", async |c| c.files().delete("file_1").await).await;
    let query = ListFiles::new().purpose("assistants").limit(5);
    cases.make("files_list", async |c| c.files().list(&query).await).await;
    cases.make("store_create", async |c| c.vector_stores().create("s", &["file_1"]).await).await;
    cases.make("store_get", async |c| c.vector_stores().get("vs_1").await).await;
    cases.make("stores_list", async |c| c.vector_stores().list(&ListPage::new().limit(5)).await).await;
    cases.make("store_delete", async |c| c.vector_stores().delete("vs_1").await).await;
}

async fn foundry(cases: &Cases) {
    let five = || ListPage::new().limit(5);
    cases.make("agent_read", async |c| c.agents().get("helpdesk").await).await;
    cases.make("list_agents", async |c| c.agents().list(&ListAgents::new().kind("prompt").limit(5)).await).await;
    cases.make("agent_remove", async |c| c.agents().delete("helpdesk", false).await).await;
    cases.make("agent_remove_force", async |c| c.agents().delete("helpdesk", true).await).await;
    let mut prompt = PromptDefinition::new("gpt-4.1").instructions("Be short.");
    prompt.temperature = Some(0.5);
    let version = NewVersion::new(prompt).description("first").metadata("k", "v");
    cases.make("version_create", async |c| c.agents().create_version("helpdesk", &version).await).await;
    cases.make("version_get", async |c| c.agents().version("helpdesk", "1").await).await;
    cases.make("list_versions", async |c| c.agents().versions("helpdesk", &ListVersions::new().limit(5)).await).await;
    cases.make("version_delete", async |c| c.agents().delete_version("helpdesk", "1", false).await).await;
    cases.make("agent_enable", async |c| c.agents().enable("helpdesk").await).await;
    cases.make("agent_disable", async |c| c.agents().disable("helpdesk").await).await;
    let change = EndpointChange::new().enable(Protocol::ACTIVITY).enable(Protocol::RESPONSES);
    let change = change.admit(SchemeKind::ENTRA).admit(SchemeKind::BOT_SERVICE_RBAC);
    cases.make("endpoint_patch", async |c| c.agents().update_endpoint("helpdesk", &change).await).await;
    let kind = ConnectionKind::COGNITIVE_SEARCH;
    cases.make("list_connections", async |c| c.connections().list_kind(&kind, true).collect().await).await;
    cases.make("connection_get", async |c| c.connections().get("search").await).await;
    cases.make("connection_secrets", async |c| c.connections().get_with_credentials("search").await).await;
    cases.make("list_deployments", async |c| c.deployments().list_all().collect().await).await;
    cases.make("deployment_get", async |c| c.deployments().get("gpt").await).await;
    cases.make("list_memory_stores", async |c| c.memory_stores().list(&five()).await).await;
    cases.make("memory_store_get", async |c| c.memory_stores().get("m").await).await;
    let items = [InputItem::user_text("hi")];
    cases.make("memory_search", async |c| c.memory_stores().search("m", "user", &items, Some(5)).await).await;
    cases.make("memory_forget", async |c| c.memory_stores().delete_scope("m", "user").await).await;
    memory_and_sessions(cases).await;
    cases.make("list_toolboxes", async |c| c.toolboxes().list(&five()).await).await;
    cases.make("toolbox_get", async |c| c.toolboxes().get("t").await).await;
    cases.make("toolbox_version", async |c| c.toolboxes().version("t", "1").await).await;
}

async fn memory_and_sessions(cases: &Cases) {
    let five = || ListPage::new().limit(5);
    let manifest = FromManifest::new("m-1").parameter("tone", "kind".into()).description("d").metadata("k", "v");
    let agents = "helpdesk";
    cases
        .make("version_from_manifest", async |c| c.agents().create_version_from_manifest(agents, &manifest).await)
        .await;
    let definition: AgentDefinition = serde_json::from_value(json!({
        "kind": "hosted", "cpu": "0.5", "memory": "1Gi", "protocol_versions": [{"protocol": "responses", "version": "2.0.0"}],
        "code_configuration": {"runtime": "python_3_12", "entry_point": ["main.py"], "dependency_resolution": "bundled"}
    }))
    .unwrap();
    let version = NewVersion::new(definition).description("first");
    let code = CodeArchive::new(&b"PK-code"[..], SHA256_OF_CODE);
    cases.make("version_from_code", async |c| c.agents().create_version_from_code(agents, &version, &code).await).await;
    cases.make("code_download", async |c| c.agents().download_code(agents, Some("2")).await).await;
    cases.make("session_create", async |c| c.sessions(agents).create("2", Some("s1")).await).await;
    cases.make("session_get", async |c| c.sessions(agents).get("s1").await).await;
    cases.make("list_sessions", async |c| c.sessions(agents).list(&five()).await).await;
    cases.make("session_delete", async |c| c.sessions(agents).delete("s1").await).await;
    cases.make("session_stop", async |c| c.sessions(agents).stop("s1").await).await;
    cases.make("session_logs", async |c| c.sessions(agents).logs("2", "s1").await).await;
    cases.make("list_session_files", async |c| c.sessions(agents).files("s1", Some("/data"), &five()).await).await;
    cases
        .make("session_file_upload", async |c| c.sessions(agents).upload_file("s1", "/data/a b", &b"hi"[..]).await)
        .await;
    cases.make("session_file_download", async |c| c.sessions(agents).download_file("s1", "/data/a b").await).await;
    cases.make("session_file_delete", async |c| c.sessions(agents).delete_file("s1", "/data", true).await).await;
    let store = NewMemoryStore::new("m", "gpt", "embed").description("d").metadata("k", "v");
    let store = store.option("user_profile_enabled", true.into()).option("chat_summary_enabled", false.into());
    cases.make("memory_store_create", async |c| c.memory_stores().create(&store).await).await;
    cases.make("memory_store_update", async |c| c.memory_stores().update("m", Some("new"), None).await).await;
    cases.make("memory_store_delete", async |c| c.memory_stores().delete("m").await).await;
    let what = Remember::new("user", [InputItem::user_text("hi")]).after("u0").delay_seconds(60);
    cases.make("memory_remember", async |c| c.memory_stores().remember("m", &what).await).await;
    let kind = MemoryKind::USER_PROFILE;
    cases.make("memory_create", async |c| c.memory_stores().create_item("m", "user", &kind, "tea").await).await;
    cases.make("memory_get", async |c| c.memory_stores().item("m", "i1").await).await;
    cases.make("memory_update", async |c| c.memory_stores().update_item("m", "i1", "coffee").await).await;
    cases.make("memory_delete", async |c| c.memory_stores().delete_item("m", "i1").await).await;
    cases.make("list_memories", async |c| c.memory_stores().items("m", "user", Some(&kind), &five()).await).await;
}

async fn publish(cases: &Cases) {
    let request = PublishRequest::new(PublishScope::TENANT)
        .bot_service_arm_id("/subscriptions/s/resourceGroups/g/providers/Microsoft.BotService/botServices/b")
        .app_version("1.0.0")
        .agent_display_name("Help")
        .short_description("s")
        .full_description("f")
        .developer_name("Contoso")
        .developer_website_url("https://contoso.example")
        .privacy_url("https://contoso.example/privacy")
        .terms_of_use_url("https://contoso.example/terms");
    cases.make("publish", async |c| c.microsoft365().publish("helpdesk", &request).await).await;
    let autopilot = PublishRequest::new(PublishScope::TENANT).autopilot().can_respond_without_mention(true);
    let autopilot = autopilot.access_boundaries(["read.1on1.tenant"]).app_version("1.0.1");
    cases.make("publish_autopilot", async |c| c.microsoft365().publish("helpdesk", &autopilot).await).await;
    cases.make("package", async |c| c.microsoft365().package("helpdesk", &request).await).await;
    cases.make("publish_defaults", async |c| c.microsoft365().defaults("helpdesk").await).await;
}
