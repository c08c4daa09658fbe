use std::{error::Error as StdError, fmt, sync::Arc};

use http::{HeaderValue, StatusCode};

/// Why a token was refused. Cheap to clone.
///
/// It names the rule that was broken and nothing else: no claim, no id, no part of the token, so that it can be logged
/// as it is. [`TokenError::status`] and [`TokenError::www_authenticate`] are what the caller of an API gets to see.
#[derive(Clone)]
pub struct TokenError {
    kind: TokenErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $name:literal, $message:literal;)+) => {
        /// The rule that a token broke.
        ///
        /// Unless said otherwise the sender of the token must change something, and repeating the request does not help.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum TokenErrorKind {
            $($(#[$doc])* $kind,)+
        }

        impl TokenErrorKind {
            /// A stable name for logs, metrics and verdicts, such as `audience-mismatch`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            const fn message(self) -> &'static str {
                match self {
                    $(Self::$kind => $message,)+
                }
            }

            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$kind,)+];
        }
    };
}

kinds! {
    /// There is no `Authorization` header.
    MissingToken => "missing-token", "the request carries no token";
    /// The `Authorization` header is not one bearer token, or there are several headers.
    MalformedHeader => "malformed-header", "the authorization header is not one bearer token";
    /// The token is longer than 16 KiB.
    TokenTooLarge => "token-too-large", "the token is longer than any real one";
    /// Not three parts of canonical base64url with JSON objects in the first two. Encrypted tokens end here too.
    MalformedToken => "malformed-token", "the token is not a signed JWT";
    /// `alg` is none of the allowed algorithms, or not one of the key's.
    AlgorithmNotAllowed => "algorithm-not-allowed", "the token's algorithm is not allowed";
    /// `typ` says that this is another kind of token.
    TypeNotAllowed => "type-not-allowed", "the token's type is not that of an access token";
    /// The header has `crit`: it asks for an extension that nobody here implements.
    CriticalHeader => "critical-header", "the token's header asks for an unknown extension";
    /// The header brings or names a key of its own (`jwk`, `jku`, `x5u`), where the issuer never does.
    KeyInHeader => "key-in-header", "the token's header brings a key of its own";
    /// The header has no usable `kid`.
    MissingKeyId => "missing-key-id", "the token does not name its key";
    /// The header has `nonce`: a Microsoft Graph token, which only Graph can validate. The client asked for a wrong scope.
    NotForThisApi => "not-for-this-api", "the token is for Microsoft Graph; nobody else can validate it";
    /// No key of that id is published, right after asking.
    UnknownKey => "unknown-key", "the token's key is not published by the issuer";
    /// No key of that id is known, and it is too early to ask the issuer again. A retry after five minutes may succeed.
    KeyGated => "key-gated", "the token's key is unknown, and it is too early to ask again";
    /// The issuer's keys cannot be fetched. The operator looks at the network; a retry may succeed.
    KeysUnavailable => "keys-unavailable", "the issuer's keys could not be fetched";
    /// The signature does not fit.
    BadSignature => "bad-signature", "the token's signature is not good";
    /// A member occurs twice in the header or the payload.
    DuplicateMember => "duplicate-member", "the token holds a member twice";
    /// A claim has the wrong type or an impossible value.
    MalformedClaim => "malformed-claim", "a claim of the token has the wrong form";
    /// A claim that must be there is not.
    MissingClaim => "missing-claim", "a claim that must be there is missing";
    /// `iss` is not the issuer of the token's own tenant in the configured cloud.
    IssuerMismatch => "issuer-mismatch", "the token is from another issuer";
    /// `aud` is none of the configured audiences.
    AudienceMismatch => "audience-mismatch", "the token is for another audience";
    /// The token has ended. The client gets a new one.
    Expired => "expired", "the token has expired";
    /// The token is not valid yet, or issued in the future: the clocks differ.
    NotYetValid => "not-yet-valid", "the token is not valid yet";
    /// The token lives longer than any real one.
    LifetimeTooLong => "lifetime-too-long", "the token lives longer than any real one";
    /// The token, or the sign-in it stems from, is longer ago than the application accepts. The user signs in again.
    TooOld => "too-old", "the token or its sign-in is too long ago";
    /// `nonce` is not the one that was sent with the sign-in, or one is there where none was sent: an id token of another
    /// sign-in.
    NonceMismatch => "nonce-mismatch", "the id token belongs to another sign-in";
    /// `c_hash` or `at_hash` is not that of the code or the access token at hand.
    HashMismatch => "hash-mismatch", "the id token belongs to another code or access token";
    /// The tenant policy does not let this tenant in. The operator decides.
    TenantNotAllowed => "tenant-not-allowed", "the token's tenant is not allowed";
    /// The key is published for another issuer.
    KeyIssuerMismatch => "key-issuer-mismatch", "the token's key belongs to another issuer";
    /// The key is published for another cloud.
    CloudMismatch => "cloud-mismatch", "the token's key belongs to another cloud";
    /// The token lets one party act in the name of another (`actor`), a construct that is never accepted.
    ActorNotAllowed => "actor-not-allowed", "the token lets one party vouch for another";
    /// The token is of an application and a user's is needed.
    NotAUserToken => "not-a-user-token", "the token is not a user's";
    /// The token is of a user and an application's is needed, or it is of neither.
    NotAnAppToken => "not-an-app-token", "the token is not an application's";
    /// The token does not carry the scope. The client asks for it, the user or an administrator consents.
    MissingScope => "missing-scope", "the token lacks a scope";
    /// The token does not carry the role. An administrator assigns it.
    MissingRole => "missing-role", "the token lacks a role";
    /// The application that asks is not one of the allowed callers. The operator decides.
    CallerNotAllowed => "caller-not-allowed", "the calling application is not allowed";
}

impl TokenError {
    /// The same error with what caused it. The source must hold no part of a token.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The rule that was broken.
    #[must_use]
    pub const fn kind(&self) -> TokenErrorKind {
        self.kind
    }

    /// Whether the same token may be accepted later without anyone acting.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, TokenErrorKind::KeyGated | TokenErrorKind::KeysUnavailable)
    }

    /// The status to answer with: 403 for a good token that may not do this, 401 for everything else.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self.kind {
            TokenErrorKind::TenantNotAllowed
            | TokenErrorKind::NotAUserToken
            | TokenErrorKind::NotAnAppToken
            | TokenErrorKind::MissingScope
            | TokenErrorKind::MissingRole
            | TokenErrorKind::CallerNotAllowed => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// The value of `WWW-Authenticate` to answer with, by [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-3).
    /// It does not say which rule was broken.
    #[must_use]
    pub const fn www_authenticate(&self) -> HeaderValue {
        match self.kind {
            TokenErrorKind::MissingToken => HeaderValue::from_static("Bearer"),
            TokenErrorKind::MalformedHeader => HeaderValue::from_static("Bearer error=\"invalid_request\""),
            _ if self.status().as_u16() == 403 => HeaderValue::from_static("Bearer error=\"insufficient_scope\""),
            _ => HeaderValue::from_static("Bearer error=\"invalid_token\""),
        }
    }
}

impl From<TokenErrorKind> for TokenError {
    fn from(kind: TokenErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.message())
    }
}

impl StdError for TokenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let names: std::collections::HashSet<_> = TokenErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), TokenErrorKind::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }

    #[test]
    fn the_answer_says_whether_but_not_why() {
        let answers: std::collections::HashSet<_> = TokenErrorKind::ALL
            .iter()
            .map(|kind| TokenError::from(*kind))
            .map(|error| (error.status().as_u16(), error.www_authenticate().to_str().unwrap().to_owned()))
            .collect();
        let expected = [
            (401, "Bearer"),
            (401, "Bearer error=\"invalid_request\""),
            (401, "Bearer error=\"invalid_token\""),
            (403, "Bearer error=\"insufficient_scope\""),
        ];
        assert_eq!(answers, expected.map(|(status, text)| (status, text.to_owned())).into());
    }
}
