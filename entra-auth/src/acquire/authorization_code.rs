use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use url::Url;

use super::{
    authorization_answer::AuthorizationAnswer,
    party::with_sign_in_scopes,
    pkce::{challenge_of, random_text},
    sign_in_audience::SignInAudience,
    users::{First, SignedIn, Users},
};
use crate::{
    Change, ClaimsChallenge, Error, ErrorKind, Key, Namespace, Scopes, Secret, Store, Table, TableError, TenantId,
    document, is_https_or_loopback,
};

/// How a browser sign-in is to go; see [`Users::sign_in`].
#[derive(Clone, Debug)]
#[must_use]
pub struct AuthorizationRequest {
    redirect_uri: Url,
    scopes: Scopes,
    tenant: Option<TenantId>,
    prompt: Option<Prompt>,
    login_hint: Option<String>,
    domain_hint: Option<String>,
    claims: Option<ClaimsChallenge>,
    max_age: Option<Duration>,
    form_post: bool,
    return_to: Option<ReturnPath>,
}

/// What Entra shows even if it would not need to.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// The user enters their credentials again.
    Login,
    /// Nothing; without a session the answer is an error.
    None,
    /// The consent page.
    Consent,
    /// The list of accounts.
    SelectAccount,
}

impl Prompt {
    #[inline]
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::None => "none",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
        }
    }
}

impl AuthorizationRequest {
    /// A sign-in that comes back to a registered redirect URI, with a first access token for `scopes` of one resource.
    /// `openid`, `profile` and `offline_access` are added.
    #[inline]
    pub const fn new(redirect_uri: Url, scopes: Scopes) -> Self {
        Self {
            redirect_uri,
            scopes,
            tenant: None,
            prompt: None,
            login_hint: None,
            domain_hint: None,
            claims: None,
            max_age: None,
            form_post: false,
            return_to: None,
        }
    }

    /// Signs in to another tenant than the client's own. For users of many tenants: [`Users::with_audience`].
    #[inline]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// What to show. Default: what Entra needs.
    #[inline]
    pub const fn prompt(mut self, prompt: Prompt) -> Self {
        self.prompt = Some(prompt);
        self
    }

    /// Fills the name in: a user name, or the `login_hint` claim of an earlier id token.
    #[inline]
    pub fn login_hint(mut self, hint: impl Into<String>) -> Self {
        self.login_hint = Some(hint.into());
        self
    }

    /// The domain of the user's organisation, which skips Entra's own question for it.
    #[inline]
    pub fn domain_hint(mut self, hint: impl Into<String>) -> Self {
        self.domain_hint = Some(hint.into());
        self
    }

    /// What the sign-in must satisfy: [`Error::claims_challenge`] of a token request that failed.
    #[inline]
    pub fn claims(mut self, claims: ClaimsChallenge) -> Self {
        self.claims = Some(claims);
        self
    }

    /// How long ago the user may have signed in; older sessions are asked again. The validator checks it only with
    /// `IdTokenValidatorBuilder::max_sign_in_age`.
    #[inline]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The answer comes as a form post instead of in the query, so that the code is in no server log and no history. The
    /// cookie of the session must then be `SameSite=None; Secure`, for the post comes from another site.
    #[inline]
    pub const fn form_post(mut self) -> Self {
        self.form_post = true;
        self
    }

    /// Where in the application the user wanted to go.
    #[inline]
    pub fn return_to(mut self, path: ReturnPath) -> Self {
        self.return_to = Some(path);
        self
    }
}

/// A path within the application itself: what may follow a sign-in. Nothing that leads to another host can be one.
///
/// ```
/// use entra_auth::ReturnPath;
///
/// assert_eq!(ReturnPath::parse("/stories?page=2").unwrap().as_str(), "/stories?page=2");
/// for elsewhere in ["https://evil.example", "//evil.example", "/\\evil.example", "/%09/evil", "\t//evil.example", "stories"] {
///     assert!(ReturnPath::parse(elsewhere).is_none(), "{elsewhere}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(Box<str>);

impl ReturnPath {
    /// Takes a path with or without a query: from one slash on, visible ASCII without a backslash, at most 2,048 bytes, and
    /// without empty, `.` or `..` segments, encoded ones included. `None` for everything else.
    #[must_use]
    #[inline]
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let visible = |b: u8| (0x21..0x7f).contains(&b) && b != b'\\';
        let rest = path.strip_prefix('/')?;
        let lowered = rest.to_ascii_lowercase();
        // What some server or browser may decode to a slash, a dot or white space in front of one.
        let tricky = ["%2f", "%5c", "%2e", "%0", "%1", "%20"].iter().any(|code| lowered.contains(code));
        let mut segments = rest.split('/').rev();
        // A slash at the end is fine.
        let last = segments.next().unwrap_or_default();
        let plain = !matches!(last, "." | "..") && segments.all(|part| !matches!(part, "" | "." | ".."));
        (text.len() <= 2048 && text.bytes().all(visible) && plain && !tricky).then(|| Self(text.into()))
    }

    /// The path.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long a user may take from the redirect to the answer.
const LIFE: time::Duration = time::Duration::minutes(10);

/// A sign-in under way: `state`, `nonce` and PKCE verifier, each of 256 bits and for one use.
///
/// The host keeps it between the redirect and the answer, bound to the browser: in a [`SignInStore`], or in an encrypted,
/// `HttpOnly` cookie by [`SignInSession::to_secret`]. It is not `Clone`, and [`Users::redeem`] takes it away.
///
/// ```compile_fail
/// fn twice(session: entra_auth::SignInSession) {
///     let _ = (session.clone(), session);
/// }
/// ```
pub struct SignInSession(Kept);

/// A session at rest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Version of this record.
    v: u8,
    state: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
    scopes: String,
    /// What stood in the path of the authorization endpoint.
    tenant: String,
    return_to: Option<String>,
    /// Seconds since 1970.
    expires: i64,
}

impl SignInSession {
    /// The session as text to be sealed. It holds the verifier: never store it in the clear where others can read.
    ///
    /// # Errors
    ///
    /// None that can be provoked from outside; [`ErrorKind::Configuration`] stands for a failing encoder.
    #[inline]
    pub fn to_secret(&self) -> Result<Secret, Error> {
        let text = serde_json::to_string(&self.0);
        text.map(Secret::from).map_err(|_| Error::new(ErrorKind::Configuration, "the session cannot be encoded"))
    }

    /// A session from the text of [`SignInSession::to_secret`]; `None` when it is not one of this version.
    #[must_use]
    #[inline]
    pub fn from_secret(text: &Secret) -> Option<Self> {
        document::read(text.expose()).ok().filter(|session: &Kept| session.v == 1).map(Self)
    }

    /// Where in the application the user wanted to go.
    #[must_use]
    #[inline]
    pub fn return_to(&self) -> Option<ReturnPath> {
        self.0.return_to.as_deref().and_then(ReturnPath::parse)
    }
}

impl fmt::Debug for SignInSession {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInSession").field("tenant", &self.0.tenant).finish_non_exhaustive()
    }
}

impl Users {
    /// Starts a browser sign-in (authorization code with PKCE,
    /// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow>): redirect the browser to the URL and
    /// keep the session until the answer arrives.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] when the redirect URI is neither https nor `http` on a loopback address (public clients
    /// may also have a scheme of their own), or the scopes are too many.
    #[inline]
    pub fn sign_in(&self, sign_in: AuthorizationRequest) -> Result<(Url, SignInSession), Error> {
        let own_scheme = self.party.is_public() && !matches!(sign_in.redirect_uri.scheme(), "http" | "https");
        let is_good = is_https_or_loopback(&sign_in.redirect_uri) || own_scheme;
        if !is_good || sign_in.redirect_uri.fragment().is_some() {
            return Err(Error::new(
                ErrorKind::Configuration,
                "the redirect URI must be https, or http on a loopback address, and have no fragment",
            ));
        }
        let tenant = sign_in.tenant.as_ref().unwrap_or(&self.tenant).clone();
        let [state, nonce, verifier] = [random_text()?, random_text()?, random_text()?];
        let mut url = self.party.endpoint(&tenant, "authorize");
        let max_age = sign_in.max_age.map(|age| age.as_secs().to_string());
        let claims = self.party.claims(sign_in.claims.as_ref());
        let scopes = with_sign_in_scopes(&sign_in.scopes)?;
        let optional = [
            ("prompt", sign_in.prompt.map(Prompt::as_str)),
            ("login_hint", sign_in.login_hint.as_deref()),
            ("domain_hint", sign_in.domain_hint.as_deref()),
            ("max_age", max_age.as_deref()),
            ("claims", claims.as_deref()),
        ];
        url.query_pairs_mut()
            .append_pair("client_id", self.party.client_id().as_str())
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", sign_in.redirect_uri.as_str())
            .append_pair("response_mode", if sign_in.form_post { "form_post" } else { "query" })
            .append_pair("scope", scopes.as_str())
            .append_pair("state", state.expose())
            .append_pair("nonce", nonce.expose())
            .append_pair("code_challenge", &challenge_of(&verifier))
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let session = Kept {
            v: 1,
            state: state.expose().to_owned(),
            nonce: nonce.expose().to_owned(),
            verifier: verifier.expose().to_owned(),
            redirect_uri: sign_in.redirect_uri.into(),
            scopes: sign_in.scopes.as_str().to_owned(),
            tenant: tenant.as_str().to_owned(),
            return_to: sign_in.return_to.map(|path| path.as_str().to_owned()),
            expires: (self.engine.clock.now() + LIFE).unix_timestamp(),
        };
        Ok((url, SignInSession(session)))
    }

    /// Ends a browser sign-in: checks the answer against the session, redeems the code and validates the id token.
    ///
    /// The code is sent once. Only when provably no byte of the request left this machine is it sent again; after any
    /// other failure the user starts again, which Entra makes a redirect without a prompt.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Reauthenticate`] when the answer does not belong to this session or came too late: start again, and show
    /// nothing of the answer. What Entra's error says: [`ErrorKind::ConsentRequired`] when the user declined,
    /// [`ErrorKind::InteractionRequired`] after `prompt=none`. [`ErrorKind::PolicyBlocked`] when users of many tenants can
    /// sign in and the tenant policy does not let this one's in. [`ErrorKind::Protocol`] when the answer is from another
    /// issuer or the id token is not acceptable.
    pub async fn redeem(&self, session: SignInSession, answer: AuthorizationAnswer) -> Result<SignedIn, Error> {
        let session = session.0;
        let audience = SignInAudience::of_segment(&session.tenant).ok_or_else(foreign_session)?;
        let tenant = audience.into_segment();
        let code = self.judge(&session, &tenant, answer)?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", &session.redirect_uri),
            ("code_verifier", &session.verifier),
        ];
        let scopes = session.scopes.parse().map_err(super::too_many_scopes)?;
        let nonce = Secret::new(session.nonce.as_str());
        let first = First {
            name: "authorization_code",
            tenant: &tenant,
            fields: &fields,
            scopes: &scopes,
            nonce: Some(&nonce),
        };
        self.first_tokens(first, None, None).await
    }

    /// The code of an answer that belongs to the session.
    #[inline]
    fn judge(&self, session: &Kept, tenant: &TenantId, answer: AuthorizationAnswer) -> Result<Secret, Error> {
        if self.engine.clock.now() > at(session.expires) {
            return Err(Error::new(ErrorKind::Reauthenticate, "the sign-in took too long; start it again"));
        }
        let ours = answer.state.as_ref().is_some_and(|state| *state == Secret::new(session.state.as_str()));
        if !ours {
            return Err(Error::new(
                ErrorKind::Reauthenticate,
                "the answer does not belong to this sign-in; start it again in this browser",
            ));
        }
        // RFC 9207: another authority's answer must not have its code sent to ours.
        if answer.issuer.as_ref().is_some_and(|issuer| !self.may_answer(tenant, issuer)) {
            return Err(Error::new(ErrorKind::Protocol, "the answer is from another issuer than the one asked"));
        }
        answer.into_code()
    }

    /// Whether an issuer is the one that was asked. Who asks by a domain name, or for users of many tenants, learns the
    /// tenant's GUID from the answer; the id token must then be of that issuer's cloud and of an allowed tenant.
    #[inline]
    fn may_answer(&self, tenant: &TenantId, issuer: &str) -> bool {
        let authority = self.party.authority();
        let named = || issuer.split('/').find_map(|part| part.parse().ok().filter(TenantId::is_guid));
        let tenant = if tenant.is_guid() { Some(tenant.clone()) } else { named() };
        tenant.is_some_and(|tenant| issuer == authority.issuer_v2(&tenant))
    }
}

fn foreign_session() -> Error {
    Error::new(ErrorKind::Reauthenticate, "the session was not made by this version; start the sign-in again")
}

#[inline]
fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Keeps sign-ins on the server, in any [`Store`]: each can be taken once, and only by the browser that began it.
///
/// `browser` is whatever names the browser, such as the random value of a cookie: without it anyone could finish
/// another's sign-in. Wrap the store in a sealed one where others can read it; a session holds the PKCE verifier.
///
/// ```
/// # use std::sync::Arc;
/// use entra_auth::{AuthorizationAnswer, MemoryStore, SignInStore, TableError};
///
/// # async fn example(session: entra_auth::SignInSession, query: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let sign_ins = SignInStore::new(Arc::new(MemoryStore::default()));
/// sign_ins.keep("value of the cookie", &session).await?;
/// // … the browser comes back with ?code=…&state=…
/// let answer = AuthorizationAnswer::parse(query)?;
/// let session = sign_ins.take("value of the cookie", &answer).await?.ok_or("begin again")?;
/// # Ok(())
/// # }
/// ```
pub struct SignInStore(Table<Kept>);

const SIGN_INS: Namespace = Namespace::rebuildable("sign-ins");

impl SignInStore {
    /// Keeps sign-ins in `store`, for ten minutes each.
    #[must_use]
    #[inline]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(Table::new(store, LIFE.unsigned_abs()))
    }

    /// Keeps a sign-in until its answer arrives.
    ///
    /// # Errors
    ///
    /// What the store reports.
    pub async fn keep(&self, browser: &str, session: &SignInSession) -> Result<(), TableError> {
        self.0.insert(&key(browser, &session.0.state), &session.0).await?;
        Ok(())
    }

    /// Takes the sign-in that an answer belongs to. The second call for the same answer finds nothing.
    ///
    /// # Errors
    ///
    /// What the store reports.
    pub async fn take(&self, browser: &str, answer: &AuthorizationAnswer) -> Result<Option<SignInSession>, TableError> {
        let Some(state) = &answer.state else { return Ok(None) };
        let kept = self.0.update(&key(browser, state.expose()), |old| (Change::Remove, old)).await?;
        Ok(kept.filter(|kept| kept.v == 1).map(SignInSession))
    }
}

/// The name of the record is a digest, so that who can list names learns no state.
#[inline]
fn key(browser: &str, state: &str) -> Key {
    SIGN_INS.partition([challenge_of(&browser.into())]).key([challenge_of(&state.into())])
}

impl fmt::Debug for SignInStore {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInStore")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_no_return_path() {
        for good in ["/", "/a", "/a/", "/a/b?c=//d&e=%2f", "/a.b/..c", "/#part", "/a%C3%BC"] {
            assert!(ReturnPath::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "a",
            "//",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\/evil.test",
            "/\\/evil.test",
            "/a//evil.test",
            "/.//evil.test",
            "/./\\evil.test",
            "/../evil.test",
            "/..",
            "/a/../..//evil.test",
            "/%2fevil.test",
            "/%2F%2Fevil.test",
            "/%5Cevil.test",
            "/%2e%2e//x",
            "/\tevil.test",
            "/\t/evil.test",
            "/\n/evil.test",
            "/ /evil.test",
            "/%09/evil.test",
            "/%20/evil.test",
            "https:evil.test",
            "https://evil.test",
            "javascript:alert(1)",
            "/a\r\nset-cookie:x=y",
            "/ü",
            "/\u{2028}/evil.test",
        ] {
            assert!(ReturnPath::parse(bad).is_none(), "{bad:?}");
        }
        assert!(ReturnPath::parse(&format!("/{}", "a".repeat(2048))).is_none());
    }
}
