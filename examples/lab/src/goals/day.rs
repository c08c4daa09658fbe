//! G9: a day in the life of a service, with everything that goes wrong in one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use entra_auth::{Error, ErrorKind, TokenCredential, TokenErrorKind, TokenRequest};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{
        self, Answers, Behaviour, EPOCH, Issued, Judge, MakeJudge, MakeUserSource, Publisher, Signer, Sts, TENANT,
        UserSource, WorldClock, user_claims,
    },
};

/// Simulated seconds between two looks at the world.
pub const STEP: Setting = Setting::new("step", "30", "120");

const DAY: i64 = 24 * 3600;
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// Good tokens may differ from the clock by so much.
const LEEWAY: i64 = 60;
/// A cached token is not handed out in its last seconds.
const MARGIN: i64 = 30;
/// Lives of the tokens that are acquired: the first one begins and ends ten times in the day.
const LIVES: &[i64] = &[8640, 3600, 5400, 4500, 7200];
/// Who tries tokens with invented key ids, and when.
const FLOOD: [std::ops::Range<i64>; 2] = [10 * HOUR..16 * HOUR, 20 * HOUR..DAY];
/// The longest that a removed key may be used: the next refresh of keys, and an hour.
const GRACE: i64 = (66 + 60) * MINUTE;

/// What happens, in seconds of the day.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A key is published that does not sign yet.
    Announce(usize),
    /// The key signs from now on; the one before stays published for two hours.
    Rotate(usize),
    /// The key that signs is taken out of the document, because it leaked; another one signs at once.
    Remove {
        leaked: usize,
        next: usize,
    },
    /// A key goes out of the document when nothing signed by it lives any more.
    Retire(usize),
    /// The token endpoint is dead, in this way.
    TokensDie(Behaviour),
    TokensLive,
    /// The key documents cannot be had, in this way.
    KeysDie(Answers),
    KeysLive,
    /// The clock of this machine is wrong by so many seconds.
    Clock(i64),
}

/// Six rotations (keys 1 to 3, 5, 6, 8), two emergency removals (keys 3 and 6, replaced by 4 and 7), three outages of 20
/// minutes, the clock 10 minutes ahead and 10 minutes behind.
const TIMETABLE: &[(i64, Event)] = &[
    (50 * MINUTE, Event::Announce(1)),
    (HOUR, Event::Rotate(1)),
    (2 * HOUR, Event::TokensDie(Behaviour::Hangs)),
    (2 * HOUR + 20 * MINUTE, Event::TokensLive),
    (3 * HOUR, Event::Retire(0)),
    (3 * HOUR + 50 * MINUTE, Event::Announce(2)),
    (4 * HOUR, Event::Rotate(2)),
    (5 * HOUR, Event::Clock(600)),
    (6 * HOUR, Event::Retire(1)),
    (7 * HOUR, Event::Announce(3)),
    (8 * HOUR, Event::Clock(0)),
    (9 * HOUR, Event::KeysDie(Answers::Hangs)),
    (9 * HOUR + 5 * MINUTE, Event::Rotate(3)),
    (9 * HOUR + 20 * MINUTE, Event::KeysLive),
    // Nothing forged is about, so the first token of an unknown key may ask at once.
    (9 * HOUR + 40 * MINUTE, Event::Remove { leaked: 3, next: 4 }),
    (11 * HOUR + 20 * MINUTE, Event::Retire(2)),
    (12 * HOUR, Event::Announce(5)),
    (12 * HOUR + 10 * MINUTE, Event::Rotate(5)),
    (13 * HOUR, Event::Clock(-600)),
    (14 * HOUR, Event::TokensDie(Behaviour::Refuses)),
    (14 * HOUR + 20 * MINUTE, Event::TokensLive),
    (14 * HOUR + 30 * MINUTE, Event::Retire(4)),
    (15 * HOUR, Event::Announce(6)),
    (15 * HOUR + 10 * MINUTE, Event::Rotate(6)),
    (15 * HOUR + 20 * MINUTE, Event::Announce(7)),
    // Forged tokens have used up the question that may be asked; the standby key was published long enough ago.
    (15 * HOUR + 40 * MINUTE, Event::Remove { leaked: 6, next: 7 }),
    (17 * HOUR, Event::Clock(0)),
    (17 * HOUR + 30 * MINUTE, Event::Retire(5)),
    (18 * HOUR, Event::Announce(8)),
    (19 * HOUR, Event::TokensDie(Behaviour::Status(503))),
    (19 * HOUR, Event::KeysDie(Answers::Status(503))),
    (19 * HOUR + 20 * MINUTE, Event::TokensLive),
    (19 * HOUR + 20 * MINUTE, Event::KeysLive),
    (20 * HOUR + 30 * MINUTE, Event::Rotate(8)),
    (22 * HOUR + 30 * MINUTE, Event::Retire(7)),
];
const KEYS: usize = 9;
const OUTAGE: i64 = 20 * MINUTE;

/// Measures the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, world::judge, world::user_client, world::client)
}

/// Measures whatever these make.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(
    options: &Options,
    make_judge: MakeJudge,
    make_users: MakeUserSource,
    make_app: world::MakeSource,
) -> Result<Outcome, Fault> {
    let step = i64::try_from(options.number(&STEP)?.max(1))?;
    world::paused()?.block_on(async {
        let keys: Result<Vec<Signer>, Fault> = (0..KEYS).map(|number| Signer::new(format!("key-{number}"))).collect();
        let keys = keys?;
        let random = Random::new(options.seed);
        let clock = Arc::new(WorldClock::new());
        let publisher = Arc::new(Publisher::new(&keys.iter().take(1).collect::<Vec<_>>()));
        let sts = Arc::new(Sts::new(Behaviour::AT_ONCE, 200, random.fork(1)));
        let mut inbound = Inbound {
            judge: make_judge(publisher.clone(), clock.clone())?,
            thief: Signer::new("key-0")?,
            publisher: publisher.clone(),
            clock: clock.clone(),
            keys,
            signing: 0,
            removed: HashMap::new(),
            tokens: Vec::new(),
            random: random.fork(2),
            seen: SeenTokens::default(),
        };
        let users = make_users(sts.clone(), clock.clone(), 64 << 20)?;
        let app = make_app(sts.clone(), clock.clone())?;
        let mut outbound = Outbound::new(&*users, &app, clock.clone())?;
        let mut timetable = TIMETABLE.iter().peekable();
        let start = tokio::time::Instant::now();
        let mut second = 0;
        while second < DAY {
            tokio::time::sleep_until(start + Duration::from_secs(u64::try_from(second)?)).await;
            while let Some((_, event)) = timetable.next_if(|(at, _)| *at <= second) {
                match *event {
                    Event::TokensDie(how) => {
                        sts.set(how);
                        outbound.outage_begins();
                    }
                    Event::TokensLive => {
                        sts.set(Behaviour::AT_ONCE);
                        outbound.outage_ends();
                    }
                    Event::KeysDie(how) => publisher.set(how),
                    Event::KeysLive => publisher.set(Answers::AtOnce),
                    Event::Clock(offset) => clock.set_offset(offset),
                    other => inbound.keys_change(other),
                }
            }
            inbound.step(second).await?;
            outbound.step().await;
            second = i64::try_from(start.elapsed().as_secs())? / step * step + step;
        }
        Ok(judge(&inbound, &outbound, &sts))
    })
}

fn judge(inbound: &Inbound, outbound: &Outbound, sts: &Sts) -> Outcome {
    let (tokens, calls) = (&inbound.seen, &outbound.seen);
    let grace = inbound.removed.values().map(|removal| inbound.gone_at(removal) - removal.at).max().unwrap_or(0);
    let value = serde_json::json!([tokens.false_accepts, tokens.false_rejects, calls.errors + calls.expired]);
    Outcome::new(value, serde_json::json!([0, 0, 0]))
        .require("no false accept", tokens.false_accepts == 0)
        .require("no false reject", tokens.false_rejects == 0)
        .require("no token error during outages shorter than the token's remaining life", calls.errors == 0)
        .require("no token is handed out that has really ended", calls.expired == 0)
        .require("removed keys are gone within the declared time", inbound.removed.len() == 2 && grace <= GRACE)
        .require("the day was full", tokens.accepted > 1000 && tokens.refused > 1000 && calls.tokens > 1000)
        .note("accepted", tokens.accepted)
        .note("refused", tokens.refused)
        .note("refused_because_the_clock_is_wrong", tokens.clock)
        .note("in_removal_grace", tokens.grace)
        .note("removal_grace_minutes", grace / MINUTE)
        .note("key_requests", inbound.publisher.key_requests())
        .note("tokens_acquired", calls.tokens)
        .note("token_errors_seen", calls.errors)
        .note("token_errors_unavoidable", calls.unavoidable)
        .note("expired_tokens_served", calls.expired)
        .note("token_requests", sts.requests())
        .note("first_surprises", tokens.surprises.iter().chain(&calls.surprises).cloned().collect::<Vec<_>>())
}

/// The callers of the service and what becomes of their tokens.
struct Inbound {
    judge: Arc<dyn Judge>,
    keys: Vec<Signer>,
    /// Has a key of his own under the id of a published one.
    thief: Signer,
    publisher: Arc<Publisher>,
    clock: Arc<WorldClock>,
    signing: usize,
    /// Keys that leaked.
    removed: HashMap<String, Removal>,
    tokens: Vec<Token>,
    random: Random,
    seen: SeenTokens,
}

struct Removal {
    kid: String,
    at: i64,
}

#[derive(Clone)]
struct Token {
    text: String,
    kid: String,
    from: i64,
    to: i64,
    forged: bool,
}

#[derive(Default)]
struct SeenTokens {
    accepted: u64,
    refused: u64,
    grace: u64,
    clock: u64,
    false_accepts: u64,
    false_rejects: u64,
    surprises: Vec<String>,
}

/// What the rules say about a token.
enum Expected {
    Accept,
    Refuse,
    /// Its key was taken back a moment ago.
    Either,
}

impl Inbound {
    fn keys_change(&mut self, event: Event) {
        let now = self.clock.elapsed().as_secs();
        let kid = |number: usize| self.keys.get(number).map(|key| key.kid.clone()).unwrap_or_default();
        match event {
            Event::Announce(key) => {
                if let Some(key) = self.keys.get(key) {
                    self.publisher.publish(key);
                }
            }
            Event::Rotate(key) => self.signing = key,
            Event::Remove { leaked, next } => {
                let leaked = kid(leaked);
                self.publisher.remove(&leaked);
                if !self.keys.get(next).is_some_and(|key| self.is_published(key)) {
                    self.keys_change(Event::Announce(next));
                }
                self.signing = next;
                let removal = Removal { kid: leaked.clone(), at: i64::try_from(now).unwrap_or(0) };
                self.removed.insert(leaked, removal);
            }
            Event::Retire(key) => self.publisher.remove(&kid(key)),
            _ => {}
        }
    }

    fn is_published(&self, key: &Signer) -> bool {
        self.publisher.publishes(&key.kid)
    }

    async fn step(&mut self, second: i64) -> Result<(), Fault> {
        let now = self.clock.true_now();
        // Somebody signs in, with a clock that is right.
        let life = 40 * MINUTE + i64::try_from(self.random.below(3000))?;
        let number = self.random.next();
        let fresh = self.signed(self.signing, now, life, number)?;
        self.tokens.retain(|token| token.to > now - 20 * MINUTE);
        self.tokens.push(fresh.clone());
        self.look(&fresh).await;
        // Others call again, some with a token that has ended.
        for _ in 0..6 {
            if let Some(token) = self.random.pick(&self.tokens).cloned() {
                self.look(&token).await;
            }
        }
        self.attack(second, now, life).await
    }

    /// Tokens that nobody may let in, and tokens of leaked keys, which look good until the key is gone.
    async fn attack(&mut self, second: i64, now: i64, life: i64) -> Result<(), Fault> {
        let number = self.random.next();
        let claims = user_claims(now, life, number);
        let forged = |text: String, kid: &str| Token { text, kid: kid.into(), from: now, to: now + life, forged: true };
        let current = self.keys.get(self.signing).map(|key| key.kid.clone()).unwrap_or_default();
        self.thief.kid.clone_from(&current);
        let stolen_name = forged(self.thief.sign(&claims)?, &current);
        let changed = self.random.pick(&self.tokens).cloned().map(|token| {
            let mut parts = token.text.splitn(3, '.');
            let (head, signature) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
            Token { text: format!("{head}.{}.{signature}", world::base64(&claims.to_string())), forged: true, ..token }
        });
        let mut foreign = claims.clone();
        if let Some(audience) = foreign.get_mut("aud") {
            *audience = Value::from("ffffffff-0000-0000-0000-00000000000f");
        }
        let signer = self.keys.get(self.signing).ok_or("no key signs")?;
        let foreign = forged(signer.sign(&foreign)?, &current);
        let mut tokens: Vec<Token> = [Some(stolen_name), changed, Some(foreign)].into_iter().flatten().collect();
        if FLOOD.iter().any(|time| time.contains(&second)) {
            self.thief.kid = format!("invented-{number}");
            tokens.push(forged(self.thief.sign(&claims)?, "invented"));
        }
        let leaked: Vec<usize> = (0..self.keys.len())
            .filter(|at| self.keys.get(*at).is_some_and(|key| self.removed.contains_key(&key.kid)))
            .collect();
        for leaked in leaked {
            tokens.push(self.signed(leaked, now, life, number)?);
        }
        for token in tokens {
            self.look(&token).await;
        }
        Ok(())
    }

    fn signed(&self, key: usize, now: i64, life: i64, number: u64) -> Result<Token, Fault> {
        let key = self.keys.get(key).ok_or("no such key")?;
        let text = key.sign(&user_claims(now, life, number))?;
        Ok(Token { text, kid: key.kid.clone(), from: now, to: now + life, forged: false })
    }

    async fn look(&mut self, token: &Token) {
        let believed = self.clock.believed_now();
        let expected = self.expected(token, believed);
        let in_time = |now: i64| now >= token.from - LEEWAY && now < token.to + LEEWAY;
        let answer = self.judge.judge(&token.text).await;
        let kind = answer.as_ref().err().map(entra_auth::TokenError::kind);
        let seen = &mut self.seen;
        match (expected, &answer) {
            (Expected::Either, _) => seen.grace += 1,
            (Expected::Accept, Ok(())) => seen.accepted += 1,
            (Expected::Refuse, Err(_)) => {
                seen.refused += 1;
                let by_clock = matches!(kind, Some(TokenErrorKind::Expired | TokenErrorKind::NotYetValid));
                seen.clock += u64::from(!token.forged && by_clock && in_time(self.clock.true_now()));
            }
            (Expected::Accept, Err(_)) => {
                seen.false_rejects += 1;
                surprise(&mut seen.surprises, &self.clock, &format!("{} refused: {kind:?}", token.kid));
            }
            (Expected::Refuse, Ok(())) => {
                seen.false_accepts += 1;
                let what = if token.forged { "a forged token" } else { "a token" };
                surprise(&mut seen.surprises, &self.clock, &format!("{what} of {} let in", token.kid));
            }
        }
    }

    /// The rules, by the clock of this machine, which is all that a service has.
    fn expected(&self, token: &Token, believed: i64) -> Expected {
        let in_time = believed >= token.from - LEEWAY && believed < token.to + LEEWAY;
        if token.forged || !in_time {
            return Expected::Refuse;
        }
        let second = self.clock.true_now() - EPOCH;
        match self.removed.get(&token.kid) {
            Some(removal) if second > self.gone_at(removal) => Expected::Refuse,
            Some(_) => Expected::Either,
            None => Expected::Accept,
        }
    }

    /// When a key that was removed must be gone: with the second good document without it, or an hour after the first.
    fn gone_at(&self, removal: &Removal) -> i64 {
        let served = self.publisher.served_without(&removal.kid, Duration::from_secs(removal.at.unsigned_abs()));
        let mut served = served.iter().map(|at| i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
        match (served.next(), served.next()) {
            (Some(first), Some(second)) => second.min(first + HOUR),
            (Some(first), None) => first + HOUR,
            (None, _) => removal.at + DAY,
        }
    }
}

/// The tokens that the service acquires.
struct Outbound {
    clock: Arc<WorldClock>,
    credentials: Vec<Credential>,
    outage: bool,
    seen: SeenCalls,
}

struct Credential {
    source: Arc<dyn TokenCredential>,
    request: TokenRequest,
    /// When the token at hand ends, by this machine's clock and in truth.
    ends: Option<(i64, i64)>,
    /// Its token does not outlast the outage, so errors are to be expected until shortly after it.
    excused_until: Option<i64>,
}

#[derive(Default)]
struct SeenCalls {
    tokens: u64,
    errors: u64,
    unavoidable: u64,
    expired: u64,
    surprises: Vec<String>,
}

impl Outbound {
    fn new(users: &dyn UserSource, app: &Arc<dyn TokenCredential>, clock: Arc<WorldClock>) -> Result<Self, Fault> {
        let credential = |source, scope: &str| -> Result<Credential, Fault> {
            Ok(Credential { source, request: world::request(scope)?, ends: None, excused_until: None })
        };
        let mut credentials = Vec::new();
        for (number, life) in LIVES.iter().enumerate() {
            credentials
                .push(credential(Arc::clone(app), &format!("https://app-{number}.example.com/life-{life}/.default"))?);
            for user in 0..3 {
                let user = format!("dddddddd-0000-0000-{number:04}-{user:012}");
                let raw = format!("a:{user}");
                let assertion = world::user_token(TENANT, &user, EPOCH + 30 * HOUR, raw)?;
                let scope = format!("https://graph.microsoft.com/life-{life}");
                credentials.push(credential(users.on_behalf_of(assertion), &scope)?);
            }
        }
        Ok(Self { clock, credentials, outage: false, seen: SeenCalls::default() })
    }

    fn outage_begins(&mut self) {
        self.outage = true;
        let (believed, truth) = (self.clock.believed_now(), self.clock.true_now());
        for credential in &mut self.credentials {
            let outlasts = |(by_clock, really): (i64, i64)| {
                by_clock - believed - MARGIN > OUTAGE && really - truth - MARGIN > OUTAGE
            };
            if !credential.ends.is_some_and(outlasts) {
                // The last failure is remembered for half a minute.
                credential.excused_until = Some(truth + OUTAGE + MINUTE);
            }
        }
    }

    fn outage_ends(&mut self) {
        self.outage = false;
    }

    async fn step(&mut self) {
        for credential in &mut self.credentials {
            // A token request ends long before this, one way or the other.
            let answer = timeout(Duration::from_secs(60), credential.source.get_token(&credential.request)).await;
            let answer = answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Transport, "no answer at all")));
            let truth = self.clock.true_now();
            let excused = credential.excused_until.is_some_and(|until| truth <= until);
            match answer {
                Ok(token) => {
                    self.seen.tokens += 1;
                    let ends = Issued::read(&token).map_or(0, |issued| issued.ends);
                    credential.ends = Some((token.expires_on().unix_timestamp(), ends));
                    if ends <= truth {
                        self.seen.expired += 1;
                        let what = format!("a token was served {} s after its end", truth - ends);
                        surprise(&mut self.seen.surprises, &self.clock, &what);
                    }
                }
                Err(_) if excused => self.seen.unavoidable += 1,
                Err(error) => {
                    self.seen.errors += 1;
                    surprise(&mut self.seen.surprises, &self.clock, &format!("{:?}", error.kind()));
                }
            }
        }
    }
}

/// The first few surprises are kept, with the time of day.
fn surprise(surprises: &mut Vec<String>, clock: &WorldClock, what: &str) {
    if surprises.len() < 5 {
        let minutes = clock.elapsed().as_secs() / 60;
        surprises.push(format!("{:02}:{:02} {what}", minutes / 60, minutes % 60));
    }
}
