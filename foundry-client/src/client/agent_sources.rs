//! Agents made of something that lies ready: a manifest, or code.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde::Serialize;
use serde_json::Value;

use crate::agents::{Agent, AgentVersion};
use crate::client::about::about;
use crate::client::agents::{Agents, NewVersion};
use crate::client::call::Call;
use crate::client::classify::Operation;
use crate::client::error::{Error, Resource};
use crate::client::form::{Part, form};

/// The largest archive that the service takes, bytes.
const LARGEST_ARCHIVE: usize = 250_000_000;

/// A manifest of the catalogue, with values for its parameters.
///
/// ```
/// # use foundry_client::agents::FromManifest;
/// let helpdesk = FromManifest::new("helpdesk-template").parameter("tone", "friendly".into());
/// ```
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct FromManifest {
    manifest_id: String,
    parameter_values: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl FromManifest {
    /// The manifest with this id, without values.
    pub fn new(manifest_id: impl Into<String>) -> Self {
        Self {
            manifest_id: manifest_id.into(),
            parameter_values: BTreeMap::new(),
            description: None,
            metadata: BTreeMap::new(),
        }
    }

    /// A value for a parameter of the manifest.
    pub fn parameter(mut self, name: impl Into<String>, value: Value) -> Self {
        self.parameter_values.insert(name.into(), value);
        self
    }
}

about!(FromManifest);

/// The code of a hosted agent: a zip of at most 250 MB, and the SHA-256 of its bytes.
#[derive(Clone)]
pub struct CodeArchive {
    zip: Bytes,
    sha256: String,
}

impl CodeArchive {
    /// This archive. The service compares the digest with what arrives, and sees by it whether the code has changed.
    #[must_use]
    pub fn new(zip: impl Into<Bytes>, sha256: [u8; 32]) -> Self {
        let mut text = String::with_capacity(64);
        for byte in sha256 {
            let _ = write!(text, "{byte:02x}");
        }
        Self { zip: zip.into(), sha256: text }
    }
}

/// Size and digest only.
impl fmt::Debug for CodeArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeArchive").field("bytes", &self.zip.len()).field("sha256", &self.sha256).finish()
    }
}

impl Agents {
    /// Makes an agent from a manifest. `POST {project}/agents:import`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind): [`Conflict`](crate::ErrorKind::Conflict) when the name is taken. Repeated
    /// only when the service did not act.
    pub async fn import(&self, name: &str, manifest: &FromManifest) -> Result<Agent, Error> {
        #[derive(Serialize)]
        struct Named<'a> {
            name: &'a str,
            #[serde(flatten)]
            manifest: &'a FromManifest,
        }
        let operation = Operation::Plain("import_agent", Resource::Project);
        let call = self.shared().foundry(operation, Method::POST, &["agents:import"])?;
        self.shared().fetch(call.json(&Named { name, manifest })?).await
    }

    /// Makes a new version from a manifest and returns the agent. `POST {project}/agents/{name}/import`.
    ///
    /// # Errors
    ///
    /// As [`import`](Self::import).
    pub async fn update_from_manifest(&self, name: &str, manifest: &FromManifest) -> Result<Agent, Error> {
        let call = self.source("import_agent_update", Method::POST, &["agents", name, "import"])?;
        self.shared().fetch(call.json(manifest)?).await
    }

    /// Makes a new version from a manifest. `POST {project}/agents/{name}/versions:import`.
    ///
    /// # Errors
    ///
    /// As [`import`](Self::import).
    pub async fn create_version_from_manifest(
        &self,
        name: &str,
        manifest: &FromManifest,
    ) -> Result<AgentVersion, Error> {
        let call = self.source("import_agent_version", Method::POST, &["agents", name, "versions:import"])?;
        self.shared().fetch(call.json(manifest)?).await
    }

    /// Makes a new version of a hosted agent from code. Its definition has a `code_configuration` and no container.
    ///
    /// `POST {project}/agents/{name}/versions` as a form: `metadata`, then `code`. The archive is sent as a whole, so give
    /// the client [limits](crate::FoundryClient::with_limits) that fit a large one.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind); [`InvalidRequest`](crate::ErrorKind::InvalidRequest) without sending anything
    /// for an archive that is empty or too large. Repeated only when the service did not act.
    pub async fn create_version_from_code(
        &self,
        name: &str,
        version: &NewVersion,
        code: &CodeArchive,
    ) -> Result<AgentVersion, Error> {
        if code.zip.is_empty() || code.zip.len() > LARGEST_ARCHIVE {
            return Err(Error::misuse("the code of an agent is a zip of at most 250 MB"));
        }
        let metadata =
            serde_json::to_vec(&version.body(None)).map_err(|_| Error::misuse("the definition is no JSON"))?;
        let (kind, body) = form(&[
            Part { name: "metadata", filename: None, media_type: Some("application/json"), content: &metadata },
            Part { name: "code", filename: Some("code.zip"), media_type: Some("application/zip"), content: &code.zip },
        ])?;
        let digest = HeaderValue::try_from(&code.sha256).map_err(|_| Error::misuse("the digest is a header value"))?;
        let call = self.source("create_agent_version_from_code", Method::POST, &["agents", name, "versions"])?;
        self.shared().fetch(call.bytes(kind, body).header("x-ms-code-zip-sha256", digest)).await
    }

    /// Reads the code of an agent, at most as much as [`Limits::body`](crate::Limits::body); of its newest version when
    /// none is named. `GET {project}/agents/{name}/code:download`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn download_code(&self, name: &str, version: Option<&str>) -> Result<Bytes, Error> {
        let call = self.source("download_agent_code", Method::GET, &["agents", name, "code:download"])?;
        let call = call.query(version.map(|version| ("agent_version", version))).accept("application/zip");
        let reply = self.shared().done(call).await?;
        Ok(reply.body.as_bytes().cloned().unwrap_or_default())
    }

    fn source(&self, name: &'static str, method: Method, path: &[&str]) -> Result<Call, Error> {
        self.shared().foundry(Operation::Plain(name, Resource::Agent), method, path)
    }
}
