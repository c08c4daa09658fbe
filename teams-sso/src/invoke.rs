use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a Teams client could not sign in silently: the `code` of a `signin/failure` invoke.
///
/// An open set: any other text is kept as it was written. See
/// <https://learn.microsoft.com/microsoftteams/platform/teams-sdk/essentials/authentication/troubleshooting-sso>.
///
/// ```
/// use teams_sso::SignInFailureCode;
///
/// let code = SignInFailureCode::from("resourcematchfailed");
/// assert_eq!(code, SignInFailureCode::RESOURCE_MATCH_FAILED);
/// assert_eq!(SignInFailureCode::from("something new").as_str(), "something new");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SignInFailureCode(Cow<'static, str>);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        impl SignInFailureCode {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*

            /// The code when it is a known one; what a stranger wrote is not fit for logs.
            #[must_use]
            pub fn known(&self) -> Option<&'static str> {
                match &*self.0 {
                    $($text => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The app could not be installed for the user in the middle of a group chat's sign-in. Teams tells the user.
    INSTALL_APP_FAILED = "installappfailed",
    /// The request failed after the installation; across tenants mostly missing admin consent. Teams tells the user.
    AUTH_REQUEST_FAILED = "authrequestfailed",
    /// The app is not installed for this user or chat. The user sees nothing.
    INSTALLED_APP_NOT_FOUND = "installedappnotfound",
    /// Anything else. The user sees nothing.
    INVOKE_ERROR = "invokeerror",
    /// The resource of the card, the app-id URI of the registration and that of the manifest differ: the operator. The
    /// user sees nothing.
    RESOURCE_MATCH_FAILED = "resourcematchfailed",
    /// Teams could not read the card: the developer. The user sees nothing.
    OAUTH_CARD_NOT_VALID = "oauthcardnotvalid",
    /// Teams got no token from Entra. The user sees nothing.
    TOKEN_MISSING = "tokenmissing",
    /// The user must consent; Teams handles it.
    USER_CONSENT_REQUIRED = "userconsentrequired",
    /// The user must do something interactive; Teams handles it.
    INTERACTION_REQUIRED = "interactionrequired",
}

impl SignInFailureCode {
    /// The code as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the operator or the developer must act, and no user can.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        *self == Self::RESOURCE_MATCH_FAILED || *self == Self::OAUTH_CARD_NOT_VALID
    }
}

impl From<&str> for SignInFailureCode {
    fn from(text: &str) -> Self {
        Self(Cow::Owned(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for SignInFailureCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Cow::Owned(String::deserialize(deserializer)?)))
    }
}

impl Serialize for SignInFailureCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A known code; of any other, which anybody may have written, the size.
impl fmt::Debug for SignInFailureCode {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(code) => f.write_str(code),
            None => write!(f, "<other, {} bytes>", self.0.len()),
        }
    }
}
