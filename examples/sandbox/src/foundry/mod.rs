//! The Foundry side of the sandbox: one project with conversations, responses and agents, as raw JSON from the wire
//! reference.
//!
//! Two bases below `/foundry`, as in the cloud. `/api/projects/{project}/openai/v1` needs `agent_reference` (or a model) in the body and
//! takes no `api-version`; `/api/projects/{project}/agents/{agent}/endpoint/protocols/openai` has the agent in the
//! path and needs `api-version=v1`, as `GET /api/projects/{project}/agents[/{agent}]` does.
//!
//! Agents can be made, changed, published; below `/foundry/arm` is the part of Resource Manager that makes an Azure Bot.
//! They can come from a manifest of the catalogue ([`sources`]) or from code. A hosted agent has sessions with files and
//! a log ([`sessions`]); they belong to the caller that began them. Memory stores can be made, and learn what they are
//! told ([`memory_updates`]). There are files, vector stores, connections, a deployment and a toolbox.
//!
//! # Agents
//!
//! An agent that was made answers like the default one. Each agent has version `1`. The default agent answers from the stored conversation. A message to it that begins
//! with `sandbox:NAME` gets the behaviour of agent NAME for that one turn.
//!
//! | agent | what it does |
//! | --- | --- |
//! | the default, `hosted-agent` | recalls what the user told ("my name is X", "my K is V", "remember that …"); names pictures and files with their type and size |
//! | `slow-agent`, `hosted-slow-agent` | a pause (300 ms, or `structured_inputs.delay_ms`) and a comment before each delta |
//! | `hang-agent`, `hosted-hang-agent` | two events, then nothing for ever |
//! | `silent-agent` | not even a status line |
//! | `error-flat-agent` | half an answer, then `error` with flat members |
//! | `error-nested-agent` | half an answer, then `error` with an `error` object |
//! | `error-bare-agent` | half an answer, then a frame without type that has an `error` object |
//! | `failed-agent`, `hosted-failed-agent` | half an answer, then `response.failed` |
//! | `truncated-agent` | half an answer, then the connection breaks; the response is stored as completed |
//! | `ends-early-agent` | the same, but the body ends properly |
//! | `dropped-agent` | half an answer, then the connection breaks; the answer goes on, and who resumes gets the rest |
//! | `unclosed-agent` | the terminal event lacks its blank line |
//! | `unknown-event-agent` | event types nobody knows between the known ones |
//! | `unknown-item-agent` | an output item of an unknown type before the message |
//! | `workflow-agent` | a `workflow_action` item before the message |
//! | `reasoning-agent` | a `reasoning` item before the message |
//! | `citation-agent` | a message with a `url_citation` and a `file_citation` |
//! | `refusal-agent` | a refusal part |
//! | `incomplete-agent` | `response.incomplete` for `max_output_tokens` |
//! | `content-filter-agent` | `response.incomplete` for `content_filter` |
//! | `function-agent` | calls `get_weather`; cites the `function_call_output`; without one the conversation is poisoned |
//! | `approval-agent` | asks for an MCP approval; obeys the answer |
//! | `consent-agent`, `hosted-consent-agent` | `oauth_consent_request`, ends as incomplete; answers the next turn |
//! | `consent-completed-agent` | the early form: the item has no `done`, the response ends as completed |
//! | `big-agent` | one delta of 4 MiB, or of `structured_inputs.bytes`, at most 16 MiB |
//! | `done-agent` | `data: [DONE]` after the end |
//! | `json-agent` | ignores `stream` and answers with JSON |
//! | `gap-agent` | sequence numbers jump, one event comes twice |
//! | `crlf-agent`, `cr-agent` | a byte order mark; lines end with CR LF, or with CR |
//! | `multiline-agent` | the JSON of an event in several `data:` lines |
//! | `split-agent` | chunks of one to seven bytes |
//! | `lost-agent` | the work is done and stored, the answer is a bare 503 |
//! | `throttled-agent`, `throttled-once-agent` | 429 with `Retry-After: 1`, always or the first time |
//! | `gateway-throttled-agent` | 429 in the form of API Management |
//! | `unavailable-agent`, `unavailable-once-agent` | a bare 503, always or the first time |
//! | `server-error-agent`, `html-agent`, `timed-out-agent`, `not-ready-agent` | 500; 502 with HTML; 408; 424 |
//! | `preview-agent` | 403 `preview_feature_required` without its `Foundry-Features` |

mod agents;
mod arm;
mod brain;
mod conversations;
mod create;
mod error;
mod form;
mod http;
mod ids;
mod items;
mod memory;
mod memory_items;
mod memory_updates;
mod microsoft365;
mod plays;
mod registry;
mod request;
mod resources;
mod responses;
mod run;
mod script;
mod session_files;
mod sessions;
mod sources;
mod sse;
mod store;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::{Arc, Mutex, MutexGuard};

use ::http::HeaderMap;
use axum::Router;
use axum::routing::{get, post};

use crate::clock::Clock;
use crate::state::lock;
use crate::tokens::{Caller, Refusal};
use store::Store;

/// Judges the bearer of a request.
pub(crate) type Authorize = Arc<dyn Fn(&HeaderMap) -> Result<Caller, Refusal> + Send + Sync>;

/// What the rest of the sandbox decides.
#[derive(Clone)]
pub(crate) struct Config {
    /// Scheme, host and port, without a slash at the end.
    pub(crate) base_url: String,
    /// Who may call, and who that is.
    pub(crate) authorize: Authorize,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

/// The routes below `/foundry`, with a project that holds nothing yet.
pub(crate) fn router(config: Config) -> Router {
    let foundry = Arc::new(Foundry { config, clock: Clock::default(), store: Mutex::default() });
    let project = Router::new()
        .nest("/openai/v1", openai())
        .nest("/agents/{endpoint_agent}/endpoint/protocols/openai", openai())
        .route("/agents", get(registry::list).post(registry::create))
        .route(
            "/agents/{agent}",
            get(registry::get).post(registry::update).patch(registry::patch).delete(registry::delete),
        )
        .route("/agents/{agent}/versions", get(registry::versions).post(registry::create_version))
        .route("/agents/{agent}/versions/{version}", get(registry::version).delete(registry::delete_version))
        .route("/agents:import", post(sources::import))
        .route("/agents/{agent}/import", post(sources::import_update))
        .route("/agents/{agent}/versions:import", post(sources::import_version))
        .route("/agents/{agent}/code:download", get(sources::download))
        .route("/agents/{agent}/endpoint/sessions", get(sessions::list).post(sessions::create))
        .route(
            "/agents/{agent}/endpoint/sessions/{session}",
            get(sessions::get).post(sessions::verb).delete(sessions::delete),
        )
        .route(
            "/agents/{agent}/endpoint/sessions/{session}/files",
            get(session_files::list).delete(session_files::delete),
        )
        .route(
            "/agents/{agent}/endpoint/sessions/{session}/files/content",
            get(session_files::download).put(session_files::upload),
        )
        .route("/agents/{agent}/versions/{version}/sessions/{session}", get(sessions::logs))
        .route("/agents/{agent}/microsoft365/publishdefaults", get(microsoft365::defaults))
        .route("/agents/{agent}/microsoft365/publish", post(microsoft365::publish))
        .route("/agents/{agent}/microsoft365/zip", post(microsoft365::package))
        .route("/agents/{agent}/microsoft365/unpublish", post(microsoft365::unpublish))
        .route("/connections", get(resources::connections))
        .route("/connections/{connection}", get(resources::get_connection))
        .route("/connections/{connection}/getConnectionWithCredentials", post(resources::connection_secrets))
        .route("/deployments", get(resources::deployments))
        .route("/deployments/{deployment}", get(resources::get_deployment))
        .route("/memory_stores", get(memory::list).post(memory::create))
        .route("/memory_stores/{memory}", get(memory::get).post(memory::post).delete(memory::delete))
        .route("/memory_stores/{memory}/updates/{update}", get(memory_updates::get))
        .route("/memory_stores/{memory}/items", post(memory_items::create))
        .route("/memory_stores/{memory}/items:list", post(memory_items::list))
        .route(
            "/memory_stores/{memory}/items/{item}",
            get(memory_items::get).post(memory_items::update).delete(memory_items::delete),
        )
        .route("/toolboxes", get(resources::toolboxes))
        .route("/toolboxes/{toolbox}", get(resources::get_toolbox))
        .route("/toolboxes/{toolbox}/versions/{version}", get(resources::toolbox_version));
    let bots = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.BotService/botServices/{bot}";
    let arm = Router::new()
        .route("/subscriptions/{subscription}/providers/Microsoft.BotService", get(arm::provider))
        .route("/subscriptions/{subscription}/providers/Microsoft.BotService/register", post(arm::register))
        .route(
            "/subscriptions/{subscription}/providers/Microsoft.BotService/listAuthServiceProviders",
            post(arm::auth_providers),
        )
        .route("/providers/Microsoft.BotService/checkNameAvailability", post(arm::check_name))
        .route(bots, get(arm::get).put(arm::put))
        .route(&format!("{bots}/channels/{{channel}}"), get(arm::get).put(arm::put))
        .route(&format!("{bots}/connections/{{connection}}"), get(arm::get).put(arm::put));
    let account = Router::new()
        .nest("/api/projects/{project}", project)
        .nest("/arm", arm)
        .fallback(http::no_route)
        .method_not_allowed_fallback(http::no_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&foundry), http::front_door))
        .with_state(foundry);
    Router::new().nest("/foundry", account)
}

/// The project.
#[derive(Debug)]
pub(crate) struct Foundry {
    config: Config,
    clock: Clock,
    store: Mutex<Store>,
}

impl Foundry {
    /// The state. Never held over an await.
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }
}

fn openai() -> Router<Arc<Foundry>> {
    Router::new()
        .route("/conversations", post(conversations::create).get(conversations::list))
        .route(
            "/conversations/{conversation}",
            get(conversations::get).post(conversations::update).delete(conversations::delete),
        )
        .route("/conversations/{conversation}/items", get(conversations::list_items).post(conversations::create_items))
        .route(
            "/conversations/{conversation}/items/{item}",
            get(conversations::get_item).delete(conversations::delete_item),
        )
        .route("/responses", post(create::create).get(responses::list))
        .route("/responses/compact", post(resources::compact))
        .route("/files", get(resources::files).post(resources::upload))
        .route("/files/{file}", get(resources::get_file).delete(resources::delete_file))
        .route("/files/{file}/content", get(resources::file_content))
        .route("/vector_stores", get(resources::vector_stores).post(resources::create_vector_store))
        .route("/vector_stores/{store}", get(resources::get_vector_store).delete(resources::delete_vector_store))
        .route("/responses/{response}", get(responses::get).delete(responses::delete))
        .route("/responses/{response}/cancel", post(responses::cancel))
        .route("/responses/{response}/input_items", get(responses::input_items))
}
