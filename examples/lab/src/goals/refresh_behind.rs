//! P2.5: a token that should be refreshed still works.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, Behaviour, Issued, MakeSource, Sts, WorldClock, millis},
};

/// How many callers.
pub const CALLERS: Setting = Setting::new("callers", "10000", "500");

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
    let callers = options.number(&CALLERS)?;
    world::paused()?.block_on(async {
        let sts = Arc::new(Sts::new(Behaviour::AT_ONCE, 200, Random::new(options.seed)));
        let source = make(sts.clone(), Arc::new(WorldClock::new()))?;
        let request = world::request("https://graph.microsoft.com/.default")?;
        let first = source.get_token(&request).await?;
        // Two minutes before its end the token is in its refresh window, and the refresh is held back.
        tokio::time::sleep(Duration::from_secs(3480)).await;
        sts.set(Behaviour::Held);
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (source, request) = (Arc::clone(&source), request.clone());
                tokio::spawn(async move {
                    let start = Instant::now();
                    (source.get_token(&request).await, start.elapsed())
                })
            })
            .collect();
        let (mut served, mut waited, mut longest) = (0, 0, Duration::ZERO);
        // Whoever waits for the refresh waits for this.
        let release = tokio::spawn({
            let sts = Arc::clone(&sts);
            async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                sts.open();
            }
        });
        for task in tasks {
            let (token, time) = task.await?;
            served += usize::from(token.is_ok_and(|token| token.expose() == first.expose()));
            waited += usize::from(!time.is_zero());
            longest = longest.max(time);
        }
        let refreshes = sts.requests() - 1;
        release.await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let next = source.get_token(&request).await?;
        let next = Issued::read(&next).map_or(0, |issued| issued.serial);
        Ok(Outcome::new(refreshes, 1)
            .require("exactly one refresh", refreshes == 1)
            .require("nobody waits for it", waited == 0)
            .require("everyone gets the token that still works", served == callers)
            .require("afterwards the new token is served", next == 2 && sts.requests() == 2)
            .note("callers", callers)
            .note("served_at_once", served)
            .note("waited", waited)
            .note("longest_simulated_ms", millis(longest)))
    })
}
