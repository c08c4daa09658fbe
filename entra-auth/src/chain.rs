use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;

use crate::{AccessToken, BuildError, Error, ErrorKind, TokenCredential, TokenRequest};

/// Tries credentials in order and stays with the first that works.
///
/// The chain goes on to the next link only when a link is not available here: an absent identity endpoint, a
/// command-line tool that is not installed or not signed in, a credential of your own that answers a plain request
/// (without tenant and claims) with [`ErrorKind::Unsupported`]. A link that is available and fails,
/// say because Entra refuses its secret, ends the search: to go on with another identity would hide the fault and act
/// in another name. The link that gave the first token is remembered; from then on only it is asked.
///
/// The error of the chain lists every link that was tried and why it gave no token. Its kind is that of the link that
/// ended the search, or [`ErrorKind::Configuration`] when no link was available. [`ChainError`], its source, has the
/// errors themselves.
///
/// ```no_run
/// use entra_auth::{ChainedTokenCredential, TokenCredential, TokenRequest, settings::Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let credential = ChainedTokenCredential::for_services(&Settings::from_env())?;
/// let token = credential.get_token(&TokenRequest::new("https://vault.azure.net/.default".parse()?)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ChainedTokenCredential(Arc<Inner>);

struct Inner {
    links: Vec<Link>,
    works: OnceLock<usize>,
}

struct Link {
    name: &'static str,
    credential: Arc<dyn TokenCredential>,
}

impl ChainedTokenCredential {
    /// A chain of named credentials; the names appear in errors.
    ///
    /// # Errors
    ///
    /// When there is no link.
    pub fn new(links: impl IntoIterator<Item = (&'static str, Arc<dyn TokenCredential>)>) -> Result<Self, BuildError> {
        let links: Vec<_> = links.into_iter().map(|(name, credential)| Link { name, credential }).collect();
        if links.is_empty() {
            return Err(BuildError::new("a chain of credentials needs at least one link"));
        }
        Ok(Self(Arc::new(Inner { links, works: OnceLock::new() })))
    }

    /// The name of the link that works; `None` before the first token.
    #[must_use]
    #[inline]
    pub fn selected(&self) -> Option<&'static str> {
        self.0.works.get().and_then(|at| self.0.links.get(*at)).map(|link| link.name)
    }
}

#[async_trait]
impl TokenCredential for ChainedTokenCredential {
    #[inline]
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        if let Some(link) = self.0.works.get().and_then(|at| self.0.links.get(*at)) {
            return link.credential.get_token(request).await;
        }
        let mut failed = Vec::new();
        for (at, link) in self.0.links.iter().enumerate() {
            match link.credential.get_token(request).await {
                Ok(token) => {
                    if self.0.works.set(at).is_ok() {
                        tracing::info!(name: "entra.token.chain", link = link.name, "credential chosen");
                    }
                    return Ok(token);
                }
                Err(error) => {
                    let here = !is_not_here(&error, request);
                    failed.push((link.name, error));
                    if here {
                        break;
                    }
                }
            }
        }
        Err(ChainError { links: failed }.into_error(request))
    }
}

impl fmt::Debug for ChainedTokenCredential {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.links.iter().map(|link| link.name).collect();
        f.debug_struct("ChainedTokenCredential").field("links", &names).field("selected", &self.selected()).finish()
    }
}

/// What each link of a [`ChainedTokenCredential`] said: the source of the chain's error.
#[derive(Debug)]
pub struct ChainError {
    links: Vec<(&'static str, Error)>,
}

impl ChainError {
    /// The links that were tried, in order, and why each gave no token.
    pub fn links(&self) -> impl Iterator<Item = (&'static str, &Error)> {
        self.links.iter().map(|(name, error)| (*name, error))
    }

    #[inline]
    fn into_error(self, request: &TokenRequest) -> Error {
        let last = self.links.last().map(|(_, error)| error).filter(|error| !is_not_here(error, request)).cloned();
        let kind = last.as_ref().map_or(ErrorKind::Configuration, Error::kind);
        let mut error = Error::new(kind, format!("no credential of the chain gave a token: {self}"))
            .with_retry_after(last.as_ref().and_then(Error::retry_after))
            .with_source(self);
        if let Some(oauth) = last.as_ref().and_then(Error::oauth) {
            error = error.with_oauth(oauth.clone());
        }
        error
    }
}

impl fmt::Display for ChainError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, error)) in self.links.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{name}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ChainError {}

/// The source of an error that says: this credential does not exist here, ask the next one.
#[derive(Debug, thiserror::Error)]
#[error("the credential is not available here")]
pub(crate) struct NotHere(#[source] pub(crate) Option<Error>);

/// Whether the next link may be asked. A link that is there but cannot do what this very request asks for is not
/// replaced by another identity.
#[inline]
fn is_not_here(error: &Error, request: &TokenRequest) -> bool {
    let source = std::error::Error::source(error);
    let plain = request.tenant.is_none() && request.claims.is_none();
    let plain = plain && request.rejected.is_none() && request.parameters.is_empty();
    (plain && error.kind() == ErrorKind::Unsupported)
        || source.is_some_and(<dyn std::error::Error>::is::<NotHere>)
        // A chain in a chain is absent when all its links are.
        || source
            .and_then(<dyn std::error::Error>::downcast_ref::<ChainError>)
            .is_some_and(|chain| chain.links.iter().all(|(_, error)| is_not_here(error, request)))
}

/// A link that says why it is not there, so that the chain's error is complete.
#[derive(Debug)]
pub(crate) struct Absent(pub(crate) Cow<'static, str>);

#[async_trait]
impl TokenCredential for Absent {
    #[inline]
    async fn get_token(&self, _: &TokenRequest) -> Result<AccessToken, Error> {
        Err(Error::new(ErrorKind::Unsupported, self.0.clone()).with_source(NotHere(None)))
    }
}
