//! One verdict a line: does the request pass, and if not, which rule did it break?

use std::{
    borrow::Cow,
    io::{self, BufRead, Write},
    sync::Arc,
    time::Duration,
};

use botframework_activity::{ChannelAuthenticator, ChannelKeys};
use entra_auth::{
    AccessTokenValidator, AllowedCallers, Authority, Body, Deadline, HttpTransport, JwksClient, ReqwestTransport,
    TenantId, TenantPolicy,
};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use url::Url;

use crate::settings::{ChannelSettings, EntraSettings, VerdictClock, VerdictSettings};

/// A line of stdin. Members that are not named here are ignored.
#[derive(Deserialize)]
struct Case<'a> {
    #[serde(default)]
    name: String,
    #[serde(default)]
    profile: String,
    /// The raw value of the header; null when there is none.
    #[serde(default)]
    authorization: Option<String>,
    /// The bytes of the body as they stand in the line.
    #[serde(borrow, default)]
    activity: Option<&'a RawValue>,
}

/// A line of stdout.
#[derive(Serialize)]
struct Verdict<'a> {
    name: &'a str,
    verdict: &'static str,
    rule: Option<&'static str>,
}

/// Judges by the settings, with the code that a bot or an API runs.
#[derive(Debug)]
pub(crate) struct Judge {
    channel: Option<ChannelAuthenticator>,
    entra: Option<AccessTokenValidator>,
}

impl Judge {
    pub(crate) async fn new(settings: VerdictSettings) -> Result<Self, String> {
        let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new().map_err(|error| error.to_string())?);
        let VerdictSettings { clock, channel, entra } = settings;
        let channel = channel.map(|settings| channel_judge(settings, clock, &transport)).transpose()?;
        let entra = match entra {
            Some(settings) => Some(entra_judge(settings, clock, &transport).await?),
            None => None,
        };
        Ok(Self { channel, entra })
    }

    pub(crate) async fn run(&self, input: impl BufRead, output: &mut impl Write) -> io::Result<()> {
        let mut told = false;
        for line in input.split(b'\n') {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let line = line.trim_ascii();
            // An array of the right values would pass for an object.
            let case: Option<Case<'_>> = line.starts_with(b"{").then(|| serde_json::from_slice(line).ok()).flatten();
            let (name, rule) = match &case {
                Some(case) => (Cow::Borrowed(case.name.as_str()), self.judge(case).await),
                None => (Cow::Owned(name_of(line)), Some("malformed-input")),
            };
            if rule == Some("keys-unavailable") && !std::mem::replace(&mut told, true) {
                eprintln!(
                    "the signing keys could not be fetched, so these verdicts say keys-unavailable: check the network, or \
                     BF_METADATA_URL and ENTRA_METADATA_URL when they are set"
                );
            }
            let verdict = if rule.is_none() { "accept" } else { "reject" };
            serde_json::to_writer(&mut *output, &Verdict { name: &name, verdict, rule })?;
            output.write_all(b"\n")?;
            output.flush()?;
        }
        Ok(())
    }

    /// The rule that the case breaks; `None` when it passes.
    async fn judge(&self, case: &Case<'_>) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        if let Some(value) = &case.authorization {
            // What no HTTP server would let through does not reach the rules either.
            let Ok(value) = HeaderValue::from_str(value) else { return Some("malformed-header") };
            headers.insert(AUTHORIZATION, value);
        }
        match case.profile.as_str() {
            "bf-channel" => {
                let Some(channel) = &self.channel else { return Some("profile-not-configured") };
                let body = case.activity.map_or("", RawValue::get).as_bytes();
                let opened = match channel.authenticate(&headers).await {
                    Ok(token) => token.open(body).map(drop),
                    Err(error) => Err(error),
                };
                opened.err().map(|error| error.kind().as_str())
            }
            "entra-v2" => {
                let Some(entra) = &self.entra else { return Some("profile-not-configured") };
                entra.authenticate(&headers).await.err().map(|error| error.kind().as_str())
            }
            _ => Some("unknown-profile"),
        }
    }
}

/// The name of a line that is an object but no case, so that whoever wrote it finds it again.
fn name_of(line: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    value.get("name").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn channel_judge(
    settings: ChannelSettings,
    clock: VerdictClock,
    transport: &Arc<dyn HttpTransport>,
) -> Result<ChannelAuthenticator, String> {
    let keys = ChannelKeys::fetched(Arc::clone(transport));
    let mut builder = ChannelAuthenticator::builder(settings.app_id, TenantPolicy::Any, keys).clock(Arc::new(clock));
    if let Some(url) = settings.metadata_url {
        builder = builder.metadata_url(url);
    }
    builder.build().map_err(|error| format!("BF_METADATA_URL or BF_APP_ID cannot be used: {error}"))
}

async fn entra_judge(
    settings: EntraSettings,
    clock: VerdictClock,
    transport: &Arc<dyn HttpTransport>,
) -> Result<AccessTokenValidator, String> {
    let authority = match &settings.metadata_url {
        Some(url) => announced(url, &settings.tenant, &**transport).await.unwrap_or_default(),
        None => Authority::default(),
    };
    let metadata_url = settings.metadata_url.unwrap_or_else(|| authority.openid_configuration(&settings.tenant));
    let keys = JwksClient::builder(metadata_url)
        .transport(Arc::clone(transport))
        .clock(Arc::new(clock))
        .build()
        .map_err(|error| format!("ENTRA_METADATA_URL cannot be used: {error}"))?;
    AccessTokenValidator::builder(authority, [settings.audience], TenantPolicy::Single(settings.tenant))
        .keys(Arc::new(keys))
        .clock(Arc::new(clock))
        // Who may call is for each API to say; a verdict is about the token.
        .app_callers(AllowedCallers::Any)
        .infer_app_tokens()
        .build()
        .map_err(|error| error.to_string())
}

/// The authority whose issuer a metadata document announces: one of Microsoft's clouds, or one on loopback.
///
/// Nothing is trusted by this that the setting does not trust already: whoever names the metadata names the keys.
async fn announced(metadata: &Url, tenant: &TenantId, transport: &dyn HttpTransport) -> Option<Authority> {
    let mut request = http::Request::get(metadata.as_str()).body(Body::empty()).ok()?;
    request.extensions_mut().insert(Deadline(Instant::now() + Duration::from_secs(5)));
    let document = transport.send(request).await.ok()?.into_body().collect(256 << 10).await.ok()?;
    let document: serde_json::Value = serde_json::from_slice(&document).ok()?;
    let base = document.get("issuer")?.as_str()?.strip_suffix("/v2.0")?;
    let base = base.strip_suffix(tenant.as_str()).or_else(|| base.strip_suffix("{tenantid}"))?;
    base.trim_end_matches('/').parse().ok()
}
