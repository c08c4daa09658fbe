//! G19: everybody's tokens, interleaved at random.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use entra_auth::{AccessToken, ErrorKind, TokenRequest, UserAssertion};

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, Behaviour, EPOCH, Issued, MakeUserSource, Sts, UserSource, WorldClock},
};

/// How many operations.
pub const OPERATIONS: Setting = Setting::new("operations", "200000", "8000");

const USERS: usize = 50;
const TENANTS: usize = 5;
const SCOPES: usize = 4;
/// Each user sends one of two assertions.
const ASSERTIONS: usize = 2;
/// Callers at the same time.
const CALLERS: usize = 64;
/// Room for about a third of the keys.
const CACHE: usize = 1 << 20;

/// Measures the client of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, world::user_client)
}

struct World {
    source: Arc<dyn UserSource>,
    sts: Arc<Sts>,
    people: Vec<Person>,
    requests: Vec<(String, TokenRequest)>,
    seen: Seen,
    asked: Mutex<HashSet<(usize, usize, usize)>>,
}

/// One object id in one tenant. The same object ids exist in every tenant.
struct Person {
    tenant: String,
    assertions: Vec<(String, UserAssertion)>,
    /// Tokens of requests up to this number are from before the last sign-out.
    floor: AtomicU64,
    sign_outs: AtomicU64,
}

#[derive(Default)]
struct Seen {
    wrong_owner: AtomicUsize,
    resurrected: AtomicUsize,
    rejected_again: AtomicUsize,
    unexpected: AtomicUsize,
    tokens: AtomicUsize,
    sign_outs: AtomicUsize,
    refused_after_sign_out: AtomicUsize,
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeUserSource) -> Result<Outcome, Fault> {
    let operations = options.number(&OPERATIONS)?;
    world::paused()?.block_on(async {
        let random = Random::new(options.seed);
        let sts = Arc::new(Sts::new(Behaviour::Within(Duration::from_millis(20)), 1000, random.fork(1)));
        let source = make(sts.clone(), Arc::new(WorldClock::new()), CACHE)?;
        let world = Arc::new(World::new(source, sts)?);
        let each = operations.div_ceil(CALLERS);
        let tasks: Vec<_> = (0..CALLERS)
            .map(|number| tokio::spawn(Arc::clone(&world).call(each, random.fork(100 + number as u64))))
            .collect();
        for task in tasks {
            task.await?;
        }
        let seen = &world.seen;
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        let (wrong, resurrected) = (count(&seen.wrong_owner), count(&seen.resurrected));
        let keys = world.asked.lock().unwrap_or_else(PoisonError::into_inner).len();
        let requests = usize::try_from(world.sts.requests())?;
        let hits = count(&seen.tokens).saturating_sub(requests);
        Ok(Outcome::new(wrong, 0)
            .require("nobody gets a token of another owner", wrong == 0)
            .require("nobody gets a token from before their sign-out", resurrected == 0)
            .require("a rejected token does not come back", count(&seen.rejected_again) == 0)
            .require("nothing fails but for a sign-out", count(&seen.unexpected) == 0)
            .require("the cache was in use", hits > 0)
            .require("the cache made room", requests > keys)
            .note("operations", each * CALLERS)
            .note("people", format!("{USERS} users x {TENANTS} tenants x {SCOPES} scopes x {ASSERTIONS} assertions"))
            .note("keys_used", keys)
            .note("requests", requests)
            .note("hits", hits)
            .note("sign_outs", count(&seen.sign_outs))
            .note("refused_after_sign_out", count(&seen.refused_after_sign_out))
            .note("resurrected", resurrected)
            .note("rejected_again", count(&seen.rejected_again))
            .note("unexpected_errors", count(&seen.unexpected)))
    })
}

impl World {
    fn new(source: Arc<dyn UserSource>, sts: Arc<Sts>) -> Result<Self, Fault> {
        let mut people = Vec::new();
        for tenant in 0..TENANTS {
            for user in 0..USERS {
                people.push(Person::new(tenant, user)?);
            }
        }
        let requests: Result<Vec<_>, Fault> = (0..SCOPES)
            .map(|scope| format!("https://graph.microsoft.com/Scope{scope}"))
            .map(|scope| Ok((scope.clone(), world::request(&scope)?)))
            .collect();
        let (seen, asked) = (Seen::default(), Mutex::default());
        Ok(Self { source, sts, people, requests: requests?, seen, asked })
    }

    /// One caller, who acts for anybody.
    async fn call(self: Arc<Self>, operations: usize, mut random: Random) {
        for _ in 0..operations {
            let who = random.index(self.people.len());
            let Some(person) = self.people.get(who) else { return };
            match random.below(100) {
                0 | 1 => self.sign_out(person).await,
                2..6 => {
                    if let Some(token) = self.get(who, person, &mut random, None).await {
                        self.get(who, person, &mut random, Some(token)).await;
                    }
                }
                _ => drop(self.get(who, person, &mut random, None).await),
            }
            if random.once_in(2) {
                tokio::time::sleep(Duration::from_micros(random.below(5000))).await;
            }
        }
    }

    async fn sign_out(&self, person: &Person) {
        let sent = self.sts.requests();
        person.sign_outs.fetch_add(1, Ordering::SeqCst);
        let Some((_, assertion)) = person.assertions.first() else { return };
        if self.source.forget(assertion.user_key()).await.is_err() {
            self.seen.unexpected.fetch_add(1, Ordering::SeqCst);
        }
        // What was asked for before the sign-out began must not reach anyone who asks after it ended.
        person.floor.fetch_max(sent, Ordering::SeqCst);
        person.sign_outs.fetch_add(1, Ordering::SeqCst);
        self.seen.sign_outs.fetch_add(1, Ordering::SeqCst);
    }

    async fn get(
        &self,
        who: usize,
        person: &Person,
        random: &mut Random,
        rejected: Option<(usize, usize, AccessToken)>,
    ) -> Option<(usize, usize, AccessToken)> {
        let (which, scope) = match &rejected {
            Some((which, scope, _)) => (*which, *scope),
            None => (random.index(ASSERTIONS), random.index(SCOPES)),
        };
        let (raw, assertion) = person.assertions.get(which)?;
        let (scope_text, request) = self.requests.get(scope)?;
        let mut request = request.clone();
        if let Some((_, _, token)) = &rejected {
            request = request.with_rejected(token.clone());
        }
        let (floor, sign_outs) = (person.floor.load(Ordering::SeqCst), person.sign_outs.load(Ordering::SeqCst));
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert((who, which, scope));
        let counters = &self.seen;
        match self.source.on_behalf_of(assertion.clone()).get_token(&request).await {
            Ok(token) => {
                counters.tokens.fetch_add(1, Ordering::SeqCst);
                let issued = Issued::read(&token);
                let ours = |issued: &Issued| {
                    issued.tenant == person.tenant && issued.owner == *raw && issued.scope == *scope_text
                };
                if !issued.as_ref().is_some_and(ours) {
                    counters.wrong_owner.fetch_add(1, Ordering::SeqCst);
                }
                if issued.is_some_and(|issued| issued.serial <= floor) {
                    counters.resurrected.fetch_add(1, Ordering::SeqCst);
                }
                if rejected.is_some_and(|(_, _, rejected)| rejected.expose() == token.expose()) {
                    counters.rejected_again.fetch_add(1, Ordering::SeqCst);
                }
                Some((which, scope, token))
            }
            Err(error) => {
                let left = person.sign_outs.load(Ordering::SeqCst) != sign_outs || !sign_outs.is_multiple_of(2);
                let counter = match error.kind() {
                    ErrorKind::Reauthenticate if left => &counters.refused_after_sign_out,
                    _ => &counters.unexpected,
                };
                counter.fetch_add(1, Ordering::SeqCst);
                None
            }
        }
    }
}

impl Person {
    fn new(tenant: usize, user: usize) -> Result<Self, Fault> {
        let tenant = format!("{tenant:08}-aaaa-0000-0000-000000000000");
        let user = format!("{user:08}-bbbb-0000-0000-000000000000");
        let assertions: Result<Vec<_>, Fault> = (0..ASSERTIONS)
            .map(|number| {
                let raw = format!("a{number}:{tenant}:{user}");
                Ok((raw.clone(), world::user_token(&tenant, &user, EPOCH + 86_400, raw)?))
            })
            .collect();
        let [floor, sign_outs] = [AtomicU64::new(0), AtomicU64::new(0)];
        Ok(Self { tenant, assertions: assertions?, floor, sign_outs })
    }
}
