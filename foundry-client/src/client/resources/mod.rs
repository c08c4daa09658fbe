//! Files, vector stores, connections, deployments, memory stores, toolboxes.

mod memory;
pub(crate) mod types;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use crate::client::Shared;
use crate::client::call::Call;
use crate::client::classify::Operation;
use crate::client::error::{Error, Resource};
use crate::client::form::{Part, form};
use crate::client::lists::{ListFiles, ListPage};
use crate::client::page::Paged;
use crate::conversation::{Deleted, Page};
pub use memory::{NewMemoryStore, Remember};
use types::{Connection, Deployment, File, FilePurpose, Toolbox, ToolboxVersion, VectorStore};

macro_rules! handles {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $name(pub(crate) Arc<Shared>);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

handles! {
    /// Files of the project; from [`FoundryClient::files`](crate::FoundryClient::files).
    ///
    /// <https://platform.openai.com/docs/api-reference/files>. All errors are told by their
    /// [`ErrorKind`](crate::ErrorKind); reads are repeated.
    Files;
    /// Vector stores of the project; from [`FoundryClient::vector_stores`](crate::FoundryClient::vector_stores).
    ///
    /// <https://platform.openai.com/docs/api-reference/vector-stores>. All errors are told by their
    /// [`ErrorKind`](crate::ErrorKind); reads are repeated.
    VectorStores;
    /// Connections of the project; from [`FoundryClient::connections`](crate::FoundryClient::connections).
    ///
    /// <https://learn.microsoft.com/azure/ai-foundry/how-to/connections-add>. All errors are told by their
    /// [`ErrorKind`](crate::ErrorKind); reads are repeated.
    Connections;
    /// Model deployments of the project; from [`FoundryClient::deployments`](crate::FoundryClient::deployments).
    ///
    /// All errors are told by their [`ErrorKind`](crate::ErrorKind); reads are repeated.
    Deployments;
    /// Memory stores of the project; from [`FoundryClient::memory_stores`](crate::FoundryClient::memory_stores).
    ///
    /// A preview; the calls opt in by themselves. All errors are told by their [`ErrorKind`](crate::ErrorKind).
    MemoryStores;
    /// Toolboxes of the project; from [`FoundryClient::toolboxes`](crate::FoundryClient::toolboxes).
    ///
    /// All errors are told by their [`ErrorKind`](crate::ErrorKind); reads are repeated.
    Toolboxes;
}

const fn named(name: &'static str, resource: Resource) -> Operation {
    Operation::Plain(name, resource)
}

impl Files {
    /// One page of the files.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn list(&self, query: &ListFiles) -> Result<Page<File>, Error> {
        self.0.fetch(self.list_call(query)?).await
    }

    /// All files, page by page.
    pub fn list_all(&self, query: &ListFiles) -> Paged<File> {
        Paged::new(&self.0, self.list_call(query))
    }

    fn list_call(&self, query: &ListFiles) -> Result<Call, Error> {
        let call = self.0.openai(named("list_files", Resource::Project), Method::GET, &["files"])?;
        Ok(call.query(query.0.iter()))
    }

    /// Reads what is known about a file.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn get(&self, id: &str) -> Result<File, Error> {
        self.0.fetch(self.0.openai(named("get_file", Resource::File), Method::GET, &["files", id])?).await
    }

    /// Reads a file itself, at most as much as [`Limits::body`](crate::Limits::body).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn content(&self, id: &str) -> Result<Bytes, Error> {
        let path = ["files", id, "content"];
        let call = self.0.openai(named("get_file_content", Resource::File), Method::GET, &path)?;
        let reply = self.0.done(call.accept("application/octet-stream")).await?;
        Ok(reply.body.as_bytes().cloned().unwrap_or_default())
    }

    /// Brings a file. `name` is shown to the model and decides how the file is read.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind); [`InvalidRequest`](crate::ErrorKind::InvalidRequest) without sending anything
    /// when the name holds control characters or quotes. Repeated only when the service did not act.
    pub async fn upload(&self, name: &str, purpose: &FilePurpose, content: &[u8]) -> Result<File, Error> {
        let call = self.0.openai(named("upload_file", Resource::Project), Method::POST, &["files"])?;
        let media_type = Some("application/octet-stream");
        let (kind, body) = form(&[
            Part { name: "purpose", filename: None, media_type: None, content: purpose.as_str().as_bytes() },
            Part { name: "file", filename: Some(name), media_type, content },
        ])?;
        self.0.fetch(call.bytes(kind, body)).await
    }

    /// Deletes a file.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn delete(&self, id: &str) -> Result<Deleted, Error> {
        let call = self.0.openai(named("delete_file", Resource::File), Method::DELETE, &["files", id])?;
        self.0.delete(call, id).await
    }
}

impl VectorStores {
    /// One page of the vector stores.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn list(&self, query: &ListPage) -> Result<Page<VectorStore>, Error> {
        self.0.fetch(self.list_call(query)?).await
    }

    /// All vector stores, page by page.
    pub fn list_all(&self, query: &ListPage) -> Paged<VectorStore> {
        Paged::new(&self.0, self.list_call(query))
    }

    fn list_call(&self, query: &ListPage) -> Result<Call, Error> {
        let call = self.0.openai(named("list_vector_stores", Resource::Project), Method::GET, &["vector_stores"])?;
        Ok(call.query(query.0.iter()))
    }

    /// Reads what is known about a vector store.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn get(&self, id: &str) -> Result<VectorStore, Error> {
        let operation = named("get_vector_store", Resource::VectorStore);
        self.0.fetch(self.0.openai(operation, Method::GET, &["vector_stores", id])?).await
    }

    /// Makes a vector store of uploaded files.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Repeated only when the service did not act.
    pub async fn create(&self, name: &str, file_ids: &[&str]) -> Result<VectorStore, Error> {
        #[derive(Serialize)]
        struct Request<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            file_ids: &'a [&'a str],
        }
        let call = self.0.openai(named("create_vector_store", Resource::Project), Method::POST, &["vector_stores"])?;
        self.0.fetch(call.json(&Request { name, file_ids })?).await
    }

    /// Deletes a vector store; the files stay.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn delete(&self, id: &str) -> Result<Deleted, Error> {
        let operation = named("delete_vector_store", Resource::VectorStore);
        self.0.delete(self.0.openai(operation, Method::DELETE, &["vector_stores", id])?, id).await
    }
}

impl Connections {
    /// All connections, page by page.
    pub fn list_all(&self) -> Paged<Connection> {
        let operation = named("list_connections", Resource::Project);
        Paged::new(&self.0, self.0.foundry(operation, Method::GET, &["connections"]))
    }

    /// All connections of a kind, page by page; the default one alone when `only_default`.
    pub fn list_kind(&self, kind: &types::ConnectionKind, only_default: bool) -> Paged<Connection> {
        let call = self.0.foundry(named("list_connections", Resource::Project), Method::GET, &["connections"]);
        let pairs = [("connectionType", kind.as_str())].into_iter();
        let pairs = pairs.chain(only_default.then_some(("defaultConnection", "true")));
        Paged::new(&self.0, call.map(|call| call.query(pairs)))
    }

    /// Reads a connection, without secrets.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn get(&self, name: &str) -> Result<Connection, Error> {
        self.0.fetch(self.call("get_connection", Method::GET, &["connections", name])?).await
    }

    /// Reads a connection with its secrets.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn get_with_credentials(&self, name: &str) -> Result<Connection, Error> {
        let path = ["connections", name, "getConnectionWithCredentials"];
        self.0.fetch(self.call("get_connection_with_credentials", Method::POST, &path)?.idempotent()).await
    }

    fn call(&self, name: &'static str, method: Method, path: &[&str]) -> Result<Call, Error> {
        self.0.foundry(named(name, Resource::Connection), method, path)
    }
}

impl Deployments {
    /// All deployments, page by page.
    pub fn list_all(&self) -> Paged<Deployment> {
        let operation = named("list_deployments", Resource::Project);
        Paged::new(&self.0, self.0.foundry(operation, Method::GET, &["deployments"]))
    }

    /// Reads a deployment.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn get(&self, name: &str) -> Result<Deployment, Error> {
        let operation = named("get_deployment", Resource::Model);
        self.0.fetch(self.0.foundry(operation, Method::GET, &["deployments", name])?).await
    }
}

impl Toolboxes {
    /// One page of the toolboxes.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn list(&self, query: &ListPage) -> Result<Page<Toolbox>, Error> {
        self.0.fetch(self.list_call(query)?).await
    }

    /// All toolboxes, page by page.
    pub fn list_all(&self, query: &ListPage) -> Paged<Toolbox> {
        Paged::new(&self.0, self.list_call(query))
    }

    fn list_call(&self, query: &ListPage) -> Result<Call, Error> {
        let call = self.0.foundry(named("list_toolboxes", Resource::Project), Method::GET, &["toolboxes"])?;
        Ok(call.query(query.0.iter()))
    }

    /// Reads what is known about a toolbox.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn get(&self, name: &str) -> Result<Toolbox, Error> {
        let operation = named("get_toolbox", Resource::Toolbox);
        self.0.fetch(self.0.foundry(operation, Method::GET, &["toolboxes", name])?).await
    }

    /// Reads one version of a toolbox, with its tools.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind).
    pub async fn version(&self, name: &str, version: &str) -> Result<ToolboxVersion, Error> {
        let operation = named("get_toolbox_version", Resource::Toolbox);
        self.0.fetch(self.0.foundry(operation, Method::GET, &["toolboxes", name, "versions", version])?).await
    }
}
