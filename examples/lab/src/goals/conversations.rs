//! P5.5: what a turn costs when many conversations are known.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use botframework_activity::{
    Activity, ChannelAuthenticator, ChannelKeys, ConnectorClient, MemoryTurnQueue, Outcome as Answer, Received, Turn,
    TurnRunner,
};
use entra_auth::{Body, HttpTransport, StaticCredential, StaticKeys, TenantPolicy, TransportError};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, API, EPOCH, Signer, TENANT, WorldClock, median},
};

/// How many turns are measured in a round, for each number of conversations.
pub const TURNS: Setting = Setting::new("turns", "4000", "200");
/// How many rounds.
pub const ROUNDS: Setting = Setting::new("rounds", "7", "3");
/// The number of conversations that is measured against a few.
pub const MANY: Setting = Setting::new("many", "10000", "1500");
/// A number that is printed besides.
pub const VERY_MANY: Setting = Setting::new("very-many", "100000", "2000");

const FEW: usize = 200;
const RATIO: f64 = 1.2;
const SERVICE_URL: &str = "https://smba.trafficmanager.net/amer/11111111-1111-1111-1111-111111111111";
/// How long turns may take to end; far more than they need.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that answers messages.
#[async_trait]
pub trait Bot: Send + Sync {
    /// Takes this body in, as it came. Returns when it is answered.
    async fn turn(&self, body: &[u8]) -> Result<(), Fault>;
}

/// Makes a bot that knows nobody yet.
pub type MakeBot = fn() -> Result<Arc<dyn Bot>, Fault>;

/// Measures the crates.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, echo)
}

/// Measures whatever `make` makes. All of it runs on one thread, whose processor time is what counts; other time is
/// simulated, since the connector takes fifty messages a second and no more.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeBot) -> Result<Outcome, Fault> {
    let (turns, rounds) = (options.number(&TURNS)?, options.number(&ROUNDS)?);
    let sizes = [FEW, options.number(&MANY)?, options.number(&VERY_MANY)?];
    let mut random = Random::new(options.seed);
    world::paused()?.block_on(async {
        let mut bots = Vec::new();
        let mut number = 0;
        for size in sizes {
            let bot = make()?;
            for conversation in 0..size {
                number += 1;
                bot.turn(&message(conversation, number)).await?;
            }
            bots.push((size, bot, Vec::new(), Vec::new()));
        }
        for _ in 0..rounds {
            let mut base = 0.0;
            for (size, bot, costs, ratios) in &mut bots {
                let bodies: Vec<Vec<u8>> = (0..turns)
                    .map(|_| {
                        number += 1;
                        message(random.index(*size), number)
                    })
                    .collect();
                let start = world::thread_cpu();
                for body in &bodies {
                    bot.turn(body).await?;
                }
                let cost = world::thread_cpu().saturating_sub(start).as_secs_f64() / turns.max(1) as f64;
                if base == 0.0 {
                    base = cost;
                }
                costs.push(cost * 1e6);
                ratios.push(cost / base.max(1e-12));
            }
        }
        let figures: Vec<(f64, f64)> =
            bots.iter_mut().map(|(_, _, costs, ratios)| (median(costs), median(ratios))).collect();
        let round = |figure: f64| (figure * 100.0).round() / 100.0;
        let at = |n: usize| figures.get(n).copied().unwrap_or_default();
        Ok(Outcome::new(round(at(1).1), RATIO)
            .require("a turn among many conversations costs at most 1.2x one among 200", at(1).1 <= RATIO)
            .note("conversations", sizes.to_vec())
            .note("turns", turns * rounds)
            .note("ratio_many", round(at(1).1))
            .note("ratio_very_many", round(at(2).1))
            .note("cpu_us_a_turn", figures.iter().map(|(cost, _)| round(*cost)).collect::<Vec<_>>()))
    })
}

fn message(conversation: usize, number: usize) -> Vec<u8> {
    let user = format!("cccccccc-0000-0000-0000-{conversation:012}");
    json!({
        "type": "message", "id": format!("{number}"), "timestamp": "2026-11-22T09:41:00.123Z", "channelId": "msteams",
        "serviceUrl": SERVICE_URL, "text": "Which of my orders has not been sent yet?", "textFormat": "plain",
        "locale": "en-GB", "recipient": {"id": "28:bot", "name": "Bot"},
        "conversation": {"id": format!("a:{conversation}"), "conversationType": "personal", "tenantId": TENANT},
        "from": {"id": format!("29:{conversation}"), "name": "Ada", "aadObjectId": user},
        "channelData": {"tenant": {"id": TENANT}},
    })
    .to_string()
    .into_bytes()
}

/// The way through the crates, with a connector that answers at once.
struct Echo {
    authenticator: ChannelAuthenticator,
    headers: HeaderMap,
    runner: TurnRunner,
    connector: Arc<Connector>,
}

fn echo() -> Result<Arc<dyn Bot>, Fault> {
    let signer = Signer::new("channel-1")?;
    let keys = StaticKeys::from_jwks(&signer.channel_jwks())?;
    let policy = TenantPolicy::Single(TENANT.parse()?);
    let authenticator = ChannelAuthenticator::builder(API.parse()?, policy, ChannelKeys::source(Arc::new(keys)))
        .clock(Arc::new(WorldClock::new()))
        .build()?;
    let claims = json!({
        "serviceurl": SERVICE_URL, "nbf": EPOCH - 60, "exp": EPOCH + 80_000, "iss": "https://api.botframework.com",
        "aud": API,
    });
    let bearer = HeaderValue::try_from(format!("Bearer {}", signer.sign(&claims)?))?;
    let connector = Arc::new(Connector::default());
    let client = ConnectorClient::builder(connector.clone(), Arc::new(StaticCredential::new("token")?)).build()?;
    let policy = authenticator.policy().clone();
    let runner =
        TurnRunner::in_memory(MemoryTurnQueue::default(), policy, client).start(
            |turn: Turn| async move {
                Ok(Answer::answer(Activity::message(turn.activity().text.clone().unwrap_or_default())))
            },
            |_, _| None,
        );
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
    Ok(Arc::new(Echo { authenticator, headers, runner, connector }))
}

#[async_trait]
impl Bot for Echo {
    async fn turn(&self, body: &[u8]) -> Result<(), Fault> {
        let answered = self.connector.answered.notified();
        let token = self.authenticator.authenticate(&self.headers).await?;
        let activity = token.open(body)?;
        match self.runner.accept(&activity).await? {
            Received::Queued => {}
            other => return Err(format!("a turn was not taken: {other:?}").into()),
        }
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_| "a turn was not answered")?;
        Ok(())
    }
}

/// Takes messages.
#[derive(Debug, Default)]
struct Connector {
    answered: Notify,
}

#[async_trait]
impl HttpTransport for Connector {
    async fn send(&self, _: Request<Body>) -> Result<Response<Body>, TransportError> {
        self.answered.notify_one();
        let mut answer = Response::new(Body::from(r#"{"id":"1:abc"}"#.to_owned()));
        *answer.status_mut() = StatusCode::CREATED;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Looks through everyone it knows.
    #[derive(Default)]
    struct Scans(Mutex<Vec<String>>);

    #[async_trait]
    impl Bot for Scans {
        async fn turn(&self, body: &[u8]) -> Result<(), Fault> {
            let activity = Activity::from_json(body)?;
            let id = activity.conversation_id().unwrap_or_default().to_owned();
            let mut known = self.0.lock().unwrap();
            if known.iter().filter(|known| **known == id).count() == 0 {
                known.push(id);
            }
            Ok(())
        }
    }

    #[test]
    fn the_bot_of_the_crates_holds_and_one_that_looks_through_all_does_not() {
        let outcome = run(&Options::short()).unwrap();
        // A short round on a busy machine has five times the room.
        assert!(outcome.value().as_f64().unwrap() < 1.0 + 5.0 * (RATIO - 1.0), "{outcome:?}");
        let scans: MakeBot = || Ok(Arc::new(Scans::default()));
        let outcome = check(&Options::short(), scans).unwrap();
        assert!(!outcome.passes(), "{outcome:?}");
    }
}
