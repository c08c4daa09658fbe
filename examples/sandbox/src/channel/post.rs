//! Posting an activity to the bot as the channel service does: the captured headers, a signed token, a deadline.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;
use tokio::time::Instant;

use super::ids;
use crate::constants::BOT_APP_ID;
use crate::state::Shared;
use crate::tokens;

/// What Teams calls itself.
pub(crate) const USER_AGENT: &str = "Microsoft-SkypeBotApi (Microsoft-BotFramework/3.0)";
const CONTENT_TYPE: &str = "application/json; charset=utf-8";
/// Longest answer kept, bytes.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// Why there was no HTTP answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The sandbox was not told where the bot listens, or that address is not on loopback.
    NoEndpoint,
    /// Nobody listens there.
    Connect,
    /// No complete answer in time. Teams reports `GatewayTimeout`, or delivers again.
    Timeout,
    /// The connection broke, or the answer was over 4 MiB.
    Interrupted,
}

/// The bot's answer to one POST.
#[derive(Debug, Clone)]
pub struct Posted {
    /// HTTP status; 0 when there was no answer.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// Response body. For an invoke it is the invoke's result.
    pub body: Bytes,
    /// From the first byte sent to the last byte received.
    pub elapsed: Duration,
    /// Set when there was no answer.
    pub failure: Option<Failure>,
}

impl Posted {
    /// Any 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON, when it is.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer as JSON, for tests in other languages.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "status": self.status, "body": self.json().unwrap_or_else(|| Value::String(self.text())),
            "elapsedMs": super::room::millis(self.elapsed), "failure": self.failure.map(|failure| format!("{failure:?}")),
        })
    }

    pub(crate) fn failed(failure: Failure, elapsed: Duration) -> Self {
        Self { status: 0, headers: HeaderMap::new(), body: Bytes::new(), elapsed, failure: Some(failure) }
    }
}

/// The channel's HTTP client. It follows no redirects, uses no proxy and keeps no connection, so that a restarted bot is found again.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    client: OnceLock<reqwest::Client>,
}

impl Wire {
    pub(crate) fn client(&self, shared: &Shared) -> reqwest::Client {
        self.client.get_or_init(|| build(shared.trusted_ca())).clone()
    }
}

fn build(trusted_ca: Option<&str>) -> reqwest::Client {
    let certificates =
        trusted_ca.and_then(|pem| reqwest::Certificate::from_pem_bundle(pem.as_bytes()).ok()).unwrap_or_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .tls_certs_only(certificates)
        .build()
        .unwrap_or_default()
}

/// The headers of a signed request, without `Authorization`.
pub(crate) fn headers(activity: &Value) -> HeaderMap {
    let text = |pointer: &str| activity.pointer(pointer).and_then(Value::as_str);
    let tenant = text("/conversation/tenantId").or_else(|| text("/channelData/tenant/id"));
    let mut map = HeaderMap::new();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    map.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    put(&mut map, "x-ms-conversation-id", text("/conversation/id").unwrap_or_default());
    put(&mut map, "x-ms-tenant-id", tenant.unwrap_or_default());
    put(&mut map, "ms-cv", &ids::correlation());
    map
}

fn put(map: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        map.insert(HeaderName::from_static(name), value);
    }
}

/// The `Authorization` value of a fresh channel token. The `serviceurl` claim is the lower-case form of `service_url`.
pub(crate) fn authorization(shared: &Shared, service_url: &str) -> HeaderValue {
    let token = tokens::channel_token(shared, BOT_APP_ID, service_url);
    HeaderValue::from_str(&format!("Bearer {token}")).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
}

/// Posts bytes to the bot.
pub(crate) async fn send(
    client: &reqwest::Client,
    endpoint: Option<&str>,
    headers: HeaderMap,
    body: Bytes,
    limit: Duration,
) -> Posted {
    let started = Instant::now();
    let Some(endpoint) = endpoint.and_then(loopback) else {
        return Posted::failed(Failure::NoEndpoint, started.elapsed());
    };
    let exchange = exchange(client.post(endpoint).headers(headers).body(body), started);
    match tokio::time::timeout(limit, exchange).await {
        Ok(Ok(posted)) => posted,
        Ok(Err(failure)) => Posted::failed(failure, started.elapsed()),
        Err(_) => Posted::failed(Failure::Timeout, started.elapsed()),
    }
}

async fn exchange(request: reqwest::RequestBuilder, started: Instant) -> Result<Posted, Failure> {
    let mut response = request
        .send()
        .await
        .map_err(|error| if error.is_connect() { Failure::Connect } else { Failure::Interrupted })?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Failure::Interrupted)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(Failure::Interrupted);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Posted {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: Bytes::from(body),
        elapsed: started.elapsed(),
        failure: None,
    })
}

/// The address, when it is http or https on this machine.
pub(crate) fn loopback(address: &str) -> Option<url::Url> {
    let url = url::Url::parse(address).ok()?;
    let local = match url.host()? {
        url::Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
    };
    let plain = url.username().is_empty() && url.password().is_none();
    (local && plain && matches!(url.scheme(), "http" | "https")).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::loopback;

    #[test]
    fn only_this_machine_is_posted_to() {
        for good in
            ["http://127.0.0.1:3978/api/messages", "http://localhost/x", "https://[::1]:1/", "http://127.1.2.3/"]
        {
            assert!(loopback(good).is_some(), "{good}");
        }
        for bad in [
            "http://10.0.0.1/",
            "https://smba.trafficmanager.net/",
            "http://localhost.evil.example/",
            "http://127.0.0.1@evil.example/",
            "http://a@127.0.0.1/",
            "ftp://127.0.0.1/",
            "x",
        ] {
            assert!(loopback(bad).is_none(), "{bad}");
        }
    }
}
