//! The client against the sandbox, which speaks raw JSON of its own: what is made can be read, changed, used, published.
#![cfg(all(feature = "publish", feature = "arm", feature = "tools"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod sandbox_cloud;

use std::sync::Arc;

use entra_auth::{ReqwestTransport, Secret};
use foundry_client::agents::{
    AgentState, ApprovalStatus, EndpointChange, Feature, NewVersion, PromptDefinition, Protocol, SchemeKind,
    WorkflowDefinition,
};
use foundry_client::arm::{ArmClient, BotSpec, OAuthConnectionSpec};
use foundry_client::publish::{ActivityAccess, PublishRequest, PublishScope};
use foundry_client::resource::{ConnectionKind, FilePurpose};
use foundry_client::tools::{ToolError, ToolFunction, ToolLoop, ToolSet};
use foundry_client::{
    CompactResponse, CreateConversation, CreateResponse, Decision, ErrorKind, InputItem, ListAgents, ListConversations,
    ListFiles, ListItems, ListPage, ListResponses, ListVersions, Order, Polling, Resource, ResponseStatus, Target,
};
use m365_sandbox::constants;
use sandbox_cloud::{Cloud, cloud};

fn say(text: &str) -> CreateResponse {
    CreateResponse::new().agent(constants::FOUNDRY_AGENT).text(text)
}

#[tokio::test]
async fn conversations_live_and_die() {
    let cloud = cloud().await;
    let conversations = cloud.client.conversations();
    let made = conversations.create(CreateConversation::new().metadata("k", "v")).await.unwrap();
    assert_eq!(conversations.get(&made.id).await.unwrap().metadata["k"], "v");
    assert_eq!(conversations.update(&made.id, [("k", "w")]).await.unwrap().metadata["k"], "w");
    let items = cloud.client.items(&made.id);
    let texts: Vec<String> = (0..7).map(|n| n.to_string()).collect();
    let added = items.create(texts.iter().map(InputItem::user_text)).await.unwrap();
    let id = added.data[0].id().unwrap();
    assert_eq!(items.get(id).await.unwrap().as_message().unwrap().text(), "0");
    let query = ListItems::new().limit(3).order(Order::Ascending);
    let all = items.list_all(&query).collect().await.unwrap();
    let read: Vec<String> = all.iter().map(|item| item.as_message().unwrap().text()).collect();
    assert_eq!(read, texts, "three pages");
    assert_eq!(items.delete(id).await.unwrap().id, made.id);
    assert_eq!(items.get(id).await.unwrap_err().kind(), ErrorKind::NotFound(Resource::Item));
    let known = conversations.list_all(&ListConversations::new().limit(1)).collect().await.unwrap();
    assert_eq!(known.len(), 1);
    assert!(conversations.delete(&made.id).await.unwrap().deleted);
    assert_eq!(conversations.get(&made.id).await.unwrap_err().kind(), ErrorKind::NotFound(Resource::Conversation));
    cloud.sandbox.stop().await;
}

#[tokio::test]
async fn responses_are_read_listed_resumed_cancelled_and_deleted() {
    let cloud = cloud().await;
    let responses = cloud.client.responses();
    let first = responses.create(say("my name is Ada")).await.unwrap();
    let chained = responses.create(say("who am I?").previous_response_id(&first.id)).await.unwrap();
    assert!(chained.output_text().contains("Ada"), "{}", chained.output_text());
    assert_eq!(responses.get(&chained.id).await.unwrap().output_text(), chained.output_text());
    let history = responses.input_items(&chained.id, &ListItems::new().order(Order::Ascending)).await.unwrap();
    assert_eq!(history.data.len(), 3);
    let query = ListResponses::new().agent_name(constants::FOUNDRY_AGENT).limit(1);
    assert_eq!(responses.list_all(&query).collect().await.unwrap().len(), 2);
    assert!(responses.delete(&first.id).await.unwrap().deleted);
    assert_eq!(responses.get(&first.id).await.unwrap_err().kind(), ErrorKind::NotFound(Resource::Response));

    let mut stream = responses.stream(say("hello").background(true)).await.unwrap();
    let mut numbers = Vec::new();
    while let Some(event) = stream.next().await {
        numbers.push(event.unwrap().sequence_number().unwrap());
    }
    let text = stream.output_text();
    let mut again = responses.resume(stream.response_id().unwrap(), Some(numbers[2])).await.unwrap();
    let mut rest = Vec::new();
    while let Some(event) = again.next().await {
        rest.push(event.unwrap().sequence_number().unwrap());
    }
    assert_eq!((rest.as_slice(), again.output_text()), (&numbers[3..], text));

    let slow = responses.create(CreateResponse::new().agent("hang-agent").text("x").background(true)).await.unwrap();
    assert_eq!(responses.cancel(&slow.id).await.unwrap().status, ResponseStatus::CANCELLED);
    let done = responses.create(say("hello").background(true)).await.unwrap();
    let polling = Polling::default().every(std::time::Duration::from_millis(50));
    assert_eq!(responses.wait(&done.id, polling).await.unwrap().status, ResponseStatus::COMPLETED);
    let request = CompactResponse::new("gpt-4.1").previous_response_id(&chained.id);
    assert_eq!(responses.compact(&request).await.unwrap().output[0].kind().as_str(), "compaction");
    cloud.sandbox.stop().await;
}

#[tokio::test]
async fn agents_are_made_changed_used_and_deleted() {
    let cloud = cloud().await;
    let agents = cloud.client.agents();
    let version = NewVersion::new(PromptDefinition::new("gpt-4.1").instructions("Be short.")).description("first");
    let made = agents.create("my-agent", &version).await.unwrap();
    assert_eq!((made.latest.unwrap().version.as_str(), made.state), ("1", Some(AgentState::ENABLED)));
    assert_eq!(agents.create("my-agent", &version).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(agents.create_version("my-agent", &version).await.unwrap().version, "2");
    assert_eq!(agents.update("my-agent", &version).await.unwrap().latest.unwrap().version, "3");
    assert_eq!(agents.versions_all("my-agent", &ListVersions::new().limit(1)).collect().await.unwrap().len(), 3);
    agents.delete_version("my-agent", "2", false).await.unwrap();
    assert_eq!(agents.version("my-agent", "2").await.unwrap_err().kind(), ErrorKind::NotFound(Resource::Agent));

    // Through the project, and through its own endpoint.
    let request = CreateResponse::new().agent("my-agent").text("my name is Ada");
    assert!(cloud.client.responses().create(request).await.is_ok());
    let own = cloud.client.at(Target::Agent("my-agent".to_owned()));
    let conversation = own.conversations().create(CreateConversation::new()).await.unwrap();
    let request = CreateResponse::new().conversation(conversation.id).text("hello");
    assert_eq!(own.responses().create(request).await.unwrap().agent_reference.unwrap().name, "my-agent");

    agents.disable("my-agent").await.unwrap();
    let request = CreateResponse::new().agent("my-agent").text("hello");
    assert_eq!(cloud.client.responses().create(request).await.unwrap_err().kind(), ErrorKind::Forbidden);
    agents.enable("my-agent").await.unwrap();
    let change = EndpointChange::new().enable(Protocol::ACTIVITY).admit(SchemeKind::BOT_SERVICE_RBAC);
    let endpoint = agents.update_endpoint("my-agent", &change).await.unwrap().endpoint.unwrap();
    assert!(endpoint.speaks(&Protocol::RESPONSES) && endpoint.speaks(&Protocol::ACTIVITY));
    assert!(endpoint.admits(&SchemeKind::ENTRA) && endpoint.admits(&SchemeKind::BOT_SERVICE_RBAC));
    let change = EndpointChange::new().admit(SchemeKind::BOT_SERVICE_TENANT);
    assert!(
        !agents
            .update_endpoint("my-agent", &change)
            .await
            .unwrap()
            .endpoint
            .unwrap()
            .admits(&SchemeKind::BOT_SERVICE_RBAC)
    );

    let workflow = NewVersion::new(WorkflowDefinition::new("kind: workflow"));
    let refused = agents.create_version("flow", &workflow).await.unwrap_err();
    let feature = refused.missing_feature().unwrap();
    assert_eq!((refused.kind(), &feature), (ErrorKind::PreviewRequired, &Feature::WORKFLOW_AGENTS));
    assert!(cloud.client.with_feature(feature).agents().create_version("flow", &workflow).await.is_ok());
    let flows = agents.list_all(&ListAgents::new().kind("workflow")).collect().await.unwrap();
    assert_eq!(flows.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), ["flow"]);
    assert!(agents.list_all(&ListAgents::new().limit(100)).collect().await.unwrap().len() > 40);
    assert!(agents.delete("my-agent", true).await.unwrap().deleted);
    assert_eq!(agents.get("my-agent").await.unwrap_err().kind(), ErrorKind::NotFound(Resource::Agent));
    cloud.sandbox.stop().await;
}

#[tokio::test]
async fn an_agent_gets_its_azure_bot_and_is_published() {
    let cloud = cloud().await;
    let agents = cloud.client.agents();
    let version = NewVersion::new(PromptDefinition::new("gpt-4.1"));
    agents.create("helpdesk", &version).await.unwrap();
    let app_id = agents.get("helpdesk").await.unwrap().bot_app_id().unwrap().to_owned();

    let arm = ArmClient::builder("sub", "rg")
        .address(format!("{}/foundry/arm", cloud.sandbox.base_url()))
        .scopes("https://ai.azure.com/.default".parse().unwrap())
        .credential(Arc::clone(&cloud.credential))
        .transport(Arc::new(ReqwestTransport::new().unwrap()))
        .build()
        .unwrap();
    let endpoint = BotSpec::agent_endpoint("https://acme.services.ai.azure.com/api/projects/demo", "helpdesk");
    let spec = BotSpec::new("Helpdesk", endpoint, app_id, constants::RESOURCE_TENANT);
    assert_eq!(arm.provider_state().await.unwrap(), "NotRegistered");
    assert_eq!(arm.put_bot("bot", &spec).await.unwrap_err().kind(), ErrorKind::Conflict);
    arm.register_provider().await.unwrap();
    assert!(arm.check_bot_name("bot").await.unwrap().valid);
    assert!(arm.bot("bot").await.unwrap().is_none());
    let bot = arm.put_bot("bot", &spec).await.unwrap();
    assert_eq!(arm.put_bot("bot", &spec).await.unwrap().id, bot.id);
    assert_eq!(arm.bot("bot").await.unwrap().unwrap().id, bot.id);
    assert!(!arm.check_bot_name("bot").await.unwrap().valid);
    arm.put_teams_channel("bot").await.unwrap();
    let provider = arm.auth_providers().await.unwrap().remove(0);
    let connection = OAuthConnectionSpec::of(&provider, "client", Secret::new("marker"), "User.Read");
    let kept = arm.put_connection("bot", "sso", &connection.token_exchange_url("api://botid-client")).await.unwrap();
    assert!(!kept.properties.as_str().contains("marker"));
    let nowhere = OAuthConnectionSpec::entra("t", "c", Secret::new("s"), "User.Read");
    let error = arm.put_connection("none", "sso", &nowhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound(Resource::AzureResource));

    let m365 = cloud.client.microsoft365();
    m365.enable_activity("helpdesk", &ActivityAccess::with_role()).await.unwrap();
    let request = PublishRequest::new(PublishScope::TENANT).bot_service_arm_id(&bot.id);
    let first = request.clone().with_defaults(&m365.defaults("helpdesk").await.unwrap());
    assert_eq!(&m365.package("helpdesk", &first).await.unwrap()[..4], b"PK\x05\x06");
    let published = m365.publish("helpdesk", &first).await.unwrap();
    assert!(published.title_id.is_some() && published.teams_app_id.is_some());
    assert_eq!(m365.approval_status("helpdesk").await.unwrap(), Some(ApprovalStatus::PENDING));
    // Publishing chose who may talk.
    let endpoint = agents.get("helpdesk").await.unwrap().endpoint.unwrap();
    assert!(endpoint.admits(&SchemeKind::BOT_SERVICE_TENANT) && !endpoint.admits(&SchemeKind::BOT_SERVICE_RBAC));
    let error = m365.publish("helpdesk", &first).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidRequest, Some("UserError")));
    let next = request.with_defaults(&m365.defaults("helpdesk").await.unwrap());
    assert_eq!(m365.publish("helpdesk", &next).await.unwrap(), published);
    m365.unpublish("helpdesk").await.unwrap();
    assert_eq!(m365.approval_status("helpdesk").await.unwrap(), Some(ApprovalStatus::NOT_PUBLISHED));
    cloud.sandbox.stop().await;
}

#[tokio::test]
async fn the_rest_of_the_project_is_read() {
    let Cloud { client, sandbox, .. } = cloud().await;
    let file = client.files().upload("faq.txt", &FilePurpose::ASSISTANTS, b"\r\n--a question\x00").await.unwrap();
    assert_eq!((file.filename.as_deref(), file.bytes), (Some("faq.txt"), Some(15)));
    assert_eq!(&client.files().content(&file.id).await.unwrap()[..], b"\r\n--a question\x00");
    assert_eq!(client.files().list_all(&ListFiles::new().purpose("assistants")).collect().await.unwrap().len(), 1);
    let store = client.vector_stores().create("faq", &[&file.id]).await.unwrap();
    assert_eq!(client.vector_stores().get(&store.id).await.unwrap().name.as_deref(), Some("faq"));
    assert!(client.vector_stores().delete(&store.id).await.unwrap().deleted);
    assert!(client.files().delete(&file.id).await.unwrap().deleted);
    assert_eq!(client.files().get(&file.id).await.unwrap_err().kind(), ErrorKind::NotFound(Resource::File));

    assert_eq!(client.connections().list_all().collect().await.unwrap().len(), 3, "three pages by link");
    let search = client.connections().list_kind(&ConnectionKind::COGNITIVE_SEARCH, false).collect().await.unwrap();
    assert_eq!(search.len(), 2);
    assert!(client.connections().get("search").await.unwrap().credentials.unwrap().secrets.is_empty());
    let secrets = client.connections().get_with_credentials("search").await.unwrap().credentials.unwrap();
    assert_eq!(secrets.secrets["key"].expose(), "a-key-of-the-sandbox");
    assert_eq!(client.deployments().list_all().collect().await.unwrap()[0].name, "gpt-4.1");
    assert_eq!(client.deployments().get("gpt-4.1").await.unwrap().model_publisher.as_deref(), Some("OpenAI"));
    assert_eq!(client.memory_stores().list(&ListPage::new()).await.unwrap().data[0].name, "memory");
    let found = client.memory_stores().search("memory", "user", &[InputItem::user_text("x")], Some(1)).await.unwrap();
    assert_eq!(found.memories.len(), 1);
    assert!(client.memory_stores().delete_scope("memory", "user").await.unwrap().deleted);
    assert_eq!(client.toolboxes().get("toolbox").await.unwrap().default_version.as_deref(), Some("1"));
    assert_eq!(client.toolboxes().version("toolbox", "1").await.unwrap().tools[0].kind().as_str(), "mcp");
    sandbox.stop().await;
}

#[tokio::test]
async fn functions_approvals_and_sign_ins_go_their_way() {
    let Cloud { client, sandbox, .. } = cloud().await;
    let weather = ToolFunction::new("get_weather", "The weather", serde_json::json!({"type": "object"}), async |_| {
        Ok::<_, ToolError>(serde_json::json!({"sky": "grey as slate"}))
    });
    let functions = ToolSet::new().with(weather.unwrap());
    let conversation = client.conversations().create(CreateConversation::new()).await.unwrap();
    let ask = |agent: &str| CreateResponse::new().agent(agent).conversation(&conversation.id).text("weather?");
    let outcome = ToolLoop::new(&client, &functions).run(ask("function-agent")).await.unwrap();
    assert!(outcome.response.output_text().contains("grey as slate"), "{}", outcome.response.output_text());

    let waiting = ToolLoop::new(&client, &functions).run(ask("approval-agent")).await.unwrap();
    let approval = waiting.approvals().remove(0);
    let next = waiting.follow_up([approval.decide(Decision::Approve)]);
    assert!(!client.responses().create(next).await.unwrap().output_text().is_empty());

    let fresh = client.conversations().create(CreateConversation::new()).await.unwrap();
    let consent = CreateResponse::new().agent("consent-agent").conversation(&fresh.id).text("x");
    let waiting = client.responses().create(consent).await.unwrap();
    assert!(waiting.consent_requests()[0].link.starts_with("https://"));

    // A call without a result poisons; the next turn of the user is answered, with the history kept.
    let poisoned = client.conversations().create(CreateConversation::new()).await.unwrap();
    let in_it = |agent: &str, text: &str| CreateResponse::new().agent(agent).conversation(&poisoned.id).text(text);
    client.responses().create(in_it(constants::FOUNDRY_AGENT, "my name is Ada")).await.unwrap();
    client.responses().create(in_it("function-agent", "weather?")).await.unwrap();
    let error = client.responses().create(in_it(constants::FOUNDRY_AGENT, "who am I?")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConversationPoisoned);
    let healed = client.responses().create_healing(in_it(constants::FOUNDRY_AGENT, "who am I?")).await.unwrap();
    assert!(healed.answer.output_text().contains("Ada"), "{}", healed.answer.output_text());
    assert_ne!(healed.replaced.unwrap().id, poisoned.id);
    sandbox.stop().await;
}
