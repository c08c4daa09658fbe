//! Verified activities without a channel: sealed and restored.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::sync::Arc;

use async_trait::async_trait;
use botframework_activity::{ChannelAuthenticator, ChannelKeys, ChannelPolicy, VerifiedActivity};
use entra_auth::{KeyError, KeyErrorKind, KeyLookup, KeySource, Namespace, Sealer, SigningKey, TenantPolicy};
use serde_json::{Value, json};

pub(crate) const BOT: &str = "c3c3c3c3-0000-4000-8000-0000000000b0";
pub(crate) const TENANT: &str = "aaaaaaaa-0000-4000-8000-00000000000a";
pub(crate) const ADA: &str = "0a0a0a0a-0000-4000-8000-0000000000ad";

#[derive(Debug)]
struct NoKeys;

#[async_trait]
impl KeySource for NoKeys {
    async fn key(&self, _: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        Err(KeyErrorKind::Unknown.into())
    }

    fn revision(&self) -> u64 {
        0
    }
}

pub(crate) fn sealer() -> Sealer {
    Sealer::parse("k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap()
}

pub(crate) fn policy() -> ChannelPolicy {
    let keys = ChannelKeys::source(Arc::new(NoKeys));
    ChannelAuthenticator::builder(BOT.parse().unwrap(), TenantPolicy::Single(TENANT.parse().unwrap()), keys)
        .loopback_connectors()
        .build()
        .unwrap()
        .policy()
        .clone()
}

/// The activity as if the channel had sent it, with answers going to `service_url`.
pub(crate) fn verified(service_url: &str, activity: &Value) -> VerifiedActivity {
    let place = Namespace::precious("test").partition(["p"]).key(["k"]);
    let origin = json!({"cloud": "public", "app": BOT, "tenant": TENANT, "url": service_url});
    let plaintext = format!("\u{1}{origin}\n{activity}").into_bytes();
    let sealed = sealer().seal(&place, &plaintext).unwrap();
    VerifiedActivity::restore(&sealed, &sealer(), &place, &policy()).unwrap()
}

/// A personal message of Ada in Teams.
pub(crate) fn message(service_url: &str, id: &str, text: &str) -> Value {
    json!({
        "type": "message", "id": id, "text": text, "channelId": "msteams", "serviceUrl": service_url,
        "from": {"id": "29:ada", "name": "Ada", "aadObjectId": ADA},
        "recipient": {"id": format!("28:{BOT}"), "name": "Bot"},
        "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": TENANT},
        "channelData": {"tenant": {"id": TENANT}}
    })
}

/// An invoke of Ada in the same conversation.
pub(crate) fn invoke(service_url: &str, name: &str, value: &Value) -> Value {
    let mut activity = message(service_url, "f:invoke", "");
    let members = activity.as_object_mut().unwrap();
    members.remove("text");
    members.insert("type".into(), "invoke".into());
    members.insert("name".into(), name.into());
    members.insert("value".into(), value.clone());
    activity
}
