//! The story API: judges its callers' tokens, and reads the caller's own document on their behalf.

use entra_auth::{
    AccessTokenValidator, Audience, Authority, Body, BuildError, ConfidentialClient, Error, Scopes, TokenCredential,
    TokenError, TokenRequest, UserKey, UserToken, is_https_or_loopback,
};
use http::{HeaderMap, Request, StatusCode, header};
use url::Url;

use crate::graph::{Graph, protocol, unexpected};

/// Where the story of every user is, in their own drive.
const FILE: [&str; 5] = ["me", "drive", "root:", "story.txt:", "content"];
const MAX_STORY: usize = 64 << 10;

/// The backend, with a registration of its own.
#[derive(Debug)]
pub(crate) struct Stories {
    tokens: AccessTokenValidator,
    service: ConfidentialClient,
    audience: String,
    /// The permission a caller needs: the last part of the scope.
    permission: String,
    authority: Authority,
    graph: Graph,
    documents: Audience,
}

/// Why there is no story.
#[derive(Debug)]
pub(crate) enum NoStory {
    /// The caller's token is not good, or not good enough.
    Token(TokenError),
    /// The user's document could not be read. The challenge for the caller comes along when there is one.
    Downstream(Error, HeaderMap, StatusCode),
}

impl Stories {
    pub(crate) fn new(
        tokens: AccessTokenValidator,
        service: ConfidentialClient,
        audience: String,
        scope: &Scopes,
        authority: Authority,
        graph: &Graph,
    ) -> Result<Self, BuildError> {
        let first = scope.iter().next().unwrap_or_default();
        let permission = first.rsplit('/').next().unwrap_or_default().to_owned();
        let documents = graph.audience("Files.Read")?;
        Ok(Self { tokens, service, audience, permission, authority, graph: graph.clone(), documents })
    }

    /// The story of whoever sent these headers.
    pub(crate) async fn of_request(&self, headers: &HeaderMap) -> Result<String, NoStory> {
        let token = self.tokens.authenticate(headers).await.map_err(NoStory::Token)?;
        self.of_user(&token.into_user().map_err(NoStory::Token)?).await
    }

    /// The story of the user of this token, which passes the same checks as one in a header.
    pub(crate) async fn of_token(&self, token: &str) -> Result<String, NoStory> {
        let token = self.tokens.validate(token).await.map_err(NoStory::Token)?;
        self.of_user(&token.into_user().map_err(NoStory::Token)?).await
    }

    /// Forgets what was got on behalf of a user.
    pub(crate) async fn forget(&self, user: &UserKey) -> Result<(), Error> {
        self.service.forget_user(user).await
    }

    async fn of_user(&self, user: &UserToken) -> Result<String, NoStory> {
        user.require_scope(&self.permission).map_err(NoStory::Token)?;
        self.read(user).await.map_err(|failure| match failure {
            Failure::Token(error) => NoStory::Token(error),
            Failure::Other(error) => {
                // Only the caller can satisfy it; this service passes it on.
                let refusal = error.claims_challenge().map(|claims| user.challenge(claims, &self.authority));
                let (headers, status) = match refusal {
                    Some(refusal) => (refusal.headers(), refusal.status()),
                    None => (HeaderMap::new(), StatusCode::BAD_GATEWAY),
                };
                NoStory::Downstream(error, headers, status)
            }
        })
    }

    /// On-Behalf-Of, then the document: Graph answers with an address where it is, without any token.
    /// <https://learn.microsoft.com/graph/api/driveitem-get-content>
    async fn read(&self, user: &UserToken) -> Result<String, Failure> {
        let assertion = user.assertion_for(self.service.client_id(), &[&self.audience]).map_err(Failure::Token)?;
        let credential = self.service.on_behalf_of(assertion);
        let token = credential.get_token(&TokenRequest::new(self.documents.scopes().clone())).await?;

        let url = self.graph.address(&FILE);
        let found = self.graph.send(get(&url)?, Some((&token, &self.documents))).await?;
        let found = match found.status() {
            StatusCode::FOUND => {
                let location = found.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                let location = location.and_then(|text| Url::parse(text).ok()).filter(is_https_or_loopback);
                let location = location.ok_or_else(|| protocol("Graph says the document is at no address"))?;
                self.graph.send(get(&location)?, None).await?
            }
            _ => found,
        };
        if found.status() != StatusCode::OK {
            return Err(unexpected(found.status()).into());
        }
        let bytes = found.into_body().collect(MAX_STORY).await.map_err(Error::from)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

enum Failure {
    Token(TokenError),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn get(url: &Url) -> Result<Request<Body>, Error> {
    Request::get(url.as_str()).body(Body::empty()).map_err(|_| protocol("the address of the document is none"))
}
