//! Single flight: of many who want the same thing at the same time, one fetches and all share the result.
//!
//! The fetch runs in a task of its own, so a caller that goes away changes nothing; it has a deadline; a panic becomes
//! an error; whatever happens, the cell is empty again afterwards. No lock is held while anything is awaited.

mod desk;

use std::{
    fmt,
    future::{Future, poll_fn},
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::sync::watch;

pub(crate) use self::desk::{Boarding, Desk};

/// The fetches that are under way, by key. A clone shares them.
pub(crate) struct Flights<K, R>(Arc<Mutex<Desk<K, Board<R>>>>);

/// Where the landing of one flight is announced.
type Board<R> = watch::Receiver<Option<Landing<R>>>;

/// What everyone who waited gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Landing<R> {
    /// The fetch ended with this.
    Done(R),
    /// The fetch panicked, or its runtime shut down.
    Crashed,
    /// The deadline passed.
    TimedOut,
}

impl<K: Clone + Eq + Hash + Send + 'static, R: Clone + Send + Sync + 'static> Flights<K, R> {
    /// Joins the fetch for `key`, or starts it. `fetch` is called only when none is under way.
    pub(crate) async fn join<F>(&self, key: &K, deadline: Duration, fetch: impl FnOnce() -> F) -> Landing<R>
    where
        F: Future<Output = R> + Send + 'static,
    {
        let mut landing = self.board(key, deadline, fetch);
        let result = landing.wait_for(Option::is_some).await;
        result.ok().and_then(|landing| landing.clone()).unwrap_or(Landing::Crashed)
    }

    /// Starts the fetch for `key` if none is under way, and does not wait.
    pub(crate) fn start<F>(&self, key: &K, deadline: Duration, fetch: impl FnOnce() -> F)
    where
        F: Future<Output = R> + Send + 'static,
    {
        drop(self.board(key, deadline, fetch));
    }

    fn board<F>(&self, key: &K, deadline: Duration, fetch: impl FnOnce() -> F) -> Board<R>
    where
        F: Future<Output = R> + Send + 'static,
    {
        let mut sender = None;
        let open = || {
            let (announce, board) = watch::channel(None);
            sender = Some(announce);
            board
        };
        let boarding = self.lock().board(key, open);
        let (receiver, sender) = match (boarding, sender) {
            (Boarding::Leads(board), Some(sender)) => (board, sender),
            (Boarding::Joined(board) | Boarding::Leads(board), _) => return board,
        };
        // From here on the seat is given back whatever happens, a panic of `fetch` itself included.
        let seat = Seat { flights: self.clone(), key: key.clone() };
        let fetch = fetch();
        tokio::spawn(async move {
            let landing = match tokio::time::timeout(deadline, caught(fetch)).await {
                Ok(Some(result)) => Landing::Done(result),
                Ok(None) => Landing::Crashed,
                Err(_) => Landing::TimedOut,
            };
            // First the seat, then the news: who is told may ask again at once, and must not board the flight that
            // has just ended.
            drop(seat);
            sender.send_replace(Some(landing));
        });
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, Desk<K, Board<R>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Seat<K: Clone + Eq + Hash + Send + 'static, R: Clone + Send + Sync + 'static> {
    flights: Flights<K, R>,
    key: K,
}

impl<K: Clone + Eq + Hash + Send + 'static, R: Clone + Send + Sync + 'static> Drop for Seat<K, R> {
    fn drop(&mut self) {
        self.flights.lock().land(&self.key);
    }
}

/// Runs a future; `None` when it panics.
pub(crate) async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

impl<K, R> Clone for Flights<K, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, R> Default for Flights<K, R> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, R> fmt::Debug for Flights<K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_share_one_fetch_even_when_most_go_away() {
        let flights: Flights<u8, usize> = Flights::default();
        let fetches = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..10_000)
            .map(|_| {
                let (flights, fetches) = (flights.clone(), Arc::clone(&fetches));
                tokio::spawn(async move {
                    let fetch = || async move {
                        let number = fetches.fetch_add(1, Ordering::SeqCst) + 1;
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        number
                    };
                    flights.join(&0, MINUTE, fetch).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        for caller in callers.iter().take(9_000) {
            caller.abort();
        }
        for caller in callers.into_iter().skip(9_000) {
            assert_eq!(caller.await.unwrap(), Landing::Done(1));
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert_eq!(flights.lock().flights().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn panics_and_time_outs_free_the_cell() {
        let flights: Flights<u8, u8> = Flights::default();
        let panics = || async { panic!("loader") };
        assert_eq!(flights.join(&0, MINUTE, panics).await, Landing::Crashed);
        assert_eq!(flights.join(&0, MINUTE, std::future::pending).await, Landing::TimedOut);
        let panics_at_once = || -> std::future::Ready<u8> { panic!("maker") };
        let crashed = tokio::spawn({
            let flights = flights.clone();
            async move { flights.join(&0, MINUTE, panics_at_once).await }
        });
        assert!(crashed.await.is_err());
        assert_eq!(flights.join(&0, MINUTE, || async { 7 }).await, Landing::Done(7));
    }

    #[tokio::test]
    async fn keys_do_not_wait_for_each_other() {
        let flights: Flights<u8, u8> = Flights::default();
        flights.start(&0, MINUTE, std::future::pending);
        assert_eq!(flights.join(&1, MINUTE, || async { 1 }).await, Landing::Done(1));
    }

    #[test]
    fn a_runtime_that_shuts_down_frees_the_cell() {
        let flights: Flights<u8, u8> = Flights::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let first = runtime();
        first.block_on(async { flights.start(&0, MINUTE, std::future::pending) });
        drop(first);
        assert_eq!(runtime().block_on(flights.join(&0, MINUTE, || async { 3 })), Landing::Done(3));
    }
}
