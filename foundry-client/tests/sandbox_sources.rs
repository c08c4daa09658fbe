//! The client against the sandbox: agents from manifests and from code, sandboxes of hosted agents, memory that is written.
//! At the end the same by the unmodified azure-ai-projects.
#![cfg(all(feature = "publish", feature = "arm", feature = "tools"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod programs;
mod sandbox_cloud;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use entra_auth::StaticCredential;
use foundry_client::agents::{AgentDefinition, CodeArchive, Feature, FromManifest, HostedDefinition, NewVersion};
use foundry_client::resource::{MemoryKind, NewMemoryStore, Remember, SessionStatus, UpdateStatus};
use foundry_client::{
    CreateResponse, Error, ErrorKind, FoundryClient, InputItem, ListPage, ListVersions, Polling, Resource,
};
use m365_sandbox::constants;
use sandbox_cloud::{Cloud, builder, cloud, token};
use serde_json::{Value, json};

/// SHA-256 of `PK-code` and of `PK-more`.
const DIGESTS: [&str; 2] = [
    "692135390a4412dad08254ac2eb2c5e3d4a5a1f25f3e555a442d168f2a39bab1",
    "a5d1658f0665d99db32367ec422cefdce1842bbbfb9c22eb740c34d8a6cb9ac0",
];

fn archive(content: &'static [u8], digest: &str) -> CodeArchive {
    let bytes: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&digest[at..at + 2], 16).unwrap()).collect();
    CodeArchive::new(content, bytes.try_into().unwrap())
}

fn code_agent() -> NewVersion {
    let definition: HostedDefinition = serde_json::from_value(json!({
        "cpu": "0.5", "memory": "1Gi",
        "code_configuration": {"runtime": "python_3_12", "entry_point": ["main.py"], "dependency_resolution": "bundled"},
        "protocol_versions": [{"protocol": "responses", "version": "2.0.0"}],
    }))
    .unwrap();
    NewVersion::new(definition)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error
}

#[tokio::test]
async fn agents_are_made_of_manifests() {
    let Cloud { client, sandbox, credential } = cloud().await;
    let agents = client.agents();
    let friendly = FromManifest::new("helpdesk-template").parameter("tone", "friendly".into()).metadata("k", "v");
    let made = agents.import("front-desk", &friendly).await.unwrap();
    let version = made.latest.unwrap();
    let AgentDefinition::Prompt(prompt) = &version.definition else { panic!("{version:?}") };
    assert_eq!(prompt.instructions.as_deref(), Some("You are the help desk of Contoso. Be friendly."));
    assert_eq!((version.version.as_str(), version.metadata["k"].as_str()), ("1", "v"));
    refused(agents.import("front-desk", &friendly).await, ErrorKind::Conflict);

    // The same again is no new version.
    let same = agents.update_from_manifest("front-desk", &friendly).await.unwrap();
    assert_eq!(same.latest.unwrap().version, "1");
    let other = friendly.clone().parameter("company", "Fabrikam".into());
    assert_eq!(agents.update_from_manifest("front-desk", &other).await.unwrap().latest.unwrap().version, "2");
    let third = agents.create_version_from_manifest("front-desk", &friendly.clone().description("d")).await.unwrap();
    assert_eq!((third.version.as_str(), third.description.as_deref()), ("3", Some("d")));
    assert_eq!(agents.versions_all("front-desk", &ListVersions::new()).collect().await.unwrap().len(), 3);
    let said = client.responses().create(CreateResponse::new().agent("front-desk").text("hello")).await.unwrap();
    assert!(!said.output_text().is_empty());

    refused(agents.update_from_manifest("nobody", &friendly).await, ErrorKind::NotFound(Resource::Agent));
    let unknown = FromManifest::new("no-such-manifest");
    assert_eq!(refused(agents.import("x", &unknown).await, ErrorKind::NotFound(Resource::Project)).status(), Some(404));
    let bare = FromManifest::new("helpdesk-template");
    refused(agents.import("x", &bare).await, ErrorKind::InvalidRequest);
    refused(agents.import("x", &friendly.clone().parameter("colour", "red".into())).await, ErrorKind::InvalidRequest);
    refused(agents.import("not a name", &friendly).await, ErrorKind::InvalidRequest);

    let workflow = FromManifest::new("triage-workflow");
    refused(agents.import("triage", &workflow).await, ErrorKind::PreviewRequired);
    let preview = builder(&sandbox).credential(credential).feature(Feature::WORKFLOW_AGENTS).build().unwrap();
    let made = preview.agents().import("triage", &workflow).await.unwrap();
    assert!(matches!(made.latest.unwrap().definition, AgentDefinition::Workflow(_)));
    sandbox.stop().await;
}

#[tokio::test]
async fn agents_are_made_of_code() {
    let Cloud { client, sandbox, .. } = cloud().await;
    let agents = client.agents();
    let code = archive(b"PK-code", DIGESTS[0]);
    let first = agents.create_version_from_code("coder", &code_agent(), &code).await.unwrap();
    let shown: Value = first.raw().parse().unwrap();
    assert_eq!(shown["definition"]["code_configuration"]["content_hash"], DIGESTS[0]);
    let again = agents.create_version_from_code("coder", &code_agent(), &code).await.unwrap();
    assert_eq!((first.version.as_str(), again.version.as_str()), ("1", "1"), "the same code is the same version");
    let more = archive(b"PK-more", DIGESTS[1]);
    assert_eq!(agents.create_version_from_code("coder", &code_agent(), &more).await.unwrap().version, "2");
    assert_eq!(&agents.download_code("coder", None).await.unwrap()[..], b"PK-more");
    assert_eq!(&agents.download_code("coder", Some("1")).await.unwrap()[..], b"PK-code");

    // What arrives is not what was announced; what is no code agent has no code.
    let wrong = agents.create_version_from_code("coder", &code_agent(), &archive(b"PK-code", DIGESTS[1])).await;
    refused(wrong, ErrorKind::InvalidRequest);
    let container = NewVersion::new(HostedDefinition::container("image:1", "0.5", "1Gi"));
    refused(agents.create_version_from_code("coder", &container, &code).await, ErrorKind::InvalidRequest);
    agents.create_version("boxed", &container).await.unwrap();
    refused(agents.download_code("boxed", None).await, ErrorKind::NotFound(Resource::Agent));
    refused(agents.download_code("coder", Some("7")).await, ErrorKind::NotFound(Resource::Agent));
    sandbox.stop().await;
}

#[tokio::test]
async fn hosted_agents_run_in_sessions() {
    let Cloud { client, sandbox, .. } = cloud().await;
    let container = NewVersion::new(HostedDefinition::container("image:1", "0.5", "1Gi"));
    client.agents().create_version("boxed", &container).await.unwrap();
    let sessions = client.sessions("boxed");
    let made = sessions.create("1", Some("mine")).await.unwrap();
    assert_eq!((made.agent_session_id.as_str(), made.status.unwrap()), ("mine", SessionStatus::ACTIVE));
    assert!(made.expires_at > made.created_at);
    refused(sessions.create("1", Some("mine")).await, ErrorKind::Conflict);
    refused(sessions.create("9", None).await, ErrorKind::NotFound(Resource::Agent));
    let own = sessions.create("1", None).await.unwrap();
    let all = sessions.list_all(&ListPage::new().limit(1)).collect().await.unwrap();
    assert_eq!(
        all.iter().map(|one| one.agent_session_id.as_str()).collect::<Vec<_>>(),
        [&own.agent_session_id, "mine"]
    );

    // It rests until somebody asks; what the agent's code wrote is read along.
    sessions.stop("mine").await.unwrap();
    assert_eq!(sessions.get("mine").await.unwrap().status.unwrap(), SessionStatus::IDLE);
    let mut log = sessions.logs("1", "mine").await.unwrap();
    let ask = || CreateResponse::new().agent("boxed").text("hello");
    let said = client.responses().create(ask().agent_session_id("mine")).await.unwrap();
    assert_eq!(said.agent_session_id.as_deref(), Some("mine"));
    assert_eq!(sessions.get("mine").await.unwrap().status.unwrap(), SessionStatus::ACTIVE);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line: &String| !line.contains("POST /responses")) {
        let frame = tokio::time::timeout(Duration::from_secs(30), log.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.event(), Some("log"));
        seen.push(String::from_utf8_lossy(frame.data()).into_owned());
    }
    assert!(seen.iter().any(|line| line.contains("Session stopped")), "{seen:?}");

    // A response that names none begins one.
    let said = client.responses().create(ask()).await.unwrap();
    let begun = said.agent_session_id.unwrap();
    assert_eq!(sessions.get(&begun).await.unwrap().status.unwrap(), SessionStatus::ACTIVE);

    files(&client).await;
    refused(client.agents().delete("boxed", false).await, ErrorKind::Conflict);
    refused(client.agents().delete_version("boxed", "1", false).await, ErrorKind::Conflict);
    assert!(sessions.delete("mine").await.unwrap().deleted);
    assert!(log.next().await.is_none(), "the log ends with its session");
    refused(sessions.get("mine").await, ErrorKind::NotFound(Resource::Session));
    refused(sessions.stop("mine").await, ErrorKind::NotFound(Resource::Session));
    assert!(client.agents().delete("boxed", true).await.unwrap().deleted);
    refused(client.sessions(constants::FOUNDRY_AGENT).create("1", None).await, ErrorKind::InvalidRequest);
    sandbox.stop().await;
}

async fn files(client: &FoundryClient) {
    let sessions = client.sessions("boxed");
    let written = sessions.upload_file("mine", "data/in/a b.txt", &b"\x00hi"[..]).await.unwrap();
    assert_eq!((written.path.as_str(), written.bytes_written), ("data/in/a b.txt", Some(3)));
    sessions.upload_file("mine", "data/z.txt", &b"z"[..]).await.unwrap();
    assert_eq!(&sessions.download_file("mine", "/data/in/a b.txt").await.unwrap()[..], b"\x00hi");
    let home = sessions.files("mine", None, &ListPage::new()).await.unwrap().data;
    assert_eq!((home.len(), home[0].name.as_str(), home[0].is_directory), (1, "data", true));
    let inside = sessions.files_all("mine", Some("data"), &ListPage::new().limit(1)).collect().await.unwrap();
    let shown: Vec<_> = inside.iter().map(|file| (file.name.as_str(), file.size, file.is_directory)).collect();
    assert_eq!(shown, [("z.txt", Some(1), false), ("in", Some(0), true)]);
    refused(sessions.upload_file("mine", "data/in", &b""[..]).await, ErrorKind::Conflict);
    refused(sessions.upload_file("mine", "../escape", &b""[..]).await, ErrorKind::InvalidRequest);
    refused(sessions.download_file("mine", "data/none").await, ErrorKind::NotFound(Resource::Session));
    refused(sessions.files("mine", Some("none"), &ListPage::new()).await, ErrorKind::NotFound(Resource::Session));
    refused(sessions.delete_file("mine", "data", false).await, ErrorKind::Conflict);
    assert!(sessions.delete_file("mine", "data/z.txt", false).await.unwrap().deleted);
    assert!(sessions.delete_file("mine", "data", true).await.unwrap().deleted);
    assert!(sessions.files("mine", None, &ListPage::new()).await.unwrap().data.is_empty());
}

#[tokio::test]
async fn memory_is_written_found_and_forgotten() {
    let Cloud { client, sandbox, .. } = cloud().await;
    let stores = client.memory_stores();
    let new = NewMemoryStore::new("likes", "gpt-4.1", "embed").description("d").metadata("k", "v");
    assert_eq!(stores.create(&new).await.unwrap().description.as_deref(), Some("d"));
    refused(stores.create(&new).await, ErrorKind::Conflict);
    refused(stores.create(&NewMemoryStore::new("other", "", "embed")).await, ErrorKind::InvalidRequest);
    let changed = stores.update("likes", Some("new"), Some(&BTreeMap::new())).await.unwrap();
    assert_eq!(changed.description.as_deref(), Some("new"));
    let names = stores.list_all(&ListPage::new().limit(1)).collect().await.unwrap();
    assert_eq!(names.iter().map(|store| store.name.as_str()).collect::<Vec<_>>(), ["likes", "memory"]);

    // A conversation becomes memory; one that still waits gives way to the next.
    let say = |text: &str| [InputItem::user_text(text)];
    let early = Remember::new("ada", say("my printer is HP-1")).delay_seconds(600);
    let waiting = stores.remember("likes", &early).await.unwrap();
    assert_eq!(stores.remembered("likes", &waiting.update_id).await.unwrap().status.unwrap(), UpdateStatus::QUEUED);
    let next = Remember::new("ada", say("the projector flickers")).after(&waiting.update_id).delay_seconds(0);
    let next = stores.remember("likes", &next).await.unwrap();
    assert!(next.is_pending());
    let gone = stores.remembered("likes", &waiting.update_id).await.unwrap();
    assert_eq!((gone.status.unwrap(), gone.superseded_by), (UpdateStatus::SUPERSEDED, Some(next.update_id.clone())));
    let polling = || Polling::default().every(Duration::from_millis(20));
    let done = stores.wait_remembered("likes", &next.update_id, polling()).await.unwrap();
    assert_eq!(done.status.unwrap(), UpdateStatus::COMPLETED);
    assert_eq!(
        kinds(&done.result.unwrap().parse().unwrap()),
        [("create", "user_profile"), ("create", "chat_summary")].map(pair)
    );
    let later = Remember::new("ada", say("my printer is HP-2")).delay_seconds(0);
    let later = stores.remember("likes", &later).await.unwrap();
    let later = stores.wait_remembered("likes", &later.update_id, polling()).await.unwrap();
    assert_eq!(kinds(&later.result.unwrap().parse().unwrap()), [pair(("update", "user_profile"))]);
    let broken = Remember::new("ada", say("sandbox:failed-agent")).delay_seconds(0);
    let broken = stores.remember("likes", &broken).await.unwrap();
    let broken = stores.wait_remembered("likes", &broken.update_id, polling()).await.unwrap();
    assert!(broken.status.unwrap() == UpdateStatus::FAILED && broken.error.is_some());
    let lost = Remember::new("ada", say("x")).after("memupd_none");
    refused(stores.remember("likes", &lost).await, ErrorKind::NotFound(Resource::MemoryStore));

    // One scope never sees another's.
    let first = stores.search("likes", "ada", &say("hello"), None).await.unwrap();
    assert_eq!(contents(&first.memories), ["my printer is HP-2"]);
    let query = say("which projector?");
    let second = stores.search_after("likes", "ada", &query, Some(9), first.search_id.as_deref()).await.unwrap();
    assert_eq!(contents(&second.memories).len(), 2);
    assert!(stores.search("likes", "grace", &query, None).await.unwrap().memories.is_empty());
    let unknown = stores.search_after("likes", "ada", &query, None, Some("memsearch_none")).await;
    refused(unknown, ErrorKind::NotFound(Resource::MemoryStore));

    // Items, one by one.
    let item = stores.create_item("likes", "grace", &MemoryKind::PROCEDURAL, "reboots first").await.unwrap();
    assert_eq!(stores.item("likes", &item.memory_id).await.unwrap().content.as_deref(), Some("reboots first"));
    let item = stores.update_item("likes", &item.memory_id, "asks first").await.unwrap();
    assert_eq!(item.content.as_deref(), Some("asks first"));
    let all = stores.items_all("likes", "ada", None, &ListPage::new().limit(1)).collect().await.unwrap();
    assert_eq!(all.len(), 2);
    let some = stores.items("likes", "ada", Some(&MemoryKind::CHAT_SUMMARY), &ListPage::new()).await.unwrap();
    assert_eq!(some.data.len(), 1);
    assert!(stores.delete_item("likes", &item.memory_id).await.unwrap().deleted);
    refused(stores.item("likes", &item.memory_id).await, ErrorKind::NotFound(Resource::MemoryStore));
    assert!(stores.delete_scope("likes", "ada").await.unwrap().deleted);
    assert!(stores.items("likes", "ada", None, &ListPage::new()).await.unwrap().data.is_empty());
    assert!(stores.delete("likes").await.unwrap().deleted);
    refused(stores.get("likes").await, ErrorKind::NotFound(Resource::MemoryStore));
    sandbox.stop().await;
}

fn pair((kind, of): (&str, &str)) -> (String, String) {
    (kind.to_owned(), of.to_owned())
}

/// What an update did, and to which kind of memory.
fn kinds(result: &Value) -> Vec<(String, String)> {
    let operations = result["memory_operations"].as_array().unwrap().iter();
    operations.map(|one| pair((one["kind"].as_str().unwrap(), one["memory_item"]["kind"].as_str().unwrap()))).collect()
}

fn contents(memories: &[foundry_client::RawJson]) -> Vec<String> {
    let items = memories.iter().map(|memory| memory.parse::<Value>().unwrap());
    items.map(|memory| memory["memory_item"]["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_may_only_call_changes_nothing() {
    let cloud = cloud().await;
    let agents = cloud.client.agents();
    let container = NewVersion::new(HostedDefinition::container("image:1", "0.5", "1Gi"));
    agents.create_version("boxed", &container).await.unwrap();
    cloud.client.sessions("boxed").create("1", Some("mine")).await.unwrap();

    let token = token(&cloud.sandbox, constants::OTHER_APP_ID, constants::OTHER_APP_SECRET).await;
    let credential = Arc::new(StaticCredential::new(token).unwrap());
    let other = builder(&cloud.sandbox).credential(credential).build().unwrap();
    let friendly = FromManifest::new("helpdesk-template").parameter("tone", "friendly".into());
    refused(other.agents().import("x", &friendly).await, ErrorKind::MissingRole);
    let code = archive(b"PK-code", DIGESTS[0]);
    refused(other.agents().create_version_from_code("x", &code_agent(), &code).await, ErrorKind::MissingRole);
    refused(other.agents().delete("boxed", true).await, ErrorKind::MissingRole);
    refused(other.memory_stores().delete("memory").await, ErrorKind::MissingRole);
    assert_eq!(other.agents().get("boxed").await.unwrap().name, "boxed");
    assert_eq!(other.memory_stores().search("memory", "user", &[], None).await.unwrap().memories.len(), 1);

    // Sessions of others are not there, and nobody enters them.
    let sessions = other.sessions("boxed");
    refused(sessions.get("mine").await, ErrorKind::NotFound(Resource::Session));
    refused(sessions.delete("mine").await, ErrorKind::NotFound(Resource::Session));
    refused(sessions.create("1", Some("mine")).await, ErrorKind::Conflict);
    assert!(sessions.list(&ListPage::new()).await.unwrap().data.is_empty());
    let ask = CreateResponse::new().agent("boxed").text("hello").agent_session_id("mine");
    let error = refused(other.responses().create(ask).await, ErrorKind::Forbidden);
    assert_eq!(error.code(), Some("session_not_accessible"));
    cloud.sandbox.stop().await;
}

/// azure-ai-projects, unmodified: it checks every status and every model itself.
#[tokio::test]
async fn azure_ai_projects_is_played_to() {
    let Some(python) = programs::python() else { return };
    let sandbox = m365_sandbox::Sandbox::builder().tls(true).start().await.unwrap();
    let mut command = Command::new(python);
    command.arg(programs::script("sources.py")).arg(sandbox.base_url());
    command.args([
        constants::FOUNDRY_PROJECT,
        constants::RESOURCE_TENANT,
        constants::BOT_APP_ID,
        constants::BOT_APP_SECRET,
    ]);
    command.env("REQUESTS_CA_BUNDLE", sandbox.ca_file().unwrap());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(Duration::from_secs(120), output).await.expect("in time").unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.lines().collect::<Vec<_>>(), ["manifests", "code", "sessions", "memory"], "{errors}");
    sandbox.stop().await;
}
