//! The second door: records that were sealed by this bot, judged again when they come back.

use std::{error::Error as StdError, fmt};

use entra_auth::{ClientId, Key, SealError, Sealer, TenantId};

use super::{ChannelCloud, ChannelPolicy, ServiceUrl, VerifiedActivity, VerifiedReference, verified::Facts};
use crate::model::{
    json,
    object::{Value, wire_object},
};

/// Format of the plaintext: one byte of version, a line of JSON that says where it came from, and what came as JSON.
const JSON_LINES_V1: u8 = 1;

wire_object! {
    /// Where a record came from, as its line says it.
    struct Origin {
        pub cloud: Option<String> = "cloud";
        pub app: Option<String> = "app";
        pub tenant: Option<String> = "tenant";
        pub url: Option<String> = "url";
    }
}

/// The same, read.
struct Provenance {
    cloud: ChannelCloud,
    app_id: ClientId,
    tenant: Option<TenantId>,
    service_url: ServiceUrl,
}

impl VerifiedActivity {
    /// Seals the activity for its place in a queue or store.
    ///
    /// # Errors
    ///
    /// [`RecordErrorKind::Unusable`] when the activity cannot be written as JSON, or what the sealer reports. The
    /// developer.
    #[inline]
    pub fn seal(&self, sealer: &Sealer, place: &Key) -> Result<Vec<u8>, RecordError> {
        let facts = self.facts();
        let origin = Origin::of(facts.cloud, &facts.app_id, facts.tenant.as_ref(), &facts.service_url);
        origin.seal(&facts.activity, sealer, place)
    }

    /// Opens a record that [`VerifiedActivity::seal`] made for this place, and judges it by the policy of today.
    ///
    /// # Errors
    ///
    /// See [`RecordErrorKind`]. The record is of no use in any case.
    #[inline]
    pub fn restore(sealed: &[u8], sealer: &Sealer, place: &Key, policy: &ChannelPolicy) -> Result<Self, RecordError> {
        let (origin, activity) = Origin::open(sealed, sealer, place)?;
        let Provenance { cloud, app_id, tenant, service_url } = origin.judge(policy)?;
        Ok(Self::new(Facts { activity, service_url, tenant, app_id, cloud, size: sealed.len() }))
    }

    /// An activity that has never left this process, judged by the policy of today like a record that comes back.
    #[cfg(feature = "turns")]
    #[inline]
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
    #[inline]
    pub fn seal(&self, sealer: &Sealer, place: &Key) -> Result<Vec<u8>, RecordError> {
        let origin = Origin::of(self.cloud, &self.app_id, self.tenant.as_ref(), &self.service_url);
        origin.seal(&self.reference, sealer, place)
    }

    /// Opens a record that [`VerifiedReference::seal`] made for this place, and judges it by the policy of today.
    ///
    /// # Errors
    ///
    /// See [`RecordErrorKind`]. The record is of no use in any case.
    #[inline]
    pub fn restore(sealed: &[u8], sealer: &Sealer, place: &Key, policy: &ChannelPolicy) -> Result<Self, RecordError> {
        let (origin, reference) = Origin::open(sealed, sealer, place)?;
        let Provenance { cloud, app_id, tenant, service_url } = origin.judge(policy)?;
        Ok(Self { reference, service_url, tenant, app_id, cloud })
    }
}

impl Origin {
    #[inline]
    fn of(cloud: ChannelCloud, app_id: &ClientId, tenant: Option<&TenantId>, url: &ServiceUrl) -> Self {
        Self {
            cloud: Some(cloud.as_str().to_owned()),
            app: Some(app_id.to_string()),
            tenant: tenant.map(TenantId::to_string),
            url: Some(url.as_str().to_owned()),
            ..Self::default()
        }
    }

    #[inline]
    fn seal<T: Value>(&self, what: &T, sealer: &Sealer, place: &Key) -> Result<Vec<u8>, RecordError> {
        let mut plaintext = Vec::with_capacity(4096);
        plaintext.push(JSON_LINES_V1);
        let mut plaintext = json::write(plaintext, &self.datum()).map_err(|_| RecordErrorKind::Unusable)?;
        plaintext.push(b'\n');
        let plaintext = json::write(plaintext, &what.datum()).map_err(|_| RecordErrorKind::Unusable)?;
        Ok(sealer.seal(place, &plaintext)?)
    }

    #[inline]
    fn open<T: Value>(sealed: &[u8], sealer: &Sealer, place: &Key) -> Result<(Self, T), RecordError> {
        let plaintext = sealer.open(place, sealed)?;
        // What is wrong inside is not passed on: it can quote the content.
        Self::read(&plaintext).ok_or_else(|| RecordErrorKind::Unusable.into())
    }

    #[inline]
    fn read<T: Value>(plaintext: &[u8]) -> Option<(Self, T)> {
        let lines = std::str::from_utf8(plaintext.strip_prefix(&[JSON_LINES_V1])?).ok()?;
        let (origin, what) = lines.split_once('\n')?;
        Some((json::read(origin).ok()?, json::read(what).ok()?))
    }

    #[inline]
    fn judge(&self, policy: &ChannelPolicy) -> Result<Provenance, RecordError> {
        let told = self.parse().ok_or(RecordErrorKind::Unusable)?;
        if policy.still_allows(&told.app_id, told.cloud, told.tenant.as_ref(), &told.service_url) {
            Ok(told)
        } else {
            Err(RecordErrorKind::NotAllowed.into())
        }
    }

    #[inline]
    fn parse(&self) -> Option<Provenance> {
        Some(Provenance {
            cloud: ChannelCloud::named(self.cloud.as_ref()?)?,
            app_id: self.app.as_ref()?.parse().ok()?,
            tenant: self.tenant.as_ref().map(|tenant| tenant.parse()).transpose().ok()?,
            service_url: ServiceUrl::parse(self.url.as_ref()?).ok()?,
        })
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
    #[inline]
    pub const fn kind(&self) -> RecordErrorKind {
        self.kind
    }
}

impl From<RecordErrorKind> for RecordError {
    #[inline]
    fn from(kind: RecordErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<SealError> for RecordError {
    #[inline]
    fn from(error: SealError) -> Self {
        Self { kind: RecordErrorKind::Seal, source: Some(error) }
    }
}

impl fmt::Display for RecordError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RecordErrorKind::Seal => "the record's seal does not open",
            RecordErrorKind::Unusable => "the record is of an unknown format",
            RecordErrorKind::NotAllowed => "the record is of a bot, tenant or connector that is not allowed any more",
        })
    }
}

impl StdError for RecordError {
    #[inline]
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source as &(dyn StdError + 'static))
    }
}
