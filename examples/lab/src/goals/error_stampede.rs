//! G2: many callers who do not give up while the endpoint answers 503.

use std::{sync::Arc, time::Duration};

use entra_auth::{Error, TokenCredential, TokenRequest};
use tokio::time::{Instant, sleep_until};

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, Behaviour, MakeSource, Sts, WorldClock, millis},
};

/// How many callers.
pub const CALLERS: Setting = Setting::new("callers", "10000", "200");
/// For how many simulated seconds each of them asks again every second.
pub const SECONDS: Setting = Setting::new("seconds", "60", "60");

/// The deadline of a token request when a user waits.
const DEADLINE: Duration = Duration::from_secs(12);
const FIRST: Duration = Duration::from_secs(5);
const MOST_FIRST: usize = 3;
const MOST: u64 = 10;
/// The longest memory of a failure: so long after the endpoint is well again everyone has a token.
const RECOVERY: Duration = Duration::from_secs(31);

/// Measures the client of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, world::client)
}

#[derive(Default)]
struct Seen {
    calls: u64,
    tokens: u64,
    untyped: u64,
    slowest: Duration,
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeSource) -> Result<Outcome, Fault> {
    let (callers, seconds) = (options.number(&CALLERS)?, options.number(&SECONDS)?);
    world::paused()?.block_on(async {
        let sts = Arc::new(Sts::new(Behaviour::Status(503), 100, Random::new(options.seed)));
        let source = make(sts.clone(), Arc::new(WorldClock::new()))?;
        let request = world::request("https://graph.microsoft.com/.default")?;
        let tasks: Vec<_> =
            (0..callers).map(|_| tokio::spawn(insist(Arc::clone(&source), request.clone(), seconds))).collect();
        let mut seen = Seen::default();
        for task in tasks {
            let one = task.await?;
            seen.calls += one.calls;
            seen.tokens += one.tokens;
            seen.untyped += one.untyped;
            seen.slowest = seen.slowest.max(one.slowest);
        }
        let (first, all) = (sts.requests_within(FIRST), sts.requests());
        sts.set(Behaviour::AT_ONCE);
        let well = Instant::now();
        while source.get_token(&request).await.is_err() && well.elapsed() < 10 * RECOVERY {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let recovered = well.elapsed();
        Ok(Outcome::new(serde_json::json!([first, all]), serde_json::json!([MOST_FIRST, MOST]))
            .require("at most 3 requests in the first 5 s", first <= MOST_FIRST)
            .require("at most 10 requests in 60 s", all <= MOST)
            .require("every caller gets an error that says to try again", seen.tokens == 0 && seen.untyped == 0)
            .require("every caller gets it before the deadline", seen.slowest <= DEADLINE)
            .require("there is a token soon after the endpoint is well again", recovered <= RECOVERY)
            .note("callers", callers)
            .note("calls", seen.calls)
            .note("simulated_seconds", seconds)
            .note("slowest_ms", millis(seen.slowest))
            .note("recovered_after_ms", millis(recovered)))
    })
}

/// One caller who asks every second.
async fn insist(source: Arc<dyn TokenCredential>, request: TokenRequest, seconds: usize) -> Seen {
    let mut seen = Seen::default();
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    loop {
        let begin = Instant::now();
        if begin >= end {
            return seen;
        }
        let answer = source.get_token(&request).await;
        seen.calls += 1;
        seen.slowest = seen.slowest.max(begin.elapsed());
        match answer {
            Ok(_) => seen.tokens += 1,
            Err(error) if is_typed(&error) => {}
            Err(_) => seen.untyped += 1,
        }
        sleep_until(begin + Duration::from_secs(1)).await;
    }
}

/// The error says what happened and that it may pass.
fn is_typed(error: &Error) -> bool {
    error.is_retryable() && error.oauth().is_some_and(|oauth| oauth.status == 503)
}
