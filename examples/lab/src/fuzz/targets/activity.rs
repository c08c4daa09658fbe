//! What the channel sends and answers.

use std::{collections::HashSet, sync::Arc};

use botframework_activity::{
    Activity, ChannelAuthenticator, ChannelKeys, ChannelToken, ConnectorClient, ServiceUrl, json_shape,
};
use entra_auth::{RetryPolicy, StaticCredential, StaticKeys, TenantPolicy};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde_json::{Value, json};

use super::{
    super::{Harness, Seen, corpus, mutate},
    support::{Answer, CANARY, Simulated, clock, hash, signed_part, silent},
};
use crate::{
    Fault, Random,
    world::{EPOCH, Signer},
};

const APP: &str = "11111111-2222-3333-4444-5555abcdef01";
pub(super) const HOME: &str = "aaaaaaaa-0000-4000-8000-00000000000a";
/// The same in the token and in activities.
pub(super) const SERVICE_URL: &str = "https://smba.trafficmanager.net/amer/aaaaaaaa-0000-4000-8000-00000000000a";

/// A channel with one key, and an authenticator that knows it.
pub(super) struct Channel {
    pub(super) runtime: Simulated,
    signer: Signer,
    pub(super) authenticator: ChannelAuthenticator,
}

impl Channel {
    pub(super) fn new() -> Result<Self, Fault> {
        let signer = Signer::new("channel")?;
        let keys = StaticKeys::from_jwks(&signer.channel_jwks())?;
        let keys = ChannelKeys::source(Arc::new(keys));
        let policy = TenantPolicy::Single(HOME.parse()?);
        let authenticator = ChannelAuthenticator::builder(APP.parse()?, policy, keys).clock(clock()?).build()?;
        Ok(Self { runtime: Simulated::new()?, signer, authenticator })
    }

    fn claims(change: Value) -> Value {
        let mut claims = json!({
            "serviceurl": SERVICE_URL, "nbf": EPOCH - 60, "exp": EPOCH + 3540, "iss": "https://api.botframework.com",
            "aud": APP,
        });
        if let (Some(claims), Value::Object(change)) = (claims.as_object_mut(), change) {
            claims.extend(change);
        }
        claims
    }

    /// The proof that opens bodies.
    pub(super) fn proof(&self) -> Result<ChannelToken, Fault> {
        let token = self.signer.sign(&Self::claims(json!({})))?;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?)]);
        Ok(self.runtime.run(self.authenticator.authenticate(&headers))??)
    }
}

struct Token {
    channel: Channel,
    seeds: Vec<Vec<u8>>,
    signed: HashSet<Vec<u8>>,
}

pub(super) fn make_token(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    let channel = Channel::new()?;
    let (mut seeds, mut signed) = (Vec::new(), HashSet::new());
    for (change, good) in [
        (json!({}), true),
        (json!({"serviceurl": "https://smba.trafficmanager.net/emea/"}), true),
        (json!({"serviceurl": "https://evil.trafficmanager.net/"}), false),
        (json!({"exp": EPOCH - 3600}), false),
        (json!({"iss": "https://sts.windows.net/x/"}), false),
        (json!({"aud": "ffffffff-0000-0000-0000-00000000000f"}), false),
    ] {
        let token = channel.signer.sign(&Channel::claims(change))?.into_bytes();
        if good {
            signed.insert(signed_part(&token).to_vec());
        }
        seeds.push(token);
    }
    Ok(Box::new(Token { channel, seeds, signed }))
}

impl Harness for Token {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn mutate(&mut self, random: &mut Random, base: &[u8], other: &[u8]) -> Vec<u8> {
        mutate::jwt(random, base, other)
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let Ok(header) = HeaderValue::from_bytes(&[b"Bearer ", input].concat()) else {
            return Ok(Seen::refused("no header"));
        };
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
        match self.channel.runtime.run(self.channel.authenticator.authenticate(&headers))? {
            Ok(_) if !self.signed.contains(signed_part(input)) => {
                Err("false accept: the channel has not signed this, or not for this bot".into())
            }
            Ok(_) => Ok(Seen::accepted("ok")),
            Err(error) => Ok(Seen::refused(format!("{:?}", error.kind()))),
        }
    }
}

struct Body {
    proof: ChannelToken,
    seeds: Vec<Vec<u8>>,
}

pub(super) fn make_body(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    let proof = Channel::new()?.proof()?;
    let mut seeds = corpus::files("botframework-activity/tests/fixtures/activities", "json")?;
    // Seeds that reach the end: of this service URL and tenant.
    for seed in &mut seeds {
        if let Ok(mut activity) = serde_json::from_slice::<Value>(seed) {
            activity["serviceUrl"] = SERVICE_URL.into();
            activity["channelId"] = "msteams".into();
            if activity["conversation"].is_object() {
                activity["conversation"]["tenantId"] = HOME.into();
            }
            if activity["channelData"]["tenant"].is_object() {
                activity["channelData"]["tenant"]["id"] = HOME.into();
            }
            *seed = activity.to_string().into_bytes();
        }
    }
    Ok(Box::new(Body { proof, seeds }))
}

impl Harness for Body {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let shape = json_shape(input);
        if let Ok(activity) = Activity::from_json(input) {
            read_everything(&activity);
            let first = activity.to_json().map_err(|_| "an activity that was read cannot be written")?;
            let again = Activity::from_json(&first).map_err(|_| "an activity that was written cannot be read")?;
            if again.to_json().ok().as_ref() != Some(&first) {
                return Err("an activity changes each time it is written".into());
            }
        }
        match self.proof.open(input) {
            Ok(verified) => {
                if !verified.service_url().as_str().eq_ignore_ascii_case(SERVICE_URL) {
                    return Err("false accept: a service URL that is not the token's".into());
                }
                if verified.tenant().is_none_or(|tenant| tenant.as_str() != HOME) {
                    return Err("false accept: a tenant that is not let in".into());
                }
                if shape.depth > 64 || shape.nodes > 10_000 || input.len() > 256 << 10 {
                    return Err("false accept: beyond the limits".into());
                }
                let _ = (verified.user_key(), verified.conversation_key(), verified.reference());
                read_everything(verified.activity());
                Ok(Seen::accepted("ok"))
            }
            Err(error) => Ok(Seen::refused(format!("{:?}", error.kind()))),
        }
    }
}

/// Everything that is read on demand.
fn read_everything(activity: &Activity) {
    let _ = (activity.members_added(), activity.members_removed(), activity.reactions_added());
    let _ = (activity.reactions_removed(), activity.entities(), activity.suggested_actions(), activity.relates_to());
    let _ = (activity.listen_for(), activity.text_highlights(), activity.semantic_action(), activity.invoke_name());
    let _ = (activity.channel_data::<Value>(), activity.value::<Value>(), activity.conversation_reference());
    let _ = (activity.mentions(), activity.mentions_recipient(), activity.text_without_mentions());
    let _ = activity.timestamp.as_ref().map(botframework_activity::Timestamp::parse);
}

struct Connector {
    runtime: Simulated,
    answer: Arc<Answer>,
    client: ConnectorClient,
    at: ServiceUrl,
    activity: Activity,
}

pub(super) fn make_answer(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    let answer = Arc::new(Answer::default());
    let credential = Arc::new(StaticCredential::new("token")?);
    let client =
        ConnectorClient::builder(answer.clone(), credential).retry(RetryPolicy::never()).clock(clock()?).build()?;
    let activity = json!({"type": "message", "text": "hello", "conversation": {"id": "a:1"}, "replyToId": "1"});
    Ok(Box::new(Connector {
        runtime: Simulated::new()?,
        answer,
        client,
        at: ServiceUrl::loopback_dev("http://127.0.0.1:3979")?,
        activity: Activity::from_json(activity.to_string().as_bytes())?,
    }))
}

impl Harness for Connector {
    fn seeds(&self) -> Vec<Vec<u8>> {
        [
            json!({"id": "1:abc"}),
            json!({"activityId": "5", "id": ""}),
            json!({"error": {"code": "BotNotInConversationRoster", "message": CANARY, "innerHttpError": {"statusCode": 400, "body": CANARY}}}),
            json!({"error": {"code": "ServiceError", "message": "x"}, "statusCode": 502}),
            json!({"message": "Authorization has been denied for this request."}),
            json!("text"),
        ]
        .iter()
        .map(|seed| seed.to_string().into_bytes())
        .chain([Vec::new(), b"<html>gateway</html>".to_vec()])
        .collect()
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let number = hash(input);
        let status = self.answer.set_any(
            number,
            &[200, 201, 202, 204, 400, 401, 403, 404, 412, 413, 429, 500, 502, 503, 504, 302],
            input,
        );
        let sent = self.runtime.run(async {
            match number.is_multiple_of(3) {
                true => self.client.send(&self.at, &self.activity).await,
                false => self.client.reply(&self.at, &self.activity).await,
            }
        })?;
        if self.answer.asked().iter().any(|address| !address.starts_with("http://127.0.0.1:3979/")) {
            return Err("a request to another address".into());
        }
        match sent {
            Ok(sent) if !(200..300).contains(&status) => Err(format!("sent as {:?} with status {status}", sent.id())),
            Ok(sent) => Ok(Seen::accepted(format!("{status} {}", sent.id().is_some()))),
            Err(error) => {
                silent(&error)?;
                Ok(Seen::refused(format!("{status} {:?} {:?}", error.kind(), error.delivery())))
            }
        }
    }
}
