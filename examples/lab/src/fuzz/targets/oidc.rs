//! Discovery documents: whatever they say, no request goes to a host that was not allowed.

use std::sync::Arc;

use entra_auth::{Authority, Discovery, JwksClient, KeyLookup, KeySource, RetryPolicy};
use serde_json::json;
use url::Url;

use super::{
    super::{Harness, Seen},
    support::{Answer, Simulated},
};
use crate::{
    Fault, Random,
    world::{Signer, TENANT},
};

struct Documents {
    runtime: Simulated,
    answer: Arc<Answer>,
    seeds: Vec<Vec<u8>>,
}

const END: &str = "openid-configuration";
const LISTED: &str = "keys.example.com";
const HOST: &str = "login.new.example";

pub(super) fn make(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    let base = format!("https://login.microsoftonline.com/{TENANT}");
    let full = json!({
        "issuer": format!("{base}/v2.0"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "tenant_region_scope": "EU", "cloud_instance_name": "microsoftonline.com", "msgraph_host": "graph.microsoft.com",
    });
    let mut listed = full.clone();
    listed["jwks_uri"] = format!("https://{LISTED}/keys").into();
    let mut foreign = full.clone();
    foreign["jwks_uri"] = "https://evil.example/keys".into();
    let network = |name: &str, alias: &str| json!({"metadata": [{"preferred_network": name, "preferred_cache": "x", "aliases": [alias]}]});
    let seeds = [
        full,
        listed,
        foreign,
        network(HOST, HOST),
        network("login.microsoftonline.us", HOST),
        network("evil.example:1", HOST),
        network("evil.example", "other.example"),
    ];
    let answer = Arc::new(Answer::default());
    answer.special(END, Signer::new("key-1")?.jwks());
    let seeds = seeds.iter().map(|seed| seed.to_string().into_bytes()).collect();
    Ok(Box::new(Documents { runtime: Simulated::new()?, answer, seeds }))
}

impl Harness for Documents {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        self.answer.set(200, &[], input);
        let keys = self.keys()?;
        let (configuration, authority) = self.discovered(input)?;
        let class = format!("{keys} {configuration} {authority}");
        Ok(if class.contains("ok") { Seen::accepted(class) } else { Seen::refused(class) })
    }
}

impl Documents {
    fn keys(&self) -> Result<String, String> {
        let answer = Arc::clone(&self.answer);
        let found = self.runtime.run(async move {
            let tenant = TENANT.parse().map_err(|_| "no tenant")?;
            let authority = Authority::default();
            let client = JwksClient::builder(authority.openid_configuration(&tenant))
                .transport(answer)
                .retry(RetryPolicy::never())
                .expected_issuer(authority.issuer_v2(&tenant))
                .allowed_hosts([LISTED])
                .build()
                .map_err(|error| error.to_string())?;
            Ok::<_, String>(client.key(KeyLookup::new("x", "key-1")).await.err().map(|error| error.kind()))
        })??;
        for address in self.answer.asked() {
            let url = Url::parse(&address).map_err(|_| "a request to something that is no URL")?;
            let allowed = matches!(url.host_str(), Some("login.microsoftonline.com" | LISTED));
            if url.scheme() != "https" || !allowed || url.port().is_some() || !url.username().is_empty() {
                return Err("a request to a host that is not allowed".into());
            }
        }
        Ok(found.map_or_else(|| "ok".into(), |kind| format!("{kind:?}")))
    }

    fn discovered(&self, input: &[u8]) -> Result<(String, String), String> {
        let authority = Authority::default();
        let tenant = TENANT.parse().map_err(|_| "no tenant")?;
        // Every question gets these bytes.
        let everything = Arc::new(Answer::default());
        everything.set(200, &[], input);
        let (configuration, instance) = self.runtime.run(async {
            let discovery = Discovery::new(everything.clone());
            (discovery.openid_configuration(&authority, &tenant).await, discovery.authority_of_host(HOST).await)
        })?;
        let configuration = match configuration {
            Ok(document) => {
                let endpoints = [&document.authorization_endpoint, &document.token_endpoint, &document.jwks_uri];
                let more = [&document.device_authorization_endpoint, &document.end_session_endpoint];
                let all = endpoints.into_iter().chain(more.into_iter().flatten());
                if all.into_iter().any(|url| url.origin() != authority.url().origin()) {
                    return Err("an endpoint on another host is believed".into());
                }
                if document.issuer != authority.issuer_v2(&tenant)
                    && Some(&document.issuer) != authority.issuer_v1(&tenant).as_ref()
                {
                    return Err("another issuer is believed".into());
                }
                "ok".into()
            }
            Err(error) => format!("{:?}", error.kind()),
        };
        let instance = match instance {
            Ok(found) if found.url().scheme() == "https" && found.url().port().is_none() => {
                if !String::from_utf8_lossy(input).contains(HOST.get(..5).unwrap_or_default()) {
                    return Err("a host that nobody vouched for is believed".into());
                }
                "ok".into()
            }
            Ok(_) => return Err("an authority without https, or on a port".into()),
            Err(error) => format!("{:?}", error.kind()),
        };
        Ok((configuration, instance))
    }
}
