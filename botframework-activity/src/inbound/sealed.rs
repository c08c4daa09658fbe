//! The second door: records that were sealed by this bot, judged again when they come back.

use std::{error::Error as StdError, fmt};

use entra_auth::{ClientId, Key, SealError, Sealer, TenantId};
use serde::{Deserialize, Serialize};

use super::{ChannelCloud, ChannelPolicy, ServiceUrl, VerifiedActivity, VerifiedReference, verified::Facts};
use crate::{Activity, ConversationReference};

/// Format of the plaintext: one byte of version, then JSON.
const JSON_V1: u8 = 1;

#[derive(Deserialize)]
struct Stored<T> {
    cloud: String,
    app: ClientId,
    #[serde(default)]
    tenant: Option<TenantId>,
    url: String,
    what: T,
}

#[derive(Serialize)]
struct Storing<'a, T> {
    cloud: &'static str,
    app: &'a ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a TenantId>,
    url: &'a str,
    what: &'a T,
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
        let record = Storing {
            cloud: facts.cloud.as_str(),
            app: &facts.app_id,
            tenant: facts.tenant.as_ref(),
            url: facts.service_url.as_str(),
            what: &facts.activity,
        };
        record.seal(sealer, place)
    }

    /// Opens a record that [`VerifiedActivity::seal`] made for this place, and judges it by the policy of today.
    ///
    /// # Errors
    ///
    /// See [`RecordErrorKind`]. The record is of no use in any case.
    pub fn restore(sealed: &[u8], sealer: &Sealer, place: &Key, policy: &ChannelPolicy) -> Result<Self, RecordError> {
        let record = Stored::<Activity>::open(sealed, sealer, place)?;
        let (record, service_url, cloud) = record.judge(policy)?;
        let Stored { app: app_id, tenant, what: activity, .. } = record;
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
        let record = Storing {
            cloud: self.cloud.as_str(),
            app: &self.app_id,
            tenant: self.tenant.as_ref(),
            url: self.service_url.as_str(),
            what: &self.reference,
        };
        record.seal(sealer, place)
    }

    /// Opens a record that [`VerifiedReference::seal`] made for this place, and judges it by the policy of today.
    ///
    /// # Errors
    ///
    /// See [`RecordErrorKind`]. The record is of no use in any case.
    pub fn restore(sealed: &[u8], sealer: &Sealer, place: &Key, policy: &ChannelPolicy) -> Result<Self, RecordError> {
        let record = Stored::<ConversationReference>::open(sealed, sealer, place)?;
        let (record, service_url, cloud) = record.judge(policy)?;
        Ok(Self { reference: record.what, service_url, tenant: record.tenant, app_id: record.app, cloud })
    }
}

impl<T: Serialize> Storing<'_, T> {
    fn seal(&self, sealer: &Sealer, place: &Key) -> Result<Vec<u8>, RecordError> {
        let mut plaintext = Vec::with_capacity(4096);
        plaintext.push(JSON_V1);
        // serde's message can quote the content, so it is not passed on.
        serde_json::to_writer(&mut plaintext, self).map_err(|_| RecordErrorKind::Unusable)?;
        Ok(sealer.seal(place, &plaintext)?)
    }
}

impl<T: for<'de> Deserialize<'de>> Stored<T> {
    fn open(sealed: &[u8], sealer: &Sealer, place: &Key) -> Result<Self, RecordError> {
        let plaintext = sealer.open(place, sealed)?;
        let json = plaintext.strip_prefix(&[JSON_V1]).ok_or(RecordErrorKind::Unusable)?;
        serde_json::from_slice(json).map_err(|_| RecordErrorKind::Unusable.into())
    }

    fn judge(self, policy: &ChannelPolicy) -> Result<(Self, ServiceUrl, ChannelCloud), RecordError> {
        let cloud = ChannelCloud::named(&self.cloud).ok_or(RecordErrorKind::Unusable)?;
        let url = ServiceUrl::parse(&self.url).map_err(|_| RecordErrorKind::Unusable)?;
        if policy.still_allows(&self.app, cloud, self.tenant.as_ref(), &url) {
            Ok((self, url, cloud))
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
