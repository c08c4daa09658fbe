use crate::{
    Claims, ClientId, ObjectId, Secret, TenantId, TokenError, TokenErrorKind, TokenTimes,
    document::{self, Document},
};

/// The version of an access token: the resource's registration decides it, not the endpoint that was asked.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenVersion {
    /// Issuer `https://sts.windows.net/{tenant}/`, caller in `appid`.
    V1,
    /// Issuer `https://login.microsoftonline.com/{tenant}/v2.0`, caller in `azp`.
    V2,
}

/// Names to show to people. They can be changed by users or administrators, and can be those of somebody else: never an
/// identity, never a key, never a reason to let anyone do anything.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UntrustedDisplay<'a> {
    /// `name`, such as a person's full name.
    pub name: Option<&'a str>,
    /// `preferred_username`, in version 1 tokens `unique_name` or `upn`.
    pub username: Option<&'a str>,
}

impl std::fmt::Debug for UntrustedDisplay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UntrustedDisplay")
    }
}

/// How the calling application proved who it is (`azpacr`, in version 1 tokens `appidacr`).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientAuthentication {
    /// `0`: not at all, a public client.
    None,
    /// `1`: with a client secret.
    Secret,
    /// `2`: with a certificate or a federated assertion.
    Certificate,
}

/// Claims that Entra writes for itself. Their content is undocumented and changes: they are for support cases, never for
/// a decision.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InternalClaims<'a> {
    /// `aio`
    pub aio: Option<&'a str>,
    /// `rh`
    pub rh: Option<&'a str>,
    /// `xms_ftd`
    pub xms_ftd: Option<&'a str>,
}

impl std::fmt::Debug for InternalClaims<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InternalClaims")
    }
}

/// What a token says of an agent identity. For the log; an agent is authorised like any application or user.
///
/// See <https://learn.microsoft.com/entra/agent-id/agent-token-claims>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentIdentity<'a> {
    /// `xms_par_app_azp`: the blueprint that the agent was made from.
    pub blueprint: &'a str,
    /// Whether the token's subject is an agent's own user account (13 among `xms_sub_fct`).
    pub is_agent_user: bool,
}

/// What user and application tokens have in common. Every claim that is known has its type checked here.
#[derive(Debug)]
pub(super) struct Principal {
    pub(super) tenant: TenantId,
    pub(super) object_id: ObjectId,
    pub(super) audience: Box<str>,
    pub(super) caller: Option<ClientId>,
    pub(super) scopes: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) capabilities: Vec<String>,
    pub(super) idtyp: Option<TokenType>,
    pub(super) version: TokenVersion,
    pub(super) times: TokenTimes,
    pub(super) claims: Claims,
    pub(super) raw: Secret,
}

/// `idtyp`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    User,
    App,
}

impl Principal {
    /// Reads the claims of a token whose issuer, audience and lifetime have been judged.
    #[inline]
    pub(super) fn read(
        claims: Claims,
        version: TokenVersion,
        times: TokenTimes,
        raw: Secret,
    ) -> Result<Self, TokenError> {
        check_types(&claims)?;
        let idtyp = match claims.string("idtyp")? {
            None => None,
            Some("user") => Some(TokenType::User),
            Some("app") => Some(TokenType::App),
            Some(_) => return Err(TokenErrorKind::MalformedClaim.into()),
        };
        let caller = match version {
            TokenVersion::V1 => claims.string("appid")?,
            TokenVersion::V2 => claims.string("azp")?,
        };
        let words = |text: Option<&str>| -> Vec<String> {
            text.into_iter()
                .flat_map(|text| text.split(' '))
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let mut scopes = words(claims.string("scp")?);
        // The app tokens of agents carry a lone slash.
        if scopes == ["/"] {
            scopes.clear();
        }
        Ok(Self {
            tenant: tenant_of(&claims)?,
            object_id: id(claims.required_string("oid")?)?,
            audience: claims.audience()?.into(),
            caller: caller.map(id).transpose()?,
            scopes,
            roles: claims.strings("roles")?.unwrap_or_default(),
            groups: claims.strings("groups")?,
            capabilities: claims.strings("xms_cc")?.unwrap_or_default(),
            idtyp,
            version,
            times,
            raw,
            claims,
        })
    }

    #[inline]
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.claims.string(name).ok().flatten()
    }
}

/// Every known claim has its type, and none of them lets one party vouch for another.
#[inline]
pub(super) fn check_types(claims: &Claims) -> Result<(), TokenError> {
    for name in TEXTS {
        claims.string(name)?;
    }
    for name in LISTS {
        claims.strings(name)?;
    }
    // Entra never sends these to an application.
    if ["actor", "actortoken"].iter().any(|name| claims.has(name)) {
        return Err(TokenErrorKind::ActorNotAllowed.into());
    }
    Ok(())
}

impl Principal {
    /// `azpacr` or `appidacr`, when it is a known one.
    #[inline]
    pub(super) fn client_authentication(&self) -> Option<ClientAuthentication> {
        let name = match self.version {
            TokenVersion::V1 => "appidacr",
            TokenVersion::V2 => "azpacr",
        };
        match self.text(name)? {
            "0" => Some(ClientAuthentication::None),
            "1" => Some(ClientAuthentication::Secret),
            "2" => Some(ClientAuthentication::Certificate),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn internal_claims(&self) -> InternalClaims<'_> {
        InternalClaims { aio: self.text("aio"), rh: self.text("rh"), xms_ftd: self.text("xms_ftd") }
    }

    #[inline]
    pub(super) fn agent(&self) -> Option<AgentIdentity<'_>> {
        let facets = self.text("xms_sub_fct").unwrap_or_default();
        // One part that is no number spoils the whole claim.
        let facets: Option<Vec<u32>> = facets.split_whitespace().map(|facet| facet.parse().ok()).collect();
        let is_agent_user = facets.unwrap_or_default().contains(&AGENT_USER);
        self.text("xms_par_app_azp").map(|blueprint| AgentIdentity { blueprint, is_agent_user })
    }
}

/// The facet of an agent's user account.
const AGENT_USER: u32 = 13;

/// Names to show to people.
#[inline]
pub(super) fn display(claims: &Claims) -> UntrustedDisplay<'_> {
    let text = |name| claims.string(name).ok().flatten();
    let username = ["preferred_username", "unique_name", "upn"].into_iter().find_map(text);
    UntrustedDisplay { name: text("name"), username }
}

/// Whether a user is in more groups than a token has room for (`hasgroups`, or `groups` in `_claim_names`).
#[inline]
pub(super) fn has_more_groups(claims: &Claims) -> bool {
    let elsewhere = claims.raw("_claim_names").and_then(|raw| document::read::<Document<'_>>(raw.get()).ok());
    claims.raw("hasgroups").is_some_and(|raw| matches!(raw.get(), "true" | "\"true\""))
        || elsewhere.is_some_and(|names| names.has("groups"))
}

/// Claims that are strings whenever they are there.
const TEXTS: &[&str] = &[
    "iss",
    "tid",
    "oid",
    "sub",
    "ver",
    "azp",
    "azpacr",
    "appid",
    "appidacr",
    "scp",
    "idtyp",
    "name",
    "preferred_username",
    "unique_name",
    "upn",
    "email",
    "given_name",
    "family_name",
    "uti",
    "rh",
    "aio",
    "acr",
    "ipaddr",
    "idp",
    "sid",
    "nonce",
    "c_hash",
    "at_hash",
    "login_hint",
    "xms_ftd",
    "xms_par_app_azp",
    "xms_act_fct",
    "xms_sub_fct",
];

/// Claims that are arrays of strings whenever they are there.
const LISTS: &[&str] = &["roles", "groups", "wids", "amr", "acrs", "xms_cc"];

/// `tid`, which is always a GUID.
#[inline]
pub(super) fn tenant_of(claims: &Claims) -> Result<TenantId, TokenError> {
    let tenant: TenantId = id(claims.required_string("tid")?)?;
    if tenant.is_guid() { Ok(tenant) } else { Err(TokenErrorKind::MalformedClaim.into()) }
}

pub(super) fn id<T: std::str::FromStr>(text: &str) -> Result<T, TokenError> {
    text.parse().map_err(|_| TokenErrorKind::MalformedClaim.into())
}
