use std::{fmt, sync::Arc};

use time::OffsetDateTime;

use super::principal::{
    AgentIdentity, ClientAuthentication, InternalClaims, Principal, TokenType, TokenVersion, UntrustedDisplay, display,
    has_more_groups,
};
use crate::{Claims, ClientId, ObjectId, Secret, TenantId, TokenError, TokenErrorKind, UserKey};

/// A token that passed every check, by what it stands for.
#[derive(Clone, Debug)]
pub enum ValidatedToken {
    /// A user acts through an application.
    User(UserToken),
    /// An application acts for itself.
    App(AppToken),
}

impl ValidatedToken {
    /// The user's token.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::NotAUserToken`] for a token of an application.
    #[inline]
    pub fn into_user(self) -> Result<UserToken, TokenError> {
        match self {
            Self::User(token) => Ok(token),
            Self::App(_) => Err(TokenErrorKind::NotAUserToken.into()),
        }
    }

    /// The application's token.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::NotAnAppToken`] for a token of a user.
    #[inline]
    pub fn into_app(self) -> Result<AppToken, TokenError> {
        match self {
            Self::App(token) => Ok(token),
            Self::User(_) => Err(TokenErrorKind::NotAnAppToken.into()),
        }
    }

    pub(super) fn principal(&self) -> &Principal {
        match self {
            Self::User(UserToken(principal)) | Self::App(AppToken(principal)) => principal,
        }
    }

    /// Tells the two apart: `scp` makes a user's token, `idtyp` = `app` an application's. What says both is refused.
    /// `infer` takes a token without either for an application's when its subject is its own object.
    #[inline]
    pub(super) fn classify(principal: Principal, infer: bool) -> Result<Self, TokenError> {
        let own_subject = || principal.text("sub").is_some_and(|sub| sub == principal.object_id.as_str());
        match (principal.idtyp, principal.scopes.is_empty()) {
            (Some(TokenType::App), true) => Ok(Self::App(AppToken(Arc::new(principal)))),
            (Some(TokenType::App), false) => Err(TokenErrorKind::MalformedClaim.into()),
            (None, true) if infer && own_subject() => Ok(Self::App(AppToken(Arc::new(principal)))),
            (None | Some(TokenType::User), true) => Err(TokenErrorKind::NotAUserToken.into()),
            (None | Some(TokenType::User), false) => Ok(Self::User(UserToken(Arc::new(principal)))),
        }
    }
}

/// The access token of a user who acts through an application (delegated), fully validated. A clone is an `Arc` clone.
///
/// The user is [`UserToken::user_key`]:
///
/// ```
/// fn who(token: &entra_auth::UserToken) -> entra_auth::UserKey {
///     token.user_key()
/// }
/// ```
///
/// There is deliberately no e-mail address to take for an identity:
///
/// ```compile_fail,E0599
/// fn who(token: &entra_auth::UserToken) -> &str {
///     token.email()
/// }
/// ```
///
/// Its only constructor is [`AccessTokenValidator`](crate::AccessTokenValidator):
///
/// ```
/// # use entra_auth::{TokenError, UserToken, ValidatedToken};
/// fn user(judged: ValidatedToken) -> Result<UserToken, TokenError> {
///     judged.into_user()
/// }
/// ```
///
/// ```compile_fail,E0423
/// # use entra_auth::UserToken;
/// fn user() -> UserToken {
///     UserToken(std::sync::Arc::new(()))
/// }
/// ```
#[derive(Clone)]
pub struct UserToken(pub(super) Arc<Principal>);

/// The access token of an application that acts for itself (app-only), fully validated. A clone is an `Arc` clone.
///
/// It gives no [`UserAssertion`](crate::UserAssertion); only a user's token does:
///
/// ```
/// fn exchange(token: &entra_auth::UserToken, client: &entra_auth::ClientId) {
///     let _ = token.assertion_for(client, &["api://app"]);
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn exchange(token: &entra_auth::AppToken, client: &entra_auth::ClientId) {
///     let _ = token.assertion_for(client, &["api://app"]);
/// }
/// ```
///
/// Its only constructor is [`AccessTokenValidator`](crate::AccessTokenValidator):
///
/// ```
/// # use entra_auth::{AppToken, TokenError, ValidatedToken};
/// fn app(judged: ValidatedToken) -> Result<AppToken, TokenError> {
///     judged.into_app()
/// }
/// ```
///
/// ```compile_fail,E0423
/// # use entra_auth::AppToken;
/// fn app() -> AppToken {
///     AppToken(std::sync::Arc::new(()))
/// }
/// ```
#[derive(Clone)]
pub struct AppToken(pub(super) Arc<Principal>);

macro_rules! shared {
    ($type:ident) => {
        impl $type {
            /// `tid`: the tenant that issued the token.
            #[must_use]
            pub fn tenant(&self) -> &TenantId {
                &self.0.tenant
            }

            /// `oid`: the object id in that tenant.
            #[must_use]
            pub fn object_id(&self) -> &ObjectId {
                &self.0.object_id
            }

            /// `sub`: the subject. For users it differs from application to application.
            #[must_use]
            #[inline]
            pub fn subject(&self) -> Option<&str> {
                self.0.text("sub")
            }

            /// `aud`: which of the configured audiences the token is for.
            #[must_use]
            pub fn audience(&self) -> &str {
                &self.0.audience
            }

            /// `azp` or `appid`: the application that sent the token. In a user's token it is no proof of who calls.
            #[must_use]
            pub fn caller(&self) -> Option<&ClientId> {
                self.0.caller.as_ref()
            }

            /// `ver`: the version of the token.
            #[must_use]
            pub fn version(&self) -> TokenVersion {
                self.0.version
            }

            /// `exp`: when the token ends.
            #[must_use]
            #[inline]
            pub fn expires_on(&self) -> OffsetDateTime {
                self.0.times.expires_on()
            }

            /// `iat`: when the token was issued.
            #[must_use]
            #[inline]
            pub fn issued_at(&self) -> Option<OffsetDateTime> {
                self.0.times.issued_at()
            }

            /// `nbf`: from when on the token counts.
            #[must_use]
            #[inline]
            pub fn not_before(&self) -> Option<OffsetDateTime> {
                self.0.times.not_before()
            }

            /// `iss`: who issued the token.
            #[must_use]
            #[inline]
            pub fn issuer(&self) -> &str {
                self.0.text("iss").unwrap_or_default()
            }

            /// `azpacr` or `appidacr`: how the application proved who it is; `None` also for a way that is not known.
            #[must_use]
            #[inline]
            pub fn client_authentication(&self) -> Option<ClientAuthentication> {
                self.0.client_authentication()
            }

            /// The agent identity behind the token, if there is one.
            #[must_use]
            #[inline]
            pub fn agent(&self) -> Option<AgentIdentity<'_>> {
                self.0.agent()
            }

            /// `aio`, `rh` and `xms_ftd`, which Entra writes for itself.
            #[must_use]
            #[inline]
            pub fn internal_claims(&self) -> InternalClaims<'_> {
                self.0.internal_claims()
            }

            /// `roles`: application roles.
            #[must_use]
            pub fn roles(&self) -> &[String] {
                &self.0.roles
            }

            /// Requires an application role, letter by letter.
            ///
            /// # Errors
            ///
            /// [`TokenErrorKind::MissingRole`]: an administrator assigns it. Answer 403.
            #[inline]
            pub fn require_role(&self, role: &str) -> Result<(), TokenError> {
                let found = self.0.roles.iter().any(|given| given == role);
                if found { Ok(()) } else { Err(TokenErrorKind::MissingRole.into()) }
            }

            /// `uti`: an id of this token, fit for logs.
            #[must_use]
            #[inline]
            pub fn token_id(&self) -> Option<&str> {
                self.0.text("uti")
            }

            /// Whether the client understands claims challenges (`xms_cc` holds `cp1`). Send none to others.
            #[must_use]
            #[inline]
            pub fn accepts_claims_challenges(&self) -> bool {
                self.0.capabilities.iter().any(|capability| capability.eq_ignore_ascii_case("cp1"))
            }

            /// Names to show to people, and for nothing else.
            #[must_use]
            #[inline]
            pub fn untrusted_display(&self) -> UntrustedDisplay<'_> {
                display(&self.0.claims)
            }

            /// Every claim of the token, the ones without a getter too.
            #[must_use]
            pub fn claims(&self) -> &Claims {
                &self.0.claims
            }
        }

        /// Shows tenant and end, no claim of a person.
        impl fmt::Debug for $type {
            #[inline]
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    .field("tenant", &self.0.tenant)
                    .field("expires_on", &self.expires_on())
                    .finish_non_exhaustive()
            }
        }
    };
}

shared!(UserToken);
shared!(AppToken);

impl UserToken {
    /// The user: tenant and object id. The only key under which anything of a user is kept.
    #[must_use]
    pub fn user_key(&self) -> UserKey {
        UserKey::assume_verified(self.0.tenant.clone(), self.0.object_id.clone())
    }

    /// `scp`: what the user lets the application do here.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// Requires a scope by its short name (`access_as_user`), letter by letter. To be authenticated is not to be
    /// authorised: call this for every operation.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MissingScope`]: the client asks for it, the user or an administrator consents. Answer 403.
    #[inline]
    pub fn require_scope(&self, scope: &str) -> Result<(), TokenError> {
        let found = self.0.scopes.iter().any(|given| given == scope);
        if found { Ok(()) } else { Err(TokenErrorKind::MissingScope.into()) }
    }

    /// `sid`: the session in Entra that the user signed in to.
    #[must_use]
    #[inline]
    pub fn session_id(&self) -> Option<&str> {
        self.0.text("sid")
    }

    /// `acrs`: the authentication contexts that the user's sign-in satisfies, such as `c1`. Where one is missing, answer
    /// with a claims challenge.
    #[must_use]
    #[inline]
    pub fn authentication_contexts(&self) -> Vec<String> {
        self.0.claims.strings("acrs").ok().flatten().unwrap_or_default()
    }

    /// `groups`: object ids of the user's groups, when the registration asks for them. `None` also when there are too
    /// many for a token; see [`UserToken::has_more_groups`].
    #[must_use]
    pub fn groups(&self) -> Option<&[String]> {
        self.0.groups.as_deref()
    }

    /// Whether the user is in more groups than fit into a token, so that Graph must be asked (`hasgroups`, or `groups`
    /// in `_claim_names`). [`GroupResolver`](crate::GroupResolver) asks.
    #[must_use]
    #[inline]
    pub fn has_more_groups(&self) -> bool {
        has_more_groups(&self.0.claims)
    }

    /// The token itself. It is for this API alone: never send it on; exchange it, see [`UserToken::assertion_for`].
    #[must_use]
    pub fn raw(&self) -> &Secret {
        &self.0.raw
    }

    /// A token that nobody validated, for tests of code that needs one.
    ///
    /// `claims` is the payload as JSON; `exp`, `aud`, `tid`, `oid` and `scp` must be there.
    ///
    /// # Errors
    ///
    /// As the validator for claims that are missing or of a wrong type.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn trusted(claims: &serde_json::Value, raw: impl Into<Secret>) -> Result<Self, TokenError> {
        let claims = Claims::parse(claims.to_string().into_bytes())?;
        let version = match claims.string("ver")? {
            Some("1.0") => TokenVersion::V1,
            _ => TokenVersion::V2,
        };
        let times = claims.times()?;
        ValidatedToken::classify(Principal::read(claims, version, times, raw.into())?, false)?.into_user()
    }
}
