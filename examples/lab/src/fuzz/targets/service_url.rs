//! Addresses that tokens would go to.

use std::sync::Arc;

use botframework_activity::{ChannelAuthenticator, ChannelKeys, ChannelToken, ServiceUrl};
use entra_auth::{RetryPolicy, StaticCredential, StaticKeys, TenantPolicy, is_https_or_loopback, is_loopback};
use foundry_client::{CreateResponse, FoundryClient};
use serde_json::json;
use url::Url;

use super::{
    super::{Harness, Seen, mutate},
    activity::{Channel, HOME, SERVICE_URL},
    support::{Answer, Simulated},
};
use crate::{Fault, Random, world::Signer};

struct Addresses {
    runtime: Simulated,
    proof: ChannelToken,
    answer: Arc<Answer>,
    credential: Arc<StaticCredential>,
    keys: ChannelKeys,
}

pub(super) fn make(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    Ok(Box::new(Addresses {
        runtime: Simulated::new()?,
        proof: Channel::new()?.proof()?,
        answer: Arc::new(Answer::default()),
        credential: Arc::new(StaticCredential::new("token")?),
        keys: ChannelKeys::source(Arc::new(StaticKeys::from_jwks(&Signer::new("key-1")?.jwks())?)),
    }))
}

/// Good ones, and every trick in the book.
const SEEDS: &[&str] = &[
    SERVICE_URL,
    "https://smba.trafficmanager.net/amer/",
    "https://smba.infra.gcc.teams.microsoft.com/teams",
    "https://webchat.botframework.com/",
    "http://127.0.0.1:3979",
    "http://localhost:56150/path",
    "http://[::1]:1/",
    "https://account.services.ai.azure.com/api/projects/project",
    "https://account.openai.azure.com/openai/v1",
    "http://127.0.0.1:8080/api/projects/p",
    "https://evil.trafficmanager.net/",
    "https://smba.trafficmanager.net.evil.example/",
    "https://smba.trafficmanager.net@evil.example/",
    "https://evil.example/smba.trafficmanager.net",
    "https://smba.trafficmanager.net\\@evil.example/",
    "https:\\\\smba.trafficmanager.net/",
    "//smba.trafficmanager.net/",
    "https:///smba.trafficmanager.net/",
    "https://smba.trafficmanager.net./amer",
    "https://SMBA.trafficmanager.NET/amer",
    "https://smba.trafficmanager.net:8443/amer",
    "http://smba.trafficmanager.net/amer",
    "https://smba\u{ff0e}trafficmanager\u{3002}net/",
    "https://xn--smba-evil.example/",
    "https://2130706433/",
    "https://0x7f.1/",
    "http://127.1:80/",
    "http://0177.0.0.1/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::]/",
    "http://169.254.169.254/metadata/identity/oauth2/token",
    "http://localhost.evil.example/",
    "http://127.0.0.1.evil.example/",
    "https://%73mba.trafficmanager.net/",
    "https://smba.trafficmanager.net/amer?x=1",
    "https://smba.trafficmanager.net/amer#x",
    "https://smba.trafficmanager.net/amer/../../x",
    "https://smba.trafficmanager.net//amer",
    "https://account.services.ai.azure.com.evil.example/api/projects/p",
    "https://services.ai.azure.com/api/projects/p",
    "https://evilservices.ai.azure.com/api/projects/p",
    "data:text/plain,x",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "",
];

const FOUNDRY: &[&str] = &[
    ".services.ai.azure.com",
    ".cognitiveservices.azure.com",
    ".openai.azure.com",
    ".services.ai.azure.us",
    ".cognitiveservices.azure.us",
    ".openai.azure.us",
    ".services.ai.azure.cn",
    ".cognitiveservices.azure.cn",
    ".openai.azure.cn",
];

impl Harness for Addresses {
    fn seeds(&self) -> Vec<Vec<u8>> {
        SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect()
    }

    fn mutate(&mut self, random: &mut Random, base: &[u8], other: &[u8]) -> Vec<u8> {
        let mut input = base.to_vec();
        mutate::bytes(random, &mut input, other);
        if random.once_in(4) {
            mutate::json(random, &mut input, other);
        }
        input
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let text = String::from_utf8_lossy(input);
        let ends = [loopback(&text)?, self.opened(&text)?, self.host(&text)?, self.project(&text)?];
        let accepted = ends.iter().any(|accepted| *accepted);
        let class = format!("{ends:?} {}", Url::parse(&text).is_ok_and(|url| is_https_or_loopback(&url)));
        Ok(Seen { accepted, class })
    }
}

/// A development address is on this machine, whatever it looks like.
fn loopback(text: &str) -> Result<bool, String> {
    let Ok(url) = ServiceUrl::loopback_dev(text) else { return Ok(false) };
    let url = url.url();
    let host = url.host_str().unwrap_or_default();
    let here = host == "localhost" || host.ends_with(".localhost") || host == "[::1]" || host.starts_with("127.");
    let bare =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if here && bare && matches!(url.scheme(), "http" | "https") {
        Ok(true)
    } else {
        Err("false accept: a development address that is not on this machine, or carries more".into())
    }
}

impl Addresses {
    /// An activity's service URL is the token's, or the activity is refused.
    fn opened(&self, text: &str) -> Result<bool, String> {
        let activity = json!({
            "type": "message", "channelId": "msteams", "serviceUrl": text, "from": {"id": "29:1"},
            "conversation": {"id": "a:1", "tenantId": HOME}, "text": "hello",
        });
        match self.proof.open(activity.to_string().as_bytes()) {
            Ok(verified) if verified.service_url().as_str().eq_ignore_ascii_case(SERVICE_URL) => Ok(true),
            Ok(_) => Err("false accept: a service URL that is not the token's".into()),
            Err(_) => Ok(false),
        }
    }

    /// A connector host is a name, and none that stands for many.
    fn host(&self, text: &str) -> Result<bool, String> {
        let tenant = HOME.parse().map_err(|_| "no tenant")?;
        let app = "11111111-2222-3333-4444-5555abcdef01".parse().map_err(|_| "no id")?;
        let builder = ChannelAuthenticator::builder(app, TenantPolicy::Single(tenant), self.keys.clone());
        let taken = builder.connector_host(text).build().is_ok();
        if taken && text.contains(['*', '@', '?', '#', '\\']) {
            return Err("false accept: a connector host that is no name".into());
        }
        Ok(taken)
    }

    /// A request of a Foundry client goes to the service or to this machine.
    fn project(&self, text: &str) -> Result<bool, String> {
        let builder = FoundryClient::builder(text).credential(self.credential.clone()).transport(self.answer.clone());
        let Ok(client) = builder.retry(RetryPolicy::never()).build() else { return Ok(false) };
        self.answer.set(404, &[], b"{}");
        drop(self.runtime.run(client.responses().create(CreateResponse::new().text("x")))?);
        for address in self.answer.asked() {
            let url = Url::parse(&address).map_err(|_| "a request to something that is no URL")?;
            let host = url.host_str().unwrap_or_default().trim_end_matches('.');
            let service = url.scheme() == "https" && FOUNDRY.iter().any(|suffix| host.ends_with(suffix));
            if !service && !is_loopback(&url) {
                return Err("a request with a token to a host that is not the service's".into());
            }
        }
        Ok(true)
    }
}
