//! Microsoft Graph as the application itself: attributes of a user, names of groups.

use std::{collections::BTreeSet, sync::Arc};

use entra_auth::{
    AccessToken, Audience, Body, BuildError, ConfidentialClient, Deadline, Error, ErrorKind, HttpTransport, Scopes,
    TokenCredential, TokenRequest, UserKey, is_loopback,
};
use http::{Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::Url;

use crate::app::PATIENCE;

/// Groups that are named on a page; the rest is counted.
pub(crate) const NAMED: usize = 20;
const MAX_ANSWER: usize = 256 << 10;

/// Asks Graph with the application's own tokens, of the tenant of the user in question.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    client: ConfidentialClient,
    audience: Audience,
    base: Url,
    transport: Arc<dyn HttpTransport>,
}

impl Graph {
    pub(crate) fn new(
        client: ConfidentialClient,
        base: Url,
        transport: Arc<dyn HttpTransport>,
    ) -> Result<Self, BuildError> {
        Ok(Self { client, audience: Audience::new(scopes(&base, ".default")?, [&base])?, base, transport })
    }

    /// What tokens of Graph are asked for, to be sent to Graph alone.
    pub(crate) fn audience(&self, permission: &str) -> Result<Audience, BuildError> {
        Audience::new(scopes(&self.base, permission)?, [&self.base])
    }

    /// What the directory knows of a user. Application permission `User.Read.All`.
    /// <https://learn.microsoft.com/graph/api/user-get>
    pub(crate) async fn attributes(&self, user: &UserKey) -> Result<Map<String, Value>, Error> {
        let mut url = self.address(&["users", user.object_id().as_str()]);
        url.set_query(Some("$select=displayName,jobTitle,department,officeLocation,mail,userPrincipalName"));
        self.json(user, Request::get(url.as_str()).body(Body::empty())).await
    }

    /// The names of up to [`NAMED`] groups. Application permission `GroupMember.Read.All`.
    /// <https://learn.microsoft.com/graph/api/directoryobject-getbyids>
    pub(crate) async fn names(&self, user: &UserKey, groups: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            value: Vec<Group>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Group {
            display_name: Option<String>,
        }

        let ids: Vec<&String> = groups.iter().take(NAMED).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let url = self.address(&["directoryObjects", "getByIds"]);
        let body = json!({"ids": ids, "types": ["group"]}).to_string();
        let request = Request::post(url.as_str()).header(header::CONTENT_TYPE, "application/json").body(body.into());
        let page: Page = self.json(user, request).await?;
        Ok(page.value.into_iter().filter_map(|group| group.display_name).collect())
    }

    /// The address of a resource of version 1.0.
    pub(crate) fn address(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1.0").extend(segments);
        }
        url
    }

    /// Sends a request with a token, if there is one.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
        token: Option<(&AccessToken, &Audience)>,
    ) -> Result<Response<Body>, Error> {
        if let Some((token, audience)) = token {
            token.authorize(&mut request, audience)?;
        }
        request.extensions_mut().insert(Deadline(Instant::now() + PATIENCE));
        Ok(self.transport.send(request).await?)
    }

    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        user: &UserKey,
        request: Result<Request<Body>, http::Error>,
    ) -> Result<T, Error> {
        let wanted = TokenRequest::new(self.audience.scopes().clone()).with_tenant(user.tenant().clone());
        let token = self.client.get_token(&wanted).await?;
        let request = request.map_err(|_| protocol("the address of Graph is none"))?;
        let answer = self.send(request, Some((&token, &self.audience))).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(unexpected(status));
        }
        let body = answer.into_body().collect(MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|_| protocol("Graph's answer is not what was asked for"))
    }
}

/// A permission of Graph. What stands in for Graph on this machine is asked for by the name of the real one.
pub(crate) fn scopes(base: &Url, permission: &str) -> Result<Scopes, BuildError> {
    let resource = match is_loopback(base) {
        true => "https://graph.microsoft.com".to_owned(),
        false => base.origin().ascii_serialization(),
    };
    let scopes = format!("{resource}/{permission}").parse();
    scopes.map_err(|error| BuildError::new("GRAPH_BASE_URL makes no scope").with_source(error))
}

/// What a status of Graph means, without a word of its body.
pub(crate) fn unexpected(status: StatusCode) -> Error {
    let (kind, text) = match status.as_u16() {
        401 => (ErrorKind::Protocol, "Graph refuses the token"),
        403 => (ErrorKind::Configuration, "Graph does not let the application do that: a permission is missing"),
        404 => (ErrorKind::Configuration, "Graph does not know it"),
        429 => (ErrorKind::Throttled, "Graph asks for fewer requests"),
        500..=599 => (ErrorKind::Transient, "Graph has a passing fault"),
        _ => (ErrorKind::Protocol, "Graph answered with an unexpected status"),
    };
    Error::new(kind, text)
}

pub(crate) fn protocol(text: &'static str) -> Error {
    Error::new(ErrorKind::Protocol, text)
}
