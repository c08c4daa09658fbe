//! G3: an hour of tokens that name keys nobody has.

use std::{sync::Arc, time::Duration};

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, EPOCH, Issuer, Judge, MakeJudge, WorldClock, median, millis, p99, user_claims},
};

/// How many forged tokens.
pub const TOKENS: Setting = Setting::new("tokens", "1000000", "6000");

const MOST: u64 = 12;
const HOUR: Duration = Duration::from_secs(3600);
/// The hour is measured in so many parts, each with and without flood.
const PARTS: usize = 12;
/// One in so many forged tokens names a key that exists.
const KNOWN_KEY: u64 = 1000;
/// So many forged tokens, then a good one.
const BETWEEN: usize = 100;
/// Good tokens that take turns; none of them is remembered long enough to come cheap.
const GOOD: u64 = 400;

/// Measures the validator of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, forgetful)
}

/// The validator of the crate without its memory of good tokens: every good token needs its key.
fn forgetful(
    transport: Arc<dyn entra_auth::HttpTransport>,
    clock: Arc<dyn entra_auth::Clock>,
) -> Result<Arc<dyn Judge>, Fault> {
    let policy = entra_auth::TenantPolicy::Single(world::TENANT.parse()?);
    let validator =
        entra_auth::AccessTokenValidator::builder(entra_auth::Authority::default(), [world::API], policy).remember(0);
    Ok(Arc::new(validator.transport(transport).clock(clock).build()?))
}

#[derive(Default)]
struct Seen {
    false_accepts: u64,
    false_rejects: u64,
    waited: u64,
    ratios: Vec<f64>,
    quiet: Vec<Duration>,
    flooded: Vec<Duration>,
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeJudge) -> Result<Outcome, Fault> {
    let tokens = options.number(&TOKENS)?;
    world::paused()?.block_on(async {
        let issuer = Issuer::new()?;
        let judge = make(issuer.publisher.clone(), Arc::new(WorldClock::new()))?;
        let good: Result<Vec<String>, Fault> =
            (0..GOOD).map(|number| issuer.signer.sign(&user_claims(EPOCH, 2 * 3600, number))).collect();
        let good = good?;
        let mut forger = Forger::new(Random::new(options.seed), issuer.signer.kid.clone());
        let mut seen = Seen::default();
        // The service is up and has its keys.
        for token in &good {
            seen.false_rejects += u64::from(judge.judge(token).await.is_err());
        }
        let before = issuer.publisher.key_requests();
        let start = tokio::time::Instant::now();
        let each = tokens / PARTS;
        // The last token comes before the hour is over.
        let groups = PARTS * each.div_ceil(BETWEEN);
        let pause = HOUR.div_f64((groups + 1) as f64);
        let mut turn = good.iter().cycle();
        let mut group = 0;
        for _ in 0..PARTS {
            let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
            for at in 0..each {
                seen.false_accepts += u64::from(judge.judge(&forger.token()).await.is_ok());
                if at % BETWEEN == 0 {
                    let mut next = || turn.next().map_or("", String::as_str);
                    flooded.push(seen.good(&*judge, next()).await);
                    // And what good tokens cost among their own kind.
                    seen.good(&*judge, next()).await;
                    quiet.push(seen.good(&*judge, next()).await);
                    group += 1;
                    tokio::time::sleep_until(start + pause * group).await;
                }
            }
            seen.ratios.push(p99(&mut flooded).as_secs_f64() / p99(&mut quiet).as_secs_f64().max(1e-9));
            seen.quiet.append(&mut quiet);
            seen.flooded.append(&mut flooded);
        }
        let requests = issuer.publisher.key_requests() - before;
        let ratio = median(&mut seen.ratios);
        // A short run has too few good tokens for a p99 that means something.
        let gated = !options.short;
        Ok(Outcome::new(requests, MOST)
            .require("at most 12 key requests in the hour", requests <= MOST)
            .require("no forged token is let in", seen.false_accepts == 0)
            .require("no good token is refused", seen.false_rejects == 0)
            .require("no good token waits", seen.waited == 0)
            .require("p99 of good tokens at most doubles", !gated || ratio <= 2.0)
            .note("tokens", each * PARTS)
            .note("simulated_minutes", start.elapsed().as_secs() / 60)
            .note("false_accepts", seen.false_accepts)
            .note("false_rejects", seen.false_rejects)
            .note("good_tokens", seen.flooded.len())
            .note("waited", seen.waited)
            .note("p99_ratio", (ratio * 100.0).round() / 100.0)
            .note("p99_ratio_gated", gated)
            .note("p99_quiet_ms", millis(p99(&mut seen.quiet)))
            .note("p99_flooded_ms", millis(p99(&mut seen.flooded))))
    })
}

impl Seen {
    /// What a good token costs. Time stands still in the simulation, so whoever waits is found out, and the cost is that
    /// of the processor.
    async fn good(&mut self, judge: &dyn Judge, token: &str) -> Duration {
        let (begin, start) = (tokio::time::Instant::now(), world::thread_cpu());
        let answer = judge.judge(token).await;
        let cost = world::thread_cpu().saturating_sub(start);
        self.false_rejects += u64::from(answer.is_err());
        self.waited += u64::from(!begin.elapsed().is_zero());
        cost
    }
}

/// Makes tokens that look good up to the key.
struct Forger {
    random: Random,
    payload: String,
    known: String,
}

impl Forger {
    fn new(random: Random, known: String) -> Self {
        let payload = world::base64(&user_claims(EPOCH, 2 * 3600, 7).to_string());
        Self { random, payload, known }
    }

    fn token(&mut self) -> String {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

        let kid = match self.random.once_in(KNOWN_KEY) {
            true => self.known.clone(),
            false => format!("{:016x}{:016x}", self.random.next(), self.random.next()),
        };
        let header = world::base64(&format!(r#"{{"typ":"JWT","alg":"RS256","kid":"{kid}"}}"#));
        format!("{header}.{}.{}", self.payload, URL_SAFE_NO_PAD.encode(self.random.bytes(256)))
    }
}
