//! Tokens of Entra on the message endpoint.

use std::{fmt, sync::Arc};

use entra_auth::{
    Algorithm, Authority, BuildError, Claims, ClientId, Clock, Cloud, KeySource, Lifetime, SigningKey, TenantId,
    TokenError, TokenErrorKind, UnverifiedToken,
};

use super::{AgentCaller, AgentToken, ChannelPolicy, InboundError, InboundErrorKind, ServiceUrl, agent::AgentFacts};

/// Who calls with a token of Entra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupKind {
    Agents,
    Agentic,
    Emulator,
    AppServiceExtension,
}

impl GroupKind {
    /// Whether the caller holds the bot's own credential.
    #[inline]
    const fn is_own(self) -> bool {
        matches!(self, Self::Emulator | Self::AppServiceExtension)
    }
}

/// Callers of one kind: of these tenants, these applications.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) kind: GroupKind,
    pub(super) tenants: Vec<TenantId>,
    pub(super) callers: Vec<AgentCaller>,
}

impl Group {
    pub(super) fn check(&self, own: &[ClientId]) -> Result<(), BuildError> {
        if self.tenants.is_empty() || !self.tenants.iter().all(TenantId::is_guid) {
            return Err(BuildError::new("callers of Entra need a list of tenants, each by its GUID"));
        }
        if self.callers.is_empty() && self.kind != GroupKind::Emulator {
            return Err(BuildError::new("a list of agents that may call is empty: nobody could"));
        }
        if !self.kind.is_own() && self.callers.iter().any(|caller| own.contains(&caller.app_id)) {
            return Err(BuildError::new("the bot itself is among the agents that may call it"));
        }
        Ok(())
    }
}

/// The rules for tokens of Entra.
pub(super) struct EntraCallers {
    issuers: Vec<Issuer>,
    groups: Vec<Group>,
    keys: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    cloud: Option<Cloud>,
}

/// An issuer, letter by letter, and the tenant it stands for.
#[derive(Debug)]
struct Issuer {
    text: String,
    v2: String,
    tenant: TenantId,
}

/// What the claims say once they are judged.
struct Judged<'a> {
    issuer: &'a Issuer,
    caller: ClientId,
    app_id: ClientId,
}

const ALGORITHMS: &[Algorithm] = &[Algorithm::RS256];

impl EntraCallers {
    pub(super) fn new(
        authority: &Authority,
        groups: Vec<Group>,
        keys: Arc<dyn KeySource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut issuers: Vec<Issuer> = Vec::new();
        for tenant in groups.iter().flat_map(|group| &group.tenants) {
            let v2 = authority.issuer_v2(tenant);
            // Version 1 tokens of every cloud name this host; some of the government's name its own.
            let v1 = match authority.cloud() {
                Some(Cloud::UsGovernment) => {
                    vec![
                        format!("https://sts.windows.net/{tenant}/"),
                        format!("https://login.microsoftonline.us/{tenant}/"),
                    ]
                }
                Some(_) => vec![format!("https://sts.windows.net/{tenant}/")],
                None => authority.issuer_v1(tenant).into_iter().collect(),
            };
            for text in v1.into_iter().chain([v2.clone()]) {
                if !issuers.iter().any(|issuer| issuer.text == text) {
                    issuers.push(Issuer { text, v2: v2.clone(), tenant: tenant.clone() });
                }
            }
        }
        Self { issuers, groups, keys, clock, cloud: authority.cloud() }
    }

    /// Whether the token is one of Entra's by its own word. Nothing else takes part in the choice.
    pub(super) fn knows_issuer(&self, claims: &Claims) -> bool {
        claims.string("iss").ok().flatten().is_some_and(|text| self.issuers.iter().any(|issuer| issuer.text == text))
    }

    /// First everything that needs no key, then the signature, then who may call.
    pub(super) async fn judge(
        &self,
        token: UnverifiedToken<'_>,
        policy: &ChannelPolicy,
    ) -> Result<AgentToken, InboundError> {
        if !ALGORITHMS.contains(&token.algorithm()) {
            return Err(TokenErrorKind::AlgorithmNotAllowed.into());
        }
        if token.offers_key() {
            return Err(TokenErrorKind::KeyInHeader.into());
        }
        let issuer = self.judge_claims(token.unverified_claims(), policy)?.issuer;
        let verified = token.verify(&self.keys, &issuer.text, ALGORITHMS).await?;
        self.judge_key(verified.key(), issuer)?;
        let claims = verified.claims();
        let judged = self.judge_claims(claims, policy)?;
        if claims.string("scp")?.is_some_and(|scopes| !scopes.trim().is_empty())
            || claims.string("idtyp")? == Some("user")
        {
            return Err(InboundErrorKind::DelegatedToken.into());
        }
        let (kind, replies) = self.judge_caller(&judged, claims, policy)?;
        let service_url = match claims.string("serviceurl") {
            Ok(None) => None,
            Ok(Some(text)) => Some(ServiceUrl::parse(text).map_err(|_| InboundErrorKind::MalformedServiceUrlClaim)?),
            Err(_) => return Err(InboundErrorKind::MalformedServiceUrlClaim.into()),
        };
        Ok(AgentToken::new(AgentFacts {
            policy: policy.clone(),
            kind,
            replies,
            service_url,
            caller: judged.caller,
            app_id: judged.app_id,
            tenant: judged.issuer.tenant.clone(),
            key_id: verified.key().kid().into(),
        }))
    }

    #[inline]
    fn judge_claims(&self, claims: &Claims, policy: &ChannelPolicy) -> Result<Judged<'_>, TokenError> {
        let text = claims.required_string("iss")?;
        let issuer = self.issuers.iter().find(|issuer| issuer.text == text).ok_or(TokenErrorKind::IssuerMismatch)?;
        let tenant = claims.required_string("tid")?.parse::<TenantId>().map_err(|_| TokenErrorKind::MalformedClaim)?;
        if tenant != issuer.tenant {
            return Err(TokenErrorKind::IssuerMismatch.into());
        }
        let caller = match (claims.required_string("ver")?, issuer.text == issuer.v2) {
            ("1.0", false) => claims.required_string("appid")?,
            ("2.0", true) => claims.required_string("azp")?,
            _ => return Err(TokenErrorKind::IssuerMismatch.into()),
        };
        let caller = caller.parse::<ClientId>().map_err(|_| TokenErrorKind::MalformedClaim)?;
        let audience = claims.required_string("aud")?;
        let own = policy.app_ids();
        let app_id = match audience.parse::<ClientId>().ok().filter(|id| own.contains(id)) {
            Some(app_id) => app_id,
            // The Emulator asks for the connector's audience, and is known by the bot's own id.
            None if audience == policy.cloud().issuer() && self.lets_own_call(issuer) && own.contains(&caller) => {
                caller.clone()
            }
            None => return Err(TokenErrorKind::AudienceMismatch.into()),
        };
        claims.required_numeric_date("nbf")?;
        claims.check_lifetime(self.clock.now(), Lifetime::new(Lifetime::MAX_LEEWAY))?;
        Ok(Judged { issuer, caller, app_id })
    }

    #[inline]
    fn judge_caller(
        &self,
        judged: &Judged<'_>,
        claims: &Claims,
        policy: &ChannelPolicy,
    ) -> Result<(GroupKind, Vec<ServiceUrl>), InboundError> {
        let own = policy.app_ids().contains(&judged.caller);
        // Only the Emulator asks for the connector's audience.
        let emulator_only = claims.string("aud")? == Some(policy.cloud().issuer());
        let fits = |group: &&Group| {
            group.tenants.contains(&judged.issuer.tenant)
                && group.kind.is_own() == own
                && (!emulator_only || group.kind == GroupKind::Emulator)
        };
        let mut groups = self.groups.iter().filter(fits).peekable();
        if groups.peek().is_none() {
            // A caller of a kind that is not turned on here.
            return Err(TokenErrorKind::CallerNotAllowed.into());
        }
        for group in groups {
            if group.kind == GroupKind::Emulator {
                return Ok((group.kind, Vec::new()));
            }
            if let Some(caller) = group.callers.iter().find(|caller| caller.app_id == judged.caller) {
                return Ok((group.kind, caller.replies.clone()));
            }
        }
        Err(InboundErrorKind::AgentNotAllowed.into())
    }

    #[inline]
    fn lets_own_call(&self, issuer: &Issuer) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|group| group.kind == GroupKind::Emulator && group.tenants.contains(&issuer.tenant))
    }

    /// The key is published for this issuer, in this cloud.
    #[inline]
    fn judge_key(&self, key: &SigningKey, issuer: &Issuer) -> Result<(), TokenError> {
        if let Some(of_key) = key.issuer() {
            let of_key = of_key.replace("{tenantid}", issuer.tenant.as_str());
            if of_key != issuer.text && of_key != issuer.v2 {
                return Err(TokenErrorKind::KeyIssuerMismatch.into());
            }
        }
        let ours = match self.cloud {
            Some(Cloud::Public) => Some("microsoftonline.com"),
            Some(Cloud::UsGovernment) => Some("microsoftonline.us"),
            _ => None,
        };
        if ours.zip(key.cloud_instance_name()).is_some_and(|(ours, of_key)| ours != of_key) {
            return Err(TokenErrorKind::CloudMismatch.into());
        }
        Ok(())
    }
}

impl fmt::Debug for EntraCallers {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntraCallers").field("groups", &self.groups).field("keys", &self.keys).finish_non_exhaustive()
    }
}
