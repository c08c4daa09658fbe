//! P2.4: one key's fetch and everyone else.

use std::{sync::Arc, time::Duration};

use entra_auth::TokenCredential;
use tokio::time::Instant;

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, Behaviour, MakeSource, Sts, WorldClock, millis},
};

/// How many keys are cached.
pub const KEYS: Setting = Setting::new("keys", "1000", "200");

/// Fetches that hang at the same time: one less than a client makes in parallel.
const HANGING: usize = 31;
const MORE_HANGING: usize = 200;
const FETCH: Duration = Duration::from_millis(50);
/// The limit of the goal, in milliseconds. Time is simulated, so a wait is exact.
const LIMIT: f64 = 0.1;

/// Measures the client of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, world::client)
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeSource) -> Result<Outcome, Fault> {
    let keys = options.number(&KEYS)?;
    world::paused()?.block_on(async {
        let sts = Arc::new(Sts::new(Behaviour::AT_ONCE, 200, Random::new(options.seed)));
        let source = make(sts.clone(), Arc::new(WorldClock::new()))?;
        for key in 0..keys {
            source.get_token(&world::request(&scope("cached", key))?).await?;
        }
        sts.set(Behaviour::Hangs);
        let hanging = hang(&source, 0..HANGING).await?;
        let (mut waited, mut longest) = cached(&*source, keys).await?;
        // A key that is not cached takes its own fetch and nothing more.
        sts.set(Behaviour::After(FETCH));
        let start = Instant::now();
        let answered = ask(&*source, &scope("cold", 0)).await?;
        let cold = start.elapsed().saturating_sub(FETCH);
        waited += usize::from(!answered || !cold.is_zero());
        longest = longest.max(cold);
        // More hang than a client sends in parallel: who has a token does not notice.
        sts.set(Behaviour::Hangs);
        let more = hang(&source, HANGING..MORE_HANGING).await?;
        let (waited_more, longest_more) = cached(&*source, keys).await?;
        waited += waited_more;
        longest = longest.max(longest_more);
        hanging.into_iter().chain(more).for_each(|task| task.abort());
        Ok(Outcome::new(millis(longest), LIMIT)
            .require("no key waits for another key's fetch", waited == 0 && millis(longest) <= LIMIT)
            .note("cached_keys", keys)
            .note("hanging_fetches", MORE_HANGING)
            .note("lookups", 2 * keys + 1)
            .note("waited", waited))
    })
}

fn scope(kind: &str, number: usize) -> String {
    format!("https://{kind}-{number}.example.com/.default")
}

/// Starts fetches that never end and returns when they are under way.
async fn hang(
    source: &Arc<dyn TokenCredential>,
    which: std::ops::Range<usize>,
) -> Result<Vec<tokio::task::JoinHandle<()>>, Fault> {
    let mut tasks = Vec::new();
    for key in which {
        let (source, request) = (Arc::clone(source), world::request(&scope("hanging", key))?);
        tasks.push(tokio::spawn(async move { drop(source.get_token(&request).await) }));
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    Ok(tasks)
}

/// How many cached keys had to wait, and how long.
async fn cached(source: &dyn TokenCredential, keys: usize) -> Result<(usize, Duration), Fault> {
    let (mut waited, mut longest) = (0, Duration::ZERO);
    for key in 0..keys {
        let start = Instant::now();
        let answered = ask(source, &scope("cached", key)).await?;
        waited += usize::from(!answered || !start.elapsed().is_zero());
        longest = longest.max(start.elapsed());
    }
    Ok((waited, longest))
}

/// Whether there is a token within half a minute, which is longer than any fetch may take.
async fn ask(source: &dyn TokenCredential, scope: &str) -> Result<bool, Fault> {
    let request = world::request(scope)?;
    let answer = tokio::time::timeout(Duration::from_secs(30), source.get_token(&request)).await;
    Ok(matches!(answer, Ok(Ok(_))))
}
