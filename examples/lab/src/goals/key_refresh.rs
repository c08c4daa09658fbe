//! P1.4: key documents that do not come, and tokens whose key is known.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    Fault, Options, Outcome, Setting,
    world::{self, Answers, EPOCH, Issuer, MakeJudge, WorldClock, millis, user_claims},
};

/// How many tokens are judged in each of the bad times.
pub const TOKENS: Setting = Setting::new("tokens", "5000", "300");

/// What becomes of refreshes, one bad time after the other. Each lasts half a minute of a refresh that is due.
const BAD_TIMES: &[Answers] = &[Answers::Hangs, Answers::Status(503), Answers::Refuses, Answers::Hangs];
const LASTS: Duration = Duration::from_secs(30);
/// Longer than the longest age at which keys are refreshed, and than the pause after a failure.
const LATER: Duration = Duration::from_secs(67 * 60);

/// Measures the validator of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, world::judge)
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
            (0..tokens as u64).map(|number| issuer.signer.sign(&user_claims(EPOCH, 80_000, number))).collect();
        let good = good?;
        judge.judge(good.first().map_or("", String::as_str)).await?;
        let (mut waited, mut refused, mut longest, mut refreshes) = (0, 0, Duration::ZERO, 0);
        for answers in BAD_TIMES {
            tokio::time::sleep(LATER).await;
            issuer.publisher.set(*answers);
            let before = issuer.publisher.key_requests() + issuer.publisher.other_requests();
            let step = LASTS.div_f64(tokens.max(1) as f64);
            for token in &good {
                let start = Instant::now();
                refused += usize::from(judge.judge(token).await.is_err());
                let time = start.elapsed();
                waited += usize::from(!time.is_zero());
                longest = longest.max(time);
                tokio::time::sleep(step).await;
            }
            let after = issuer.publisher.key_requests() + issuer.publisher.other_requests();
            refreshes += usize::from(after > before);
        }
        Ok(Outcome::new(waited, 0)
            .require("no validation waits", waited == 0)
            .require("no good token is refused", refused == 0)
            .require("a refresh was under way each time", refreshes == BAD_TIMES.len())
            .note("validations", tokens * BAD_TIMES.len())
            .note("refused", refused)
            .note("bad_times_with_a_refresh", refreshes)
            .note("longest_simulated_ms", millis(longest)))
    })
}
