//! Discovery documents: where an authority's endpoints are, and whether a host is one of Microsoft's.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header::ACCEPT};
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::{
    Authority, Body, Clock, Cloud, Deadline, Error, ErrorKind, HttpTransport, OAuthError, RetryPolicy, SystemClock,
    TenantId, TransportError, TransportErrorKind,
    document::{Document, Unreadable},
    flight::{Boxed, Flights, Landing},
    is_https_or_loopback, retry_after,
};

const MAX_DOCUMENT: usize = 256 << 10;
/// Bound of one attempt, and of both together.
const ATTEMPT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(10);
/// How long a document is believed, and how long a failure is remembered.
const AGE: Duration = Duration::from_secs(12 * 3600);
const FAILURE_AGE: Duration = Duration::from_secs(30);
/// Documents kept.
const MOST: usize = 256;

/// The discovery document of a tenant, as far as it is used.
///
/// See <https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#fetch-the-openid-configuration-document>.
/// Every endpoint is `https` on the origin of the authority (plain `http` on loopback).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenIdConfiguration {
    /// `issuer`: checked against the authority and the tenant.
    pub issuer: String,
    /// `authorization_endpoint`.
    pub authorization_endpoint: Url,
    /// `token_endpoint`.
    pub token_endpoint: Url,
    /// `jwks_uri`.
    pub jwks_uri: Url,
    /// `device_authorization_endpoint`.
    pub device_authorization_endpoint: Option<Url>,
    /// `end_session_endpoint`.
    pub end_session_endpoint: Option<Url>,
    /// `tenant_region_scope`, such as `EU`.
    pub tenant_region_scope: Option<String>,
    /// `cloud_instance_name`, such as `microsoftonline.com`.
    pub cloud_instance_name: Option<String>,
    /// `msgraph_host`, such as `graph.microsoft.com`.
    pub msgraph_host: Option<String>,
}

/// Fetches discovery documents: checked, bounded in time and size, kept for 12 h, and once for all who ask at the same
/// time. A failure is kept for 30 s. A clone shares what is kept.
///
/// The clients of this crate need none of it: they know the endpoints of Microsoft's hosts. It is for hosts whose paths
/// nobody knows beforehand, and for the question whether a host is Microsoft's.
///
/// ```no_run
/// use std::sync::Arc;
/// use entra_auth::{Authority, Discovery, ReqwestTransport};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery = Discovery::new(Arc::new(ReqwestTransport::new()?));
/// let tenant = "contoso.onmicrosoft.com".parse()?;
/// let document = discovery.openid_configuration(&Authority::default(), &tenant).await?;
/// println!("{}", document.issuer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Discovery(Arc<Inner>);

struct Inner {
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    judge: Authority,
    documents: Shelf<(Authority, TenantId), Arc<OpenIdConfiguration>>,
    instances: Shelf<String, Authority>,
}

impl Discovery {
    /// Discovery over a transport. Questions about hosts go to the public cloud.
    #[must_use]
    #[inline]
    pub fn new(transport: Arc<dyn HttpTransport>) -> Self {
        Self::judged_by(transport, Authority::default())
    }

    /// The same, with questions about hosts going to another authority, such as that of a sandbox.
    #[must_use]
    #[inline]
    pub fn judged_by(transport: Arc<dyn HttpTransport>, judge: Authority) -> Self {
        let clock = Arc::new(SystemClock);
        Self(Arc::new(Inner { transport, clock, judge, documents: Shelf::default(), instances: Shelf::default() }))
    }

    /// The version 2 discovery document of a tenant.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] when the tenant is unknown (the operator), [`ErrorKind::Protocol`] when the document
    /// is another issuer's, names endpoints elsewhere or is none at all, [`ErrorKind::Transport`] or
    /// [`ErrorKind::Transient`] when it cannot be had (retry).
    pub async fn openid_configuration(
        &self,
        authority: &Authority,
        tenant: &TenantId,
    ) -> Result<Arc<OpenIdConfiguration>, Error> {
        let key = (authority.clone(), tenant.clone());
        let fetch = || -> Boxed<'static, _> {
            let (inner, (authority, tenant)) = (Arc::clone(&self.0), key.clone());
            Box::pin(async move {
                let body = inner.get(&authority.openid_configuration(&tenant)).await?;
                configuration(&authority, &tenant, &body).map(Arc::new)
            })
        };
        self.0.documents.get(&key, fetch).await
    }

    /// The authority of a host that came from outside, such as a setting of a customer: a known host at once, another
    /// one when Microsoft's instance discovery vouches for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] when the host is not one of Microsoft's (whoever wrote the setting),
    /// [`ErrorKind::Protocol`], [`ErrorKind::Transport`] or [`ErrorKind::Transient`] as above.
    pub async fn authority_of_host(&self, host: &str) -> Result<Authority, Error> {
        if let Some(cloud) = Cloud::of_host(host) {
            return Ok(cloud.into());
        }
        if !is_host(host) {
            return Err(not_microsofts());
        }
        let fetch = || -> Boxed<'static, _> {
            let (inner, host) = (Arc::clone(&self.0), host.to_owned());
            Box::pin(async move {
                let mut url = inner.judge.url().clone();
                if let Ok(mut path) = url.path_segments_mut() {
                    path.pop_if_empty().extend(["common", "discovery", "instance"]);
                }
                url.query_pairs_mut()
                    .append_pair("api-version", "1.1")
                    .append_pair("authorization_endpoint", &format!("https://{host}/common/oauth2/v2.0/authorize"));
                instance(&host, &inner.get(&url).await?)
            })
        };
        self.0.instances.get(&host.to_owned(), fetch).await
    }
}

impl fmt::Debug for Discovery {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("transport", &self.0.transport).finish_non_exhaustive()
    }
}

/// Believes a discovery document when issuer and endpoints are those of the authority.
#[inline]
fn configuration(authority: &Authority, tenant: &TenantId, body: &Bytes) -> Result<OpenIdConfiguration, Error> {
    let document = read(body).map_err(|_| no_document())?;
    if !authority.may_issue(tenant, &document.issuer) {
        return Err(Error::new(ErrorKind::Protocol, "the discovery document is another issuer's"));
    }
    let required = [&document.authorization_endpoint, &document.token_endpoint, &document.jwks_uri];
    let optional = [&document.device_authorization_endpoint, &document.end_session_endpoint];
    let foreign = |url: &&Url| !is_https_or_loopback(url) || url.origin() != authority.url().origin();
    if required.into_iter().chain(optional.into_iter().flatten()).any(|url| foreign(&url)) {
        return Err(Error::new(ErrorKind::Protocol, "the discovery document names an endpoint on another host"));
    }
    Ok(document)
}

#[inline]
fn read(body: &[u8]) -> Result<OpenIdConfiguration, Unreadable> {
    let document = Document::read(body)?;
    let url = |text: String| Url::parse(&text).map_err(|_| Unreadable);
    Ok(OpenIdConfiguration {
        issuer: document.required("issuer")?,
        authorization_endpoint: url(document.required("authorization_endpoint")?)?,
        token_endpoint: url(document.required("token_endpoint")?)?,
        jwks_uri: url(document.required("jwks_uri")?)?,
        device_authorization_endpoint: document.optional("device_authorization_endpoint")?.map(url).transpose()?,
        end_session_endpoint: document.optional("end_session_endpoint")?.map(url).transpose()?,
        tenant_region_scope: document.optional("tenant_region_scope")?,
        cloud_instance_name: document.optional("cloud_instance_name")?,
        msgraph_host: document.optional("msgraph_host")?,
    })
}

/// The authority for which an instance discovery answer vouches.
#[inline]
fn instance(host: &str, body: &Bytes) -> Result<Authority, Error> {
    let host = network(host, body).map_err(|_| no_document())?.filter(|host| is_host(host));
    let host = host.ok_or_else(not_microsofts)?;
    match Cloud::of_host(&host) {
        Some(cloud) => Ok(cloud.into()),
        None => Url::parse(&format!("https://{host}"))
            .ok()
            .and_then(|url| Authority::dangerous().host(url).ok())
            .ok_or_else(not_microsofts),
    }
}

/// The `preferred_network` of the instance that lists the host.
#[inline]
fn network(host: &str, body: &[u8]) -> Result<Option<String>, Unreadable> {
    let instances: Vec<Document<'_>> = Document::read(body)?.optional("metadata")?.unwrap_or_default();
    for instance in instances {
        let aliases: Vec<String> = instance.optional("aliases")?.unwrap_or_default();
        if aliases.iter().any(|alias| alias == host) {
            return instance.required("preferred_network").map(Some);
        }
    }
    Ok(None)
}

fn no_document() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the authority answered with no discovery document; check its host, and look for a proxy in between",
    )
}

/// `error` and `error_codes` of an answer that is no document.
#[inline]
fn failure(body: &[u8]) -> Result<(String, Vec<u32>), Unreadable> {
    let failure = Document::read(body)?;
    let (error, codes) = (failure.optional("error")?, failure.optional("error_codes")?);
    Ok((error.unwrap_or_default(), codes.unwrap_or_default()))
}

/// A host name in lower case, without port or anything else that a URL could take for more.
#[inline]
fn is_host(text: &str) -> bool {
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
        && text.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_lowercase()))
}

fn not_microsofts() -> Error {
    Error::new(ErrorKind::Configuration, "the host is not one of Microsoft's token services")
}

impl Inner {
    /// One document: two attempts, each and both bounded in time, the body bounded in size, no redirect followed.
    async fn get(&self, url: &Url) -> Result<Bytes, Error> {
        let retry = RetryPolicy::new(2, Duration::from_millis(300), Duration::from_secs(2));
        let end = Instant::now() + TOTAL;
        let mut attempt = 1;
        loop {
            let error = match self.attempt(url, end).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let pause = retry.delay(attempt, error.retry_after()).filter(|_| error.is_retryable());
            match pause {
                Some(pause) if Instant::now() + pause < end => sleep(pause).await,
                _ => return Err(error),
            }
            attempt += 1;
        }
    }

    async fn attempt(&self, url: &Url, end: Instant) -> Result<Bytes, Error> {
        let deadline = end.min(Instant::now() + ATTEMPT);
        let request = Request::get(url.as_str())
            .header(ACCEPT, "application/json")
            .extension(Deadline(deadline))
            .body(Body::empty())
            .map_err(|_| Error::new(ErrorKind::Configuration, "the authority is no address a request can go to"))?;
        let exchange = async {
            let (head, body) = self.transport.send(request).await?.into_parts();
            Ok::<_, TransportError>((head, body.collect(MAX_DOCUMENT).await?))
        };
        let (head, body) = match timeout_at(deadline, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(TransportError::from(TransportErrorKind::Timeout).into()),
        };
        if head.status == StatusCode::OK {
            return Ok(body);
        }
        let (error, error_codes) = failure(&body).unwrap_or_default();
        let (kind, text) = match head.status.as_u16() {
            _ if error == "invalid_instance" => return Err(not_microsofts()),
            _ if error == "invalid_tenant" => (ErrorKind::Configuration, "the tenant is unknown"),
            429 => (ErrorKind::Throttled, "the authority asks for fewer requests"),
            408 | 500..=599 => (ErrorKind::Transient, "the authority reports a passing fault"),
            300..=399 => {
                (ErrorKind::Protocol, "the authority answered with a redirect, which is never followed; check its host")
            }
            _ => (ErrorKind::Protocol, "the authority has no such document"),
        };
        let oauth = OAuthError { status: head.status.as_u16(), error, error_codes, ..OAuthError::default() };
        Err(Error::new(kind, text).with_oauth(oauth).with_retry_after(retry_after(&head.headers, self.clock.now())))
    }
}

/// What was found, by key: for a while, and fetched once for all who ask at the same time.
struct Shelf<K, V> {
    kept: Arc<Mutex<HashMap<K, Kept<V>>>>,
    flights: Flights<K, Result<V, Error>>,
}

struct Kept<V> {
    result: Result<V, Error>,
    until: Instant,
}

impl<K, V> Shelf<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    async fn get(&self, key: &K, fetch: impl FnOnce() -> Boxed<'static, Result<V, Error>>) -> Result<V, Error> {
        if let Some(result) = look(&self.kept, key) {
            return result;
        }
        let fly = || -> Boxed<'static, _> {
            let (kept, key, fetch) = (Arc::clone(&self.kept), key.clone(), fetch());
            Box::pin(async move {
                // Who came while the last flight was landing finds its result here.
                if let Some(result) = look(&kept, &key) {
                    return result;
                }
                let result = fetch.await;
                keep(&kept, key, &result);
                result
            })
        };
        match self.flights.join(key, TOTAL * 2, fly).await {
            Landing::Done(result) => result,
            Landing::Crashed | Landing::TimedOut => {
                Err(Error::new(ErrorKind::Transport, "the discovery request was cut off before it ended"))
            }
        }
    }
}

fn look<K: Eq + Hash, V: Clone>(kept: &Mutex<HashMap<K, Kept<V>>>, key: &K) -> Option<Result<V, Error>> {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.get(key).filter(|kept| kept.until > Instant::now()).map(|kept| kept.result.clone())
}

fn keep<K: Clone + Eq + Hash, V: Clone>(kept: &Mutex<HashMap<K, Kept<V>>>, key: K, result: &Result<V, Error>) {
    let now = Instant::now();
    let age = match result {
        Ok(_) => AGE,
        Err(error) => error.retry_after().unwrap_or(FAILURE_AGE).max(Duration::from_secs(1)),
    };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= MOST && !kept.contains_key(&key) {
        kept.retain(|_, kept| kept.until > now);
        while kept.len() >= MOST {
            let Some(any) = kept.keys().next().cloned() else { break };
            kept.remove(&any);
        }
    }
    kept.insert(key, Kept { result: result.clone(), until: now + age });
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self { kept: Arc::default(), flights: Flights::default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TENANT: &str = "11111111-1111-1111-1111-111111111111";

    fn document(edit: impl FnOnce(&mut serde_json::Value)) -> Bytes {
        let base = format!("https://login.microsoftonline.com/{TENANT}");
        let mut document = json!({
            "issuer": format!("{base}/v2.0"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "tenant_region_scope": "EU",
        });
        edit(&mut document);
        document.to_string().into()
    }

    #[test]
    fn documents_are_believed_to_the_letter_or_not_at_all() {
        let judge = |body: Bytes| configuration(&Authority::default(), &TENANT.parse().unwrap(), &body);
        let good = judge(document(|_| {})).unwrap();
        assert_eq!(good.tenant_region_scope.as_deref(), Some("EU"));
        assert_eq!(good.token_endpoint, Authority::default().token_endpoint(&TENANT.parse().unwrap()));
        for (member, value) in [
            ("issuer", json!("https://login.microsoftonline.com/22222222-2222-2222-2222-222222222222/v2.0")),
            ("issuer", json!("https://evil.example/marker")),
            ("token_endpoint", json!("https://evil.example/marker")),
            ("token_endpoint", json!("http://login.microsoftonline.com/marker")),
            ("token_endpoint", json!("https://login.microsoftonline.com:8443/marker")),
            ("token_endpoint", json!("https://x@login.microsoftonline.com/marker")),
            ("authorization_endpoint", json!("https://evil.example/marker")),
            ("jwks_uri", json!("https://evil.example/marker")),
            ("device_authorization_endpoint", json!("https://evil.example/marker")),
            ("end_session_endpoint", json!("https://evil.example/marker")),
            ("jwks_uri", json!(null)),
            ("issuer", json!(7)),
        ] {
            let error = judge(document(|document| document[member] = value.clone())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{member} {value}");
            assert!(!format!("{error} {error:?}").contains("marker"));
        }
    }

    #[test]
    fn instances_are_believed_when_they_list_the_host() {
        let judge = |body: serde_json::Value| instance("login.new.example", &body.to_string().into());
        let entry = |network: &str, alias: &str| json!({"metadata": [{"preferred_network": network, "preferred_cache": "x", "aliases": [alias]}]});
        let found = judge(entry("login.new.example", "login.new.example")).unwrap();
        assert_eq!(found.url().as_str(), "https://login.new.example/");
        let found = judge(entry("login.microsoftonline.us", "login.new.example")).unwrap();
        assert_eq!(found, Cloud::UsGovernment.into());
        for bad in [
            json!({}),
            entry("login.new.example", "login.other.example"),
            entry("evil.example/x", "login.new.example"),
            entry("evil.example:1", "login.new.example"),
            entry("user@evil.example", "login.new.example"),
        ] {
            assert_eq!(judge(bad).unwrap_err().kind(), ErrorKind::Configuration);
        }
    }

    #[test]
    fn hosts() {
        for (text, good) in [
            ("login.contoso.com", true),
            ("a.b", true),
            ("localhost", false),
            ("127.0.0.1", false),
            ("a.b/c", false),
            ("a.b:1", false),
            ("u@a.b", false),
            ("A.b", false),
            ("a..b", false),
            ("", false),
        ] {
            assert_eq!(is_host(text), good, "{text}");
        }
    }
}
