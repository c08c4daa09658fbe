//! The goal about garbage measures memory and time, so it has a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use entra_auth::{Clock, KeyLookup, KeySource, UnverifiedToken, bearer};
use http::HeaderMap;
use lab::{
    Fault, Options, Outcome,
    inbound::garbage::{self, Gate, MakeGate, authenticator},
};
use serde_json::Value;

/// A gate around the crate's own that does something wrong first.
struct Wrong {
    inner: Arc<dyn Gate>,
    keys: Arc<dyn KeySource>,
    manner: Manner,
    kept: Mutex<Vec<HeaderMap>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Looks the key up before the claims are judged.
    KeyFirst,
    /// Keeps what it has refused.
    Hoards,
    /// Reads everything before anything is refused.
    ReadsAll,
    /// Lets everyone in whose header can be read.
    Opens,
    /// Lets nobody in.
    Shut,
}

#[async_trait]
impl Gate for Wrong {
    async fn let_in(&self, requests: &[HeaderMap]) -> usize {
        let mut opened = 0;
        for headers in requests {
            let token = bearer(headers).unwrap_or_default();
            match self.manner {
                Manner::KeyFirst => {
                    if let Ok(token) = UnverifiedToken::parse(token) {
                        let _ = self.keys.key(KeyLookup::new("https://api.botframework.com", token.kid())).await;
                    }
                }
                Manner::Hoards => self.kept.lock().unwrap().push(headers.clone()),
                Manner::ReadsAll => {
                    for part in token.split('.').chain(token.split('.')) {
                        let text = part.replace('-', "+").replace('_', "/");
                        std::hint::black_box(serde_json::from_str::<Value>(&format!("{text:?}")).is_ok());
                    }
                }
                Manner::Opens => opened += usize::from(UnverifiedToken::parse(token).is_ok()),
                Manner::Shut => {}
            }
        }
        let let_in = self.inner.let_in(requests).await;
        if self.manner == Manner::Shut { 0 } else { let_in + opened }
    }
}

macro_rules! gates {
    ($($name:ident: $manner:ident;)*) => {
        $(fn $name(keys: Arc<dyn KeySource>, clock: Arc<dyn Clock>) -> Result<Arc<dyn Gate>, Fault> {
            let inner = authenticator(keys.clone(), clock)?;
            Ok(Arc::new(Wrong { inner, keys, manner: Manner::$manner, kept: Mutex::default() }))
        })*
    };
}

gates! {
    key_first: KeyFirst;
    hoards: Hoards;
    reads_all: ReadsAll;
    opens: Opens;
    shut: Shut;
}

#[track_caller]
fn fails(make: MakeGate, why: &str) -> Outcome {
    let outcome = garbage::check(&Options::short().with("n", "8000"), make).unwrap();
    assert!(outcome.failed().iter().any(|failed| failed.contains(why)), "not caught: {}", outcome.line("garbage"));
    outcome
}

#[test]
fn garbage_passes_and_sees_lookups_hoards_slow_and_open_gates() {
    let outcome = garbage::run(&Options::short()).unwrap();
    // An unoptimised build has other ratios; counts and bytes are the same.
    let failed: Vec<_> = outcome.failed().iter().filter(|failed| !failed.contains("1.5x")).collect();
    assert!(failed.is_empty(), "{}", outcome.line("garbage"));
    assert!(cfg!(debug_assertions) || outcome.passes(), "{}", outcome.line("garbage"));
    let outcome = fails(key_first, "no signature is checked");
    assert!(outcome.failed().iter().any(|failed| failed == "no outbound request"), "{}", outcome.line("garbage"));
    fails(hoards, "memory grows");
    fails(reads_all, "refused for its header costs");
    fails(opens, "nothing is let in");
    fails(shut, "a good token is let in");
}
