#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Functions that few programs use are `#[inline]`: they are compiled by those who call them. That helps only where
// nothing else reaches them, so what is made by choice (a proof, a second level) stands behind a trait object.

#[cfg(feature = "acquire")]
mod acquire;
mod authority;
#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "azure-core")]
mod azure;
#[cfg(feature = "azure-cli")]
mod azure_cli;
#[cfg(feature = "acquire")]
mod chain;
#[cfg(feature = "validate")]
mod challenge;
mod claims_challenge;
mod clock;
#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
mod credential;
#[cfg(feature = "acquire")]
mod discovery;
#[cfg(any(feature = "acquire", feature = "validate"))]
mod document;
#[cfg(feature = "acquire")]
mod environment;
mod error;
#[cfg(any(feature = "acquire", feature = "validate"))]
mod flight;
#[cfg(feature = "validate")]
mod identity;
mod ids;
#[cfg(feature = "validate")]
mod jwt;
#[cfg(feature = "acquire")]
mod managed_identity;
mod parameters;
mod random;
#[cfg(feature = "reqwest")]
mod reqwest_transport;
mod retry;
mod scopes;
#[cfg(feature = "seal")]
mod seal;
mod secret;
pub mod settings;
mod store;
#[cfg(feature = "tower")]
mod tower;
mod transport;
#[cfg(feature = "validate")]
mod validate;

#[cfg(all(feature = "acquire", feature = "validate"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "acquire", feature = "validate"))))]
pub use crate::acquire::{
    Account, AccountCredential, AgentOnBehalfOf, AuthorizationAnswer, AuthorizationRequest, DeviceCode, OnBehalfOf,
    Prompt, PublicClient, PublicClientBuilder, ReturnPath, SessionKey, SignInAudience, SignInSession, SignInStore,
    SignedIn, Users,
};
#[cfg(feature = "acquire")]
#[cfg_attr(docsrs, doc(cfg(feature = "acquire")))]
pub use crate::acquire::{
    AdminConsent, AdminConsentAnswer, AgentCredential, AgentUser, Certificate, ClientCredential, ConfidentialClient,
    ConfidentialClientBuilder, Downstream, UnconfirmedTenant,
};
#[cfg(feature = "acquire")]
#[cfg_attr(docsrs, doc(cfg(feature = "acquire")))]
pub use crate::acquire::{
    Assertion, AssertionRequest, CertificateFile, CertificateSource, ClientAssertion, SignRequest, SignatureAlgorithm,
    WorkloadIdentity,
};
#[cfg(feature = "azure-core")]
#[cfg_attr(docsrs, doc(cfg(feature = "azure-core")))]
pub use crate::azure::{AsAzureCredential, FromAzureCredential};
#[cfg(feature = "azure-cli")]
#[cfg_attr(docsrs, doc(cfg(feature = "azure-cli")))]
pub use crate::azure_cli::{AzureCliBuilder, AzureCliCredential};
#[cfg(feature = "acquire")]
#[cfg_attr(docsrs, doc(cfg(feature = "acquire")))]
pub use crate::chain::{ChainError, ChainedTokenCredential};
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use crate::challenge::Refusal;
#[cfg(feature = "test-util")]
pub use crate::clock::ManualClock;
#[cfg(feature = "acquire")]
#[cfg_attr(docsrs, doc(cfg(feature = "acquire")))]
pub use crate::discovery::{Discovery, OpenIdConfiguration};
#[cfg(feature = "acquire")]
#[cfg_attr(docsrs, doc(cfg(feature = "acquire")))]
pub use crate::environment::ServiceCredentials;
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use crate::identity::RequestIdentity;
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use crate::jwt::{
    Algorithm, Claims, JwksClient, JwksClientBuilder, KeyError, KeyErrorKind, KeyLookup, KeySource, Lifetime, Recall,
    SigningKey, StaticKeys, TokenError, TokenErrorKind, TokenMemory, TokenTimes, UnverifiedToken, VerifiedJwt, bearer,
};
#[cfg(feature = "acquire")]
#[cfg_attr(docsrs, doc(cfg(feature = "acquire")))]
pub use crate::managed_identity::{
    ManagedIdentityBuilder, ManagedIdentityCredential, ManagedIdentityId, ManagedIdentitySource,
};
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub use crate::reqwest_transport::ReqwestTransport;
#[cfg(feature = "seal")]
#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
pub use crate::seal::{SealError, SealErrorKind, Sealer};
#[cfg(feature = "seal")]
#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
pub use crate::store::SealedStore;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::store::{
    LossWindow, RedisReply, RedisReport, RedisScripts, RedisScriptsBuilder, RedisStore, RedisStoreBuilder, ScriptCall,
    ScriptEffect,
};
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub use crate::tower::{BearerLayer, BearerService};
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use crate::validate::{
    AccessTokenValidator, AccessTokenValidatorBuilder, AgentIdentity, AllowedCallers, AppToken, ClientAuthentication,
    GroupResolver, GroupResolverBuilder, IdToken, IdTokenValidator, IdTokenValidatorBuilder, InternalClaims,
    TenantKeys, TenantKeysBuilder, TenantPolicy, TokenVersion, UntrustedDisplay, UserAssertion, UserToken,
    ValidatedToken,
};
pub use crate::{
    authority::{Authority, Cloud, DangerousAuthority},
    claims_challenge::ClaimsChallenge,
    clock::{Clock, SystemClock},
    credential::{
        AccessToken, Audience, StaticCredential, TokenCredential, TokenRequest, is_https_or_loopback, is_loopback,
    },
    error::{BuildError, Error, ErrorKind, OAuthError},
    ids::{ClientId, CorrelationId, ObjectId, ParseIdError, TenantId, UserKey},
    parameters::ExtraParameters,
    retry::{RetryPolicy, retry_after},
    scopes::{InvalidScopes, Scopes},
    secret::Secret,
    store::{
        Change, Key, MemoryLimits, MemoryStore, Namespace, Partition, Put, Record, Store, StoreError, StoreErrorKind,
        Table, TableError, Version, When,
    },
    transport::{Body, Deadline, HttpTransport, TransportError, TransportErrorKind},
};

/// The code in the pages of the book, compiled with the other examples.
#[cfg(all(
    doctest,
    feature = "acquire",
    feature = "validate",
    feature = "reqwest",
    feature = "redis",
    feature = "azure-core"
))]
mod book {
    #[doc = include_str!("../../docs/src/tokens.md")]
    mod tokens {}
    #[doc = include_str!("../../docs/src/caches.md")]
    mod caches {}
    #[doc = include_str!("../../docs/src/validation.md")]
    mod validation {}
    #[doc = include_str!("../../docs/src/hardening.md")]
    mod hardening {}
    #[doc = include_str!("../../docs/src/coming-from.md")]
    mod coming_from {}
    #[doc = include_str!("../../docs/src/web-login.md")]
    mod web_login {}
    #[doc = include_str!("../../docs/src/authorities.md")]
    mod authorities {}
}
