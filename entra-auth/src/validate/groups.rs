use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use tokio::time::Instant;
use url::Url;

use super::{IdToken, UserToken};
use crate::{
    AccessToken, Audience, Body, BuildError, ClaimsChallenge, Clock, Deadline, Error, ErrorKind, HttpTransport,
    ObjectId, RetryPolicy, Scopes, SystemClock, TenantId, TokenCredential, TokenRequest, UserKey,
    document::{self, Document, Unreadable},
    is_https_or_loopback, retry_after,
    transport::{self, NO_KEY_TRANSPORT},
};

/// The groups of a user, also when they are too many for a token.
///
/// A token has room for about 200 groups; beyond that it only says that there are more
/// ([`UserToken::has_more_groups`]). Then Microsoft Graph is asked with
/// [`getMemberObjects`](https://learn.microsoft.com/graph/api/directoryobject-getmemberobjects), which answers with the
/// groups of groups too, page by page. A user in more than 11,000 is read through
/// [`transitiveMemberOf`](https://learn.microsoft.com/graph/api/user-list-transitivememberof). The address in the token's
/// `_claim_sources` is never followed.
///
/// The credential needs `GroupMember.Read.All` and `User.ReadBasic.All` (or `User.Read.All`) of Graph, for the
/// application or on behalf of the user. Nothing is kept: memberships change, so the application decides how long it
/// trusts an answer.
///
/// ```no_run
/// # async fn groups(credential: std::sync::Arc<dyn entra_auth::TokenCredential>, user: entra_auth::UserToken)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use entra_auth::GroupResolver;
///
/// let home = "11111111-1111-1111-1111-111111111111".parse()?;
/// let resolver = GroupResolver::builder(credential, home).build()?;
/// let groups = resolver.groups(&user).await?;
/// # let _ = groups;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GroupResolver(Arc<Inner>);

struct Inner {
    credential: Arc<dyn TokenCredential>,
    home: TenantId,
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    graph: Url,
    audience: Audience,
    security_only: bool,
    timeout: Duration,
    retry: RetryPolicy,
}

impl GroupResolver {
    /// Starts a resolver that asks Graph with this credential, whose own tenant is `home`. For users of other tenants the
    /// credential is asked for a token of theirs.
    #[inline]
    pub fn builder(credential: Arc<dyn TokenCredential>, home: TenantId) -> GroupResolverBuilder {
        GroupResolverBuilder {
            credential,
            home,
            transport: None,
            clock: Arc::new(SystemClock),
            graph: None,
            scopes: None,
            security_only: true,
            timeout: Duration::from_secs(20),
            retry: RetryPolicy::default(),
        }
    }

    /// The object ids of all groups of a user: those in the token when it holds all, else Graph's answer. A token that
    /// says nothing about groups gives none: the user is in none, or the registration does not ask for the claim.
    ///
    /// # Errors
    ///
    /// As [`GroupResolver::fetch`].
    pub async fn groups(&self, user: &UserToken) -> Result<BTreeSet<String>, Error> {
        match user.has_more_groups() {
            true => self.fetch(&user.user_key()).await,
            false => Ok(user.groups().unwrap_or_default().iter().cloned().collect()),
        }
    }

    /// As [`GroupResolver::groups`], for a user who has just signed in.
    ///
    /// # Errors
    ///
    /// As [`GroupResolver::fetch`].
    pub async fn groups_of_sign_in(&self, user: &IdToken) -> Result<BTreeSet<String>, Error> {
        match user.has_more_groups() {
            true => self.fetch(&user.user_key()).await,
            false => Ok(user.groups().unwrap_or_default().iter().cloned().collect()),
        }
    }

    /// Asks Graph, whatever a token says.
    ///
    /// # Errors
    ///
    /// Those of the credential; [`ErrorKind::Configuration`] when Graph does not let the credential read memberships or
    /// does not know the user (an administrator consents, the operator looks at the tenant);
    /// [`ErrorKind::InteractionRequired`] when it wants another token than the credential can get;
    /// [`ErrorKind::Throttled`], [`ErrorKind::Transient`] and [`ErrorKind::Transport`] may be retried;
    /// [`ErrorKind::Protocol`] for an answer that is none of Graph's. There is never a partial answer.
    pub async fn fetch(&self, user: &UserKey) -> Result<BTreeSet<String>, Error> {
        self.0.fetch(user).await
    }
}

/// No answer of Graph has more pages: 500 of 999.
const MAX_PAGES: usize = 500;
/// A page of 11,000 ids has half a mebibyte.
const MAX_PAGE: usize = 4 << 20;
/// What Graph says instead of more than 11,000 ids.
const TOO_MANY: &str = "Directory_ResultSizeLimitExceeded";

impl Inner {
    async fn fetch(&self, user: &UserKey) -> Result<BTreeSet<String>, Error> {
        let deadline = Instant::now() + self.timeout;
        let mut access = Access { request: self.token_request(user), token: None };
        let first = Step::members(self, user)?;
        match self.pages(first, &mut access, deadline).await? {
            Some(groups) => Ok(groups),
            None => {
                let pages = self.pages(Step::transitive(self, user)?, &mut access, deadline).await?;
                pages.ok_or_else(|| protocol("Graph has no way to list the groups"))
            }
        }
    }

    #[inline]
    fn token_request(&self, user: &UserKey) -> TokenRequest {
        let request = TokenRequest::new(self.audience.scopes().clone());
        if *user.tenant() == self.home { request } else { request.with_tenant(user.tenant().clone()) }
    }

    /// All pages from one on; `None` when Graph refuses because there are too many.
    async fn pages(
        &self,
        first: Step,
        access: &mut Access,
        deadline: Instant,
    ) -> Result<Option<BTreeSet<String>>, Error> {
        let mut found = BTreeSet::new();
        let mut next = Some(first);
        let mut pages = 0;
        while let Some(step) = next {
            pages += 1;
            if pages > MAX_PAGES {
                return Err(protocol("the groups do not end"));
            }
            let Some(page) = self.page(&step, access, deadline).await? else { return Ok(None) };
            for item in page.value {
                found.extend(item.id(self.security_only)?);
            }
            next = page.next.map(|link| step.follow(&link, self)).transpose()?;
        }
        Ok(Some(found))
    }

    /// One page, asked for again where that is safe and useful. Reading memberships changes nothing, so it always is.
    async fn page(&self, step: &Step, access: &mut Access, deadline: Instant) -> Result<Option<Page>, Error> {
        let mut attempt = 1;
        let mut renewed = false;
        loop {
            // The credential has its own ways to try again.
            let token = self.token(access, deadline).await?;
            let error = match self.exchange(step, &token, deadline).await {
                Ok(Answer::Page(page)) => return Ok(Some(page)),
                Ok(Answer::TooMany) => return Ok(None),
                Ok(Answer::TokenRefused(challenge)) if !renewed => {
                    renewed = true;
                    access.renew(challenge);
                    continue;
                }
                Ok(Answer::TokenRefused(_)) => {
                    return Err(Error::new(ErrorKind::InteractionRequired, "Graph refuses a fresh token too"));
                }
                Err(error) => error,
            };
            let wait = self.retry.delay(attempt, error.retry_after()).filter(|_| error.is_retryable());
            let Some(wait) = wait.filter(|wait| Instant::now() + *wait < deadline) else { return Err(error) };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn token(&self, access: &mut Access, deadline: Instant) -> Result<AccessToken, Error> {
        if let Some(token) = &access.token {
            return Ok(token.clone());
        }
        let late = |_| Error::new(ErrorKind::Transport, "there was no token for Graph in time");
        let fresh = self.credential.get_token(&access.request);
        let fresh = tokio::time::timeout_at(deadline, fresh).await.map_err(late)??;
        Ok(access.token.insert(fresh).clone())
    }

    async fn exchange(&self, step: &Step, token: &AccessToken, deadline: Instant) -> Result<Answer, Error> {
        let mut request = step.request()?;
        token.authorize(&mut request, &self.audience)?;
        request.extensions_mut().insert(Deadline(deadline));
        let (head, body) = self.transport.send(request).await?.into_parts();
        if head.status == StatusCode::UNAUTHORIZED {
            return Ok(Answer::TokenRefused(ClaimsChallenge::from_headers(&head.headers)));
        }
        let body = body.collect(MAX_PAGE).await?;
        judge(head.status, &head.headers, &body, self.clock.now())
    }
}

/// What a page of Graph means. Its text is never shown: it names people and objects.
#[inline]
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], now: OffsetDateTime) -> Result<Answer, Error> {
    let kind = match status.as_u16() {
        200 => {
            let page = Page::read(body).map_err(|_| protocol("Graph's answer is no list of groups"))?;
            return Ok(Answer::Page(page));
        }
        400 if code_of(body).as_deref() == Some(TOO_MANY) => return Ok(Answer::TooMany),
        429 => ErrorKind::Throttled,
        408 | 500..=599 => ErrorKind::Transient,
        403 | 404 => ErrorKind::Configuration,
        _ => ErrorKind::Protocol,
    };
    let message = match status.as_u16() {
        403 => {
            "Graph does not let this credential read the user's groups; grant GroupMember.Read.All and User.ReadBasic.All"
        }
        404 => "Graph does not know the user in this tenant",
        429 => "Graph asks for fewer requests",
        _ => "Graph could not list the user's groups",
    };
    Err(Error::new(kind, message).with_retry_after(retry_after(headers, now)))
}

#[inline]
fn code_of(body: &[u8]) -> Option<String> {
    let error: Document<'_> = Document::read(body).ok()?.required("error").ok()?;
    error.required("code").ok()
}

fn protocol(message: &'static str) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

/// The token in use, and how to ask for another.
struct Access {
    request: TokenRequest,
    token: Option<AccessToken>,
}

impl Access {
    #[inline]
    fn renew(&mut self, challenge: Option<ClaimsChallenge>) {
        self.request.rejected = self.token.take();
        if challenge.is_some() {
            self.request.claims = challenge;
        }
    }
}

enum Answer {
    Page(Page),
    TooMany,
    TokenRefused(Option<ClaimsChallenge>),
}

/// A page of either form: ids, or objects with an id.
struct Page {
    value: Vec<Item>,
    next: Option<String>,
}

enum Item {
    Id(String),
    Object { id: String, security: Option<bool> },
}

impl Page {
    #[inline]
    fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let page = Document::read(body)?;
        let items: Vec<&RawValue> = page.required("value")?;
        let value = items.into_iter().map(|item| Item::read(item.get())).collect::<Result<_, _>>()?;
        Ok(Self { value, next: page.optional("@odata.nextLink")? })
    }
}

impl Item {
    #[inline]
    fn read(json: &str) -> Result<Self, Unreadable> {
        if json.starts_with('"') {
            return document::read(json).map(Self::Id);
        }
        let object: Document<'_> = document::read(json)?;
        Ok(Self::Object { id: object.required("id")?, security: object.optional("securityEnabled")? })
    }

    #[inline]
    fn id(self, security_only: bool) -> Result<Option<String>, Error> {
        let (id, wanted) = match self {
            Self::Id(id) => (id, true),
            Self::Object { id, security } => (id, !security_only || security == Some(true)),
        };
        let id: ObjectId = id.parse().map_err(|_| protocol("a group's id is no GUID"))?;
        Ok(wanted.then(|| id.as_str().to_owned()))
    }
}

/// One request to Graph.
struct Step {
    method: Method,
    url: Url,
    body: Option<String>,
    /// Graph answers casts only to those who accept an index that is a little late.
    eventual: bool,
}

impl Step {
    #[inline]
    fn members(inner: &Inner, user: &UserKey) -> Result<Self, Error> {
        let body = serde_json::json!({ "securityEnabledOnly": inner.security_only }).to_string();
        let url = address(inner, user, &["getMemberObjects"])?;
        Ok(Self { method: Method::POST, url, body: Some(body), eventual: false })
    }

    #[inline]
    fn transitive(inner: &Inner, user: &UserKey) -> Result<Self, Error> {
        let mut segments = vec!["transitiveMemberOf"];
        let mut query = "$select=id&$top=999";
        if inner.security_only {
            segments.push("microsoft.graph.group");
            query = "$select=id,securityEnabled&$top=999&$count=true";
        }
        let mut url = address(inner, user, &segments)?;
        url.set_query(Some(query));
        Ok(Self { method: Method::GET, url, body: None, eventual: inner.security_only })
    }

    /// The next page, which must be on Graph too: the token goes along.
    #[inline]
    fn follow(&self, link: &str, inner: &Inner) -> Result<Self, Error> {
        let url = Url::parse(link).ok().filter(|url| url.origin() == inner.graph.origin());
        let url = url.ok_or_else(|| Error::new(ErrorKind::ForeignOrigin, "Graph's next page is on another server"))?;
        Ok(Self { method: Method::GET, url, body: None, eventual: self.eventual })
    }

    #[inline]
    fn request(&self) -> Result<Request<Body>, Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.url.as_str())
            .header(header::ACCEPT, HeaderValue::from_static("application/json"));
        if self.eventual {
            request = request.header("consistencylevel", HeaderValue::from_static("eventual"));
        }
        let body = match &self.body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Body::from(json.clone())
            }
            None => Body::empty(),
        };
        request.body(body).map_err(|_| protocol("Graph's address is none"))
    }
}

#[inline]
fn address(inner: &Inner, user: &UserKey, end: &[&str]) -> Result<Url, Error> {
    let mut url = inner.graph.clone();
    url.path_segments_mut()
        .map_err(|()| protocol("Graph's address is none"))?
        .pop_if_empty()
        .extend(["v1.0", "users", user.object_id().as_str()])
        .extend(end);
    Ok(url)
}

/// Shows where it asks.
impl fmt::Debug for GroupResolver {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupResolver")
            .field("graph", &self.0.graph.as_str())
            .field("home", &self.0.home)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`GroupResolver`].
#[must_use]
pub struct GroupResolverBuilder {
    credential: Arc<dyn TokenCredential>,
    home: TenantId,
    transport: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
    graph: Option<Url>,
    scopes: Option<Scopes>,
    security_only: bool,
    timeout: Duration,
    retry: RetryPolicy,
}

impl GroupResolverBuilder {
    /// How Graph is asked. Default: `ReqwestTransport`, with feature `reqwest`.
    #[inline]
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The clock that dates in answers are read by. Default [`SystemClock`].
    #[inline]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Graph of another cloud, such as `https://graph.microsoft.us`. Default `https://graph.microsoft.com`.
    #[inline]
    pub fn graph(mut self, base: Url) -> Self {
        self.graph = Some(base);
        self
    }

    /// What tokens for Graph are asked for. Default: `/.default` behind the address of Graph. To be named where the address
    /// is not that of the resource, such as a gateway's or a sandbox's, and for permissions that a user gave.
    #[inline]
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// Also distribution groups, directory roles and administrative units. Default: security groups alone, as in tokens
    /// of registrations with `groupMembershipClaims` = `SecurityGroup`.
    #[inline]
    pub fn all_objects(mut self) -> Self {
        self.security_only = false;
        self
    }

    /// How long one answer may take, all pages and repeats included. Default 20 s.
    #[inline]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often and how patiently each page is asked for again. Default [`RetryPolicy::default`].
    #[inline]
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// The resolver. It asks for nothing yet.
    ///
    /// # Errors
    ///
    /// When Graph's address is neither `https` nor on loopback, or without a transport when feature `reqwest` is off. The
    /// developer.
    #[inline]
    pub fn build(self) -> Result<GroupResolver, BuildError> {
        let graph = match self.graph {
            Some(url) => url,
            None => {
                Url::parse("https://graph.microsoft.com").map_err(|_| BuildError::new("Graph's address is none"))?
            }
        };
        if !is_https_or_loopback(&graph) {
            return Err(BuildError::new("Graph's address must be https (http on a loopback address)"));
        }
        let scopes = match self.scopes {
            Some(scopes) => scopes,
            None => {
                let scope = format!("{}/.default", graph.as_str().trim_end_matches('/'));
                scope.parse().map_err(|_| BuildError::new("Graph's address makes no scope"))?
            }
        };
        Ok(GroupResolver(Arc::new(Inner {
            audience: Audience::new(scopes, [&graph])?,
            credential: self.credential,
            home: self.home,
            transport: transport::or_built_in(self.transport, NO_KEY_TRANSPORT)?,
            clock: self.clock,
            graph,
            security_only: self.security_only,
            timeout: self.timeout,
            retry: self.retry,
        })))
    }
}

impl fmt::Debug for GroupResolverBuilder {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupResolverBuilder").field("home", &self.home).finish_non_exhaustive()
    }
}
