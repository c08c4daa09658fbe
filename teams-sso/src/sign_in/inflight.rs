//! Exchanges that are under way: the clients of a user send the same one at the same time, and one request serves all.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use entra_auth::Key;
use tokio::sync::watch;

use crate::flow::Exchanged;

/// Names one exchange: the sign-in and the id in the invoke.
type Name = (Key, String);
type Outcome = watch::Receiver<Option<Exchanged>>;

/// The exchanges under way in this process.
#[derive(Clone, Default)]
pub(super) struct Inflight(Arc<Mutex<HashMap<Name, Outcome>>>);

impl Inflight {
    /// The outcome of the exchange that is under way, or of this one. Whoever goes away in the middle leaves it to the
    /// next.
    pub(super) async fn join<F>(&self, key: &Key, id: &str, exchange: impl Fn() -> F) -> Exchanged
    where
        F: Future<Output = Exchanged>,
    {
        loop {
            let mut outcome = match self.board((key.clone(), id.to_owned())) {
                Ok(mut seat) => {
                    let outcome = exchange().await;
                    seat.done(outcome);
                    return outcome;
                }
                Err(outcome) => outcome,
            };
            let known = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| *outcome);
            if let Some(outcome) = known {
                return outcome;
            }
        }
    }

    fn board(&self, name: Name) -> Result<Seat, Outcome> {
        match self.lock().entry(name) {
            Entry::Occupied(entry) => Err(entry.get().clone()),
            Entry::Vacant(entry) => {
                let name = entry.key().clone();
                let (sender, receiver) = watch::channel(None);
                entry.insert(receiver);
                Ok(Seat { inflight: self.clone(), name, sender })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inflight {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inflight({})", self.lock().len())
    }
}

/// Frees the place first, then tells the news: whoever is told may come again at once.
struct Seat {
    inflight: Inflight,
    name: Name,
    sender: watch::Sender<Option<Exchanged>>,
}

impl Seat {
    fn done(&mut self, outcome: Exchanged) {
        self.inflight.lock().remove(&self.name);
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.inflight.lock();
        // A later exchange of the same name may have taken the place.
        if all.get(&self.name).is_some_and(|outcome| outcome.same_channel(&self.sender.subscribe())) {
            all.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use entra_auth::Namespace;

    use super::*;

    fn key(name: &str) -> Key {
        Namespace::precious("t").partition(["p"]).key([name])
    }

    #[tokio::test(start_paused = true)]
    async fn one_serves_all_and_a_second_name_waits_for_nobody() {
        let (inflight, count) = (Inflight::default(), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..30)
            .map(|n| {
                let (inflight, count) = (inflight.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let slow = || async {
                        count.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        Exchanged::Consent
                    };
                    inflight.join(&key(if n < 20 { "a" } else { "b" }), "x", slow).await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Exchanged::Consent);
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
        assert!(inflight.lock().is_empty());
        // What is over is not remembered.
        assert_eq!(inflight.join(&key("a"), "x", || async { Exchanged::Token }).await, Exchanged::Token);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_away_leaves_it_to_the_next() {
        let inflight = Inflight::default();
        let gone = tokio::spawn({
            let inflight = inflight.clone();
            async move { inflight.join(&key("a"), "x", std::future::pending).await }
        });
        tokio::task::yield_now().await;
        let next = tokio::spawn({
            let inflight = inflight.clone();
            async move { inflight.join(&key("a"), "x", || async { Exchanged::Token }).await }
        });
        tokio::task::yield_now().await;
        gone.abort();
        assert_eq!(next.await.unwrap(), Exchanged::Token);
        assert!(inflight.lock().is_empty());
    }
}
