//! What the resources of a project look like. All members but the identifying ones may be missing.

use std::collections::BTreeMap;
use std::fmt;

use entra_auth::Secret;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::object::{Read, by_text, read_object, readable, slots};
use crate::raw::RawJson;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What a file is for.
    FilePurpose {
        /// For agents and their tools.
        ASSISTANTS = "assistants",
        /// Made by an agent.
        ASSISTANTS_OUTPUT = "assistants_output",
        /// Anything a user brings.
        USER_DATA = "user_data",
        /// Pictures.
        VISION = "vision",
        /// Batches.
        BATCH = "batch",
        /// Fine-tuning.
        FINE_TUNE = "fine-tune",
        /// Evaluations.
        EVALS = "evals",
    }
}

macro_rules! resources {
    ($($(#[$meta:meta])* $name:ident by $id:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty $(=> $with:ident)? $(as $wire:literal)?,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct $name {
            #[doc = concat!("Its ", stringify!($id), ".")]
            pub $id: String,
            $($(#[$field_meta])* pub $field: $ty,)*
            raw: RawJson,
        }

        impl $name {
            /// The JSON as received.
            #[must_use]
            pub fn raw(&self) -> &RawJson {
                &self.raw
            }
        }

        impl Read<'_> for $name {
            fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
                let mut it = Self { $id: String::new(), $($field: Default::default(),)* raw: RawJson::copied(json) };
                read_object(json.get(), slots![it; $id => must, $($field $(=> $with)? $(as $wire)?),*])
                    .map_err(|_| serde::de::Error::custom(concat!("not a ", stringify!($name))))?;
                Ok(it)
            }
        }

        by_text!($name);
    )*};
}

resources! {
    /// A file. Shape: <https://platform.openai.com/docs/api-reference/files/object>.
    File by id {
        /// Its name.
        filename: Option<String> => text,
        /// Its size in bytes.
        bytes: Option<u64> => int,
        /// What it is for.
        purpose: Option<FilePurpose>,
        /// When it came, in seconds since 1970.
        created_at: Option<i64> => time,
        /// For example `processed`.
        status: Option<String> => text,
    }

    /// A vector store. Shape: <https://platform.openai.com/docs/api-reference/vector-stores/object>.
    VectorStore by id {
        /// Its name.
        name: Option<String> => text,
        /// `in_progress`, `completed` or `expired`.
        status: Option<String> => text,
        /// When it was made, in seconds since 1970.
        created_at: Option<i64> => time,
        /// Its size in bytes.
        usage_bytes: Option<u64> => int,
        /// How many files are how far.
        file_counts: Option<RawJson>,
    }

    /// A model deployment.
    Deployment by name {
        /// The model.
        model_name: Option<String> => text as "modelName",
        /// Its version.
        model_version: Option<String> => code as "modelVersion",
        /// Who made it.
        model_publisher: Option<String> => text as "modelPublisher",
        /// For example `ModelDeployment`.
        kind: Option<String> => text as "type",
        /// The connection it is reached through.
        connection_name: Option<String> => text as "connectionName",
        /// What it can do.
        capabilities: Option<RawJson>,
        /// Size and price.
        sku: Option<RawJson>,
    }

    /// A memory store.
    MemoryStore by name {
        /// Its id.
        id: Option<String> => text,
        /// For people.
        description: Option<String> => text,
        /// Models and options.
        definition: Option<RawJson>,
    }

    /// Something that a memory store remembers.
    MemoryItem by memory_id {
        /// Whose it is, mostly a user.
        scope: Option<String> => text,
        /// What it is about.
        kind: Option<MemoryKind>,
        /// What is remembered. Personal: keep it out of logs.
        content: Option<String> => text,
        /// When it was written, in seconds since 1970.
        updated_at: Option<i64> => time,
    }

    /// The sandbox of a hosted agent.
    AgentSession by agent_session_id {
        /// How it is.
        status: Option<SessionStatus>,
        /// Which version of the agent runs in it.
        version_indicator: Option<RawJson>,
        /// When it was made, in seconds since 1970.
        created_at: Option<i64> => time,
        /// When it was used last, in seconds since 1970.
        last_accessed_at: Option<i64> => time,
        /// When it will be gone, in seconds since 1970.
        expires_at: Option<i64> => time,
    }

    /// A file or folder in a sandbox.
    SessionFile by name {
        /// Its size in bytes.
        size: Option<u64> => int,
        /// Whether it is a folder.
        is_directory: bool => null,
    }

    /// A file that was written into a sandbox.
    SessionFileWritten by path {
        /// How much was written.
        bytes_written: Option<u64> => int,
    }

    /// What becomes of an update of a memory store.
    MemoryUpdate by update_id {
        /// How far it is.
        status: Option<UpdateStatus>,
        /// The later update that took its place.
        superseded_by: Option<String> => text,
        /// What was remembered, when it is completed: `memory_operations` and `usage`.
        result: Option<RawJson>,
        /// Why it failed. May quote the conversation.
        error: Option<RawJson>,
    }

    /// A toolbox.
    Toolbox by name {
        /// Its id.
        id: Option<String> => text,
        /// The version that is used when none is named.
        default_version: Option<String> => code,
        /// Its versions, as far as the service shows them.
        versions: Option<RawJson>,
    }

    /// A version of a toolbox.
    ToolboxVersion by version {
        /// The toolbox.
        name: Option<String> => text,
        /// For people.
        description: Option<String> => text,
        /// Its tools.
        tools: Vec<crate::tool::Tool> => null,
    }
}

vocabulary! {
    /// What a memory is about.
    MemoryKind {
        /// Facts about a user.
        USER_PROFILE = "user_profile",
        /// What a conversation was about.
        CHAT_SUMMARY = "chat_summary",
        /// How something is done.
        PROCEDURAL = "procedural",
    }
}

vocabulary! {
    /// How far an update of a memory store is.
    UpdateStatus {
        /// It waits.
        QUEUED = "queued",
        /// It runs.
        IN_PROGRESS = "in_progress",
        /// It is done.
        COMPLETED = "completed",
        /// It failed.
        FAILED = "failed",
        /// A later one took its place.
        SUPERSEDED = "superseded",
    }
}

impl MemoryUpdate {
    /// Whether it will still change.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.status.as_ref().is_some_and(|now| [UpdateStatus::QUEUED, UpdateStatus::IN_PROGRESS].contains(now))
    }
}

vocabulary! {
    /// How the sandbox of a hosted agent is.
    SessionStatus {
        /// Being made.
        CREATING = "creating",
        /// It runs.
        ACTIVE = "active",
        /// It rests; the next request wakes it.
        IDLE = "idle",
        /// Being changed.
        UPDATING = "updating",
        /// It does not work and has to be deleted.
        FAILED = "failed",
        /// Being deleted.
        DELETING = "deleting",
        /// Gone.
        DELETED = "deleted",
        /// Unused for too long.
        EXPIRED = "expired",
    }
}

vocabulary! {
    /// What a connection leads to.
    ConnectionKind {
        /// Azure OpenAI.
        AZURE_OPENAI = "AzureOpenAI",
        /// Blobs.
        AZURE_BLOB = "AzureBlob",
        /// A storage account.
        AZURE_STORAGE_ACCOUNT = "AzureStorageAccount",
        /// Azure AI Search.
        COGNITIVE_SEARCH = "CognitiveSearch",
        /// Cosmos DB.
        COSMOS_DB = "CosmosDB",
        /// Anything with a key.
        API_KEY = "ApiKey",
        /// App Configuration.
        APP_CONFIG = "AppConfig",
        /// Application Insights.
        APP_INSIGHTS = "AppInsights",
        /// Keys of the application.
        CUSTOM_KEYS = "CustomKeys",
        /// A remote tool.
        REMOTE_TOOL = "RemoteTool_Preview",
        /// An interface described by OpenAPI.
        OPENAPI = "OpenAPI",
        /// A remote agent.
        REMOTE_A2A = "RemoteA2A",
    }
}

/// A connection of the project. Keeps no raw JSON: it may hold secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Option<String>,
    /// What it leads to.
    pub kind: Option<ConnectionKind>,
    /// The address it leads to.
    pub target: Option<String>,
    /// Whether it is the default of its kind.
    pub is_default: bool,
    /// How it signs in. The secrets are there only after `get_with_credentials`.
    pub credentials: Option<ConnectionCredentials>,
    /// Pairs of the service.
    pub metadata: Map<String, Value>,
}

/// How a connection signs in.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConnectionCredentials {
    /// `ApiKey`, `AAD`, `SAS`, `CustomKeys`, `None`, `AgenticIdentityToken_Preview`.
    pub kind: String,
    /// Everything else: `key`, `SAS`, or the keys of the application by their names.
    pub secrets: BTreeMap<String, Secret>,
}

readable! {
    Connection {
        name => must, id => text, kind as "type", target => text, is_default => null as "isDefault", credentials,
        metadata => null
    }
    Memories { search_id => text, memories => null }
}

by_text!(ConnectionCredentials);

impl Read<'_> for ConnectionCredentials {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let mut members: Map<String, Value> = Read::read(json)?;
        let kind = members.remove("type").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        let mut secrets = BTreeMap::new();
        for (name, value) in members {
            if let Value::String(text) = value {
                secrets.insert(name, Secret::new(text));
            }
        }
        Ok(Self { kind, secrets })
    }
}

/// Names only.
impl fmt::Debug for ConnectionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.secrets.keys().collect();
        f.debug_struct("ConnectionCredentials").field("kind", &self.kind).field("secrets", &names).finish()
    }
}

/// What was found in a memory store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Memories {
    /// The search, to go on with after the next message.
    pub search_id: Option<String>,
    /// What was found; `memory_item` in each.
    pub memories: Vec<RawJson>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_connection_shows_names_of_secrets_only() {
        let connection: Connection = serde_json::from_value(json!({
            "name": "c", "id": "i", "type": "CustomKeys", "target": "_", "isDefault": true, "metadata": {},
            "credentials": {"type": "CustomKeys", "jira": "marker", "n": 5}
        }))
        .unwrap();
        let credentials = connection.credentials.as_ref().unwrap();
        assert_eq!((credentials.kind.as_str(), credentials.secrets["jira"].expose()), ("CustomKeys", "marker"));
        let shown = format!("{connection:?}");
        assert!(shown.contains("jira") && !shown.contains("marker"), "{shown}");
    }
}
