//! The second door: records that were sealed by this bot, judged again when they come back.

use std::{error::Error as StdError, fmt};

use entra_auth::{ClientId, Key, SealError, Sealer, TenantId};
use serde::{Deserialize, Serialize};

use super::{ChannelCloud, ChannelPolicy, ServiceUrl, VerifiedActivity, VerifiedReference, verified::Facts};
use crate::model::{json, object::Value};

/// Format of the plaintext: one byte of version, a line of JSON that says where it came from, and what came as JSON.
const JSON_LINES_V1: u8 = 1;

#[derive(Deserialize)]
struct Origin {
    cloud: String,
    app: ClientId,
    #[serde(default)]
    tenant: Option<TenantId>,
    url: String,
}

#[derive(Serialize)]
struct OriginOf<'a> {
    cloud: &'static str,
    app: &'a ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a TenantId>,
    url: &'a str,
}

impl VerifiedActivity {
    /// Seals the activity for its place in a queue or store.
    ///
    /// # Errors
    ///
    /// [`RecordErrorKind::Unusable`] when the activity cannot be written as JSON, or what the sealer reports. The
    /// developer.
    pub fn seal(&self, sealer: &Sealer, place: &Key) -> Result<Vec<u8>, RecordError> {
        let facts = self.facts();
        let origin = OriginOf {
            cloud: facts.cloud.as_str(),
            app: &facts.app_id,
            tenant: facts.tenant.as_ref(),
            url: facts.service_url.as_str(),
        };
        origin.seal(&facts.activity, sealer, place)
    }

    /// Opens a record that [`VerifiedActivity::seal`] made for this place, and judges it by the policy of today.
    ///
    /// # Errors
    ///
    /// See [`RecordErrorKind`]. The record is of no use in any case.
    pub fn restore(sealed: &[u8], sealer: &Sealer, place: &Key, policy: &ChannelPolicy) -> Result<Self, RecordError> {
        let (origin, activity) = Origin::open(sealed, sealer, place)?;
        let (service_url, cloud) = origin.judge(policy)?;
        let Origin { app: app_id, tenant, .. } = origin;
        Ok(Self::new(Facts { activity, service_url, tenant, app_id, cloud, size: sealed.len() }))
    }

    /// An activity that has never left this process, judged by the policy of today like a record that comes back.
    #[cfg(feature = "turns")]
    pub(crate) fn judged_by(&self, policy: &ChannelPolicy) -> Result<Self, RecordError> {
        let facts = self.facts();
        if policy.still_allows(&facts.app_id, facts.cloud, facts.tenant.as_ref(), &facts.service_url) {
            Ok(self.clone())
        } else {
            Err(RecordErrorKind::NotAllowed.into())
        }
    }
}

impl VerifiedReference {
    /// Seals the reference for its place in a store.
    ///
    /// # Errors
    ///
    /// [`RecordErrorKind::Unusable`] when the reference cannot be written as JSON, or what the sealer reports. The
    /// developer.
    pub fn seal(&self, sealer: &Sealer, place: &Key) -> Result<Vec<u8>, RecordError> {
        let origin = OriginOf {
            cloud: self.cloud.as_str(),
            app: &self.app_id,
            tenant: self.tenant.as_ref(),
            url: self.service_url.as_str(),
        };
        origin.seal(&self.reference, sealer, place)
    }

    /// Opens a record that [`VerifiedReference::seal`] made for this place, and judges it by the policy of today.
    ///
    /// # Errors
    ///
    /// See [`RecordErrorKind`]. The record is of no use in any case.
    pub fn restore(sealed: &[u8], sealer: &Sealer, place: &Key, policy: &ChannelPolicy) -> Result<Self, RecordError> {
        let (origin, reference) = Origin::open(sealed, sealer, place)?;
        let (service_url, cloud) = origin.judge(policy)?;
        Ok(Self { reference, service_url, tenant: origin.tenant, app_id: origin.app, cloud })
    }
}

impl OriginOf<'_> {
    fn seal<T: Value>(&self, what: &T, sealer: &Sealer, place: &Key) -> Result<Vec<u8>, RecordError> {
        let mut plaintext = Vec::with_capacity(4096);
        plaintext.push(JSON_LINES_V1);
        serde_json::to_writer(&mut plaintext, self).map_err(|_| RecordErrorKind::Unusable)?;
        plaintext.push(b'\n');
        let plaintext = json::write(plaintext, &what.datum()).map_err(|_| RecordErrorKind::Unusable)?;
        Ok(sealer.seal(place, &plaintext)?)
    }
}

impl Origin {
    fn open<T: Value>(sealed: &[u8], sealer: &Sealer, place: &Key) -> Result<(Self, T), RecordError> {
        let plaintext = sealer.open(place, sealed)?;
        // What is wrong inside is not passed on: it can quote the content.
        Self::read(&plaintext).ok_or_else(|| RecordErrorKind::Unusable.into())
    }

    fn read<T: Value>(plaintext: &[u8]) -> Option<(Self, T)> {
        let lines = std::str::from_utf8(plaintext.strip_prefix(&[JSON_LINES_V1])?).ok()?;
        let (origin, what) = lines.split_once('\n')?;
        Some((serde_json::from_str(origin).ok()?, json::read(what).ok()?))
    }

    fn judge(&self, policy: &ChannelPolicy) -> Result<(ServiceUrl, ChannelCloud), RecordError> {
        let cloud = ChannelCloud::named(&self.cloud).ok_or(RecordErrorKind::Unusable)?;
        let url = ServiceUrl::parse(&self.url).map_err(|_| RecordErrorKind::Unusable)?;
        if policy.still_allows(&self.app, cloud, self.tenant.as_ref(), &url) {
            Ok((url, cloud))
        } else {
            Err(RecordErrorKind::NotAllowed.into())
        }
    }
}

/// Why a record could not be sealed or restored. Retrying brings the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    kind: RecordErrorKind,
    source: Option<SealError>,
}

/// What kind of failure it is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordErrorKind {
    /// The seal does not open: changed, moved, cut, or under a key that is not configured. The operator; see the source.
    Seal,
    /// The content is of an unknown format: written by a newer version. The operator.
    Unusable,
    /// The bot, tenant, cloud or connector of the record is not allowed any more. The operator decided so.
    NotAllowed,
}

impl RecordError {
    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> RecordErrorKind {
        self.kind
    }
}

impl From<RecordErrorKind> for RecordError {
    fn from(kind: RecordErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<SealError> for RecordError {
    fn from(error: SealError) -> Self {
        Self { kind: RecordErrorKind::Seal, source: Some(error) }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RecordErrorKind::Seal => "the record's seal does not open",
            RecordErrorKind::Unusable => "the record is of an unknown format",
            RecordErrorKind::NotAllowed => "the record is of a bot, tenant or connector that is not allowed any more",
        })
    }
}

impl StdError for RecordError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source as &(dyn StdError + 'static))
    }
}
