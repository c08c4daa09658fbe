use std::sync::Arc;

use url::Url;

use super::{
    TenantKeys, TenantPolicy,
    principal::{TokenVersion, tenant_of},
};
use crate::{
    Authority, BuildError, Claims, Clock, Cloud, HttpTransport, KeySource, SigningKey, TenantId, TokenError,
    TokenErrorKind, is_loopback,
};

/// Which issuers' tokens are accepted, and which keys may sign for them.
#[derive(Debug)]
pub(super) struct Issuers {
    pub(super) authority: Authority,
    pub(super) v1_issuer: Option<String>,
    pub(super) policy: TenantPolicy,
}

/// Who issued a token, by its own word and the policy's.
pub(super) struct Issued {
    pub(super) issuer: String,
    issuer_v2: String,
    tenant: TenantId,
    pub(super) version: TokenVersion,
}

impl Issuers {
    /// A policy that can let someone in and an issuer that is a template.
    #[inline]
    pub(super) fn check(&self) -> Result<(), BuildError> {
        self.policy.check()?;
        if self.v1_issuer.as_ref().is_some_and(|template| !is_issuer_template(template)) {
            return Err(BuildError::new("the version 1 issuer must be an https URL with one {tenantid}"));
        }
        Ok(())
    }

    /// The keys that Entra publishes for these issuers.
    #[inline]
    pub(super) fn own_keys(
        &self,
        transport: Option<Arc<dyn HttpTransport>>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn KeySource>, BuildError> {
        let builder = TenantKeys::builder(self.authority.clone(), self.policy.clone()).clock(Arc::clone(clock));
        let builder = transport.into_iter().fold(builder, |builder, transport| builder.transport(transport));
        Ok(Arc::new(builder.build()?))
    }

    /// Tenant and issuer belong together and are allowed. Judged before the signature, because they choose the key.
    #[inline]
    pub(super) fn judge(&self, claims: &Claims) -> Result<Issued, TokenError> {
        let issuer = claims.required_string("iss")?;
        let tenant = tenant_of(claims)?;
        if !self.policy.allows(&tenant) {
            return Err(TokenErrorKind::TenantNotAllowed.into());
        }
        let issuer_v2 = self.authority.issuer_v2(&tenant);
        let version = if issuer == issuer_v2 {
            TokenVersion::V2
        } else if self.v1_issuer(&tenant).is_some_and(|v1| issuer == v1) {
            TokenVersion::V1
        } else {
            return Err(TokenErrorKind::IssuerMismatch.into());
        };
        match (claims.string("ver")?, version) {
            (None, _) | (Some("1.0"), TokenVersion::V1) | (Some("2.0"), TokenVersion::V2) => {}
            _ => return Err(TokenErrorKind::IssuerMismatch.into()),
        }
        Ok(Issued { issuer: issuer.to_owned(), issuer_v2, tenant, version })
    }

    #[inline]
    fn v1_issuer(&self, tenant: &TenantId) -> Option<String> {
        match &self.v1_issuer {
            Some(template) => Some(template.replace(PLACEHOLDER, tenant.as_str())),
            None => self.authority.issuer_v1(tenant),
        }
    }

    /// The key is published for this issuer, in this cloud.
    #[inline]
    pub(super) fn judge_key(&self, key: &SigningKey, issued: &Issued) -> Result<(), TokenError> {
        if let Some(of_key) = key.issuer() {
            let of_key = of_key.replace(PLACEHOLDER, issued.tenant.as_str());
            // The second branch lets version 1 tokens pass with the keys of version 2 metadata.
            if of_key != issued.issuer && of_key != issued.issuer_v2 {
                return Err(TokenErrorKind::KeyIssuerMismatch.into());
            }
        }
        let ours = self.authority.cloud().and_then(cloud_instance);
        if ours.zip(key.cloud_instance_name()).is_some_and(|(ours, of_key)| ours != of_key) {
            return Err(TokenErrorKind::CloudMismatch.into());
        }
        Ok(())
    }
}

/// Stands for the tenant in the issuers of metadata and keys.
const PLACEHOLDER: &str = "{tenantid}";

/// `cloud_instance_name` of keys, where it is known.
const fn cloud_instance(cloud: Cloud) -> Option<&'static str> {
    match cloud {
        Cloud::Public => Some("microsoftonline.com"),
        Cloud::UsGovernment => Some("microsoftonline.us"),
        _ => None,
    }
}

#[inline]
fn is_issuer_template(template: &str) -> bool {
    let url = Url::parse(&template.replace(PLACEHOLDER, "tenant"));
    template.matches(PLACEHOLDER).count() == 1 && url.is_ok_and(|url| url.scheme() == "https" || is_loopback(&url))
}
