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
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::Poll,
    time::Duration,
};

#[cfg(feature = "acquire")]
use tokio::sync::oneshot;
use tokio::sync::watch;

pub(crate) use self::desk::{Boarding, Desk};

/// The fetches that are under way, by key. A clone shares them.
pub(crate) struct Flights<K, R>(Arc<Mutex<Desk<K, Board<R>>>>);

/// Work in a box: whatever is fetched, what starts it and waits for it is compiled once.
pub(crate) type Boxed<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// Where the landing of one flight is announced.
struct Board<R> {
    landing: Arc<OnceLock<Landing<R>>>,
    /// Ends when the flight has ended.
    news: watch::Receiver<()>,
}

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
    pub(crate) fn join(
        &self,
        key: &K,
        deadline: Duration,
        fetch: impl FnOnce() -> Boxed<'static, R>,
    ) -> impl Future<Output = Landing<R>> + Send {
        landed(self.board(key, deadline, fetch))
    }

    /// Starts the fetch for `key` if none is under way, and does not wait.
    pub(crate) fn start(&self, key: &K, deadline: Duration, fetch: impl FnOnce() -> Boxed<'static, R>) {
        drop(self.board(key, deadline, fetch));
    }

    fn board(&self, key: &K, deadline: Duration, fetch: impl FnOnce() -> Boxed<'static, R>) -> Board<R> {
        let (board, lead) = self.take_seat(key);
        if let Some(lead) = lead {
            lead.fly(deadline, fetch());
        }
        board
    }

    /// The board to wait at, and for one caller the lead.
    fn take_seat(&self, key: &K) -> (Board<R>, Option<Lead<K, R>>) {
        let mut sender = None;
        let open = || {
            let (open, news) = watch::channel(());
            sender = Some(open);
            Board { landing: Arc::default(), news }
        };
        let boarding = self.lock().board(key, open);
        match (boarding, sender) {
            (Boarding::Leads(board), Some(open)) => {
                let landing = Arc::clone(&board.landing);
                (board, Some(Lead { flights: self.clone(), key: key.clone(), landing, _open: open }))
            }
            (Boarding::Joined(board) | Boarding::Leads(board), _) => (board, None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk<K, Board<R>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn landed<R: Clone>(mut board: Board<R>) -> Landing<R> {
    // Nothing is ever sent: the news is that the sender has gone.
    while board.news.changed().await.is_ok() {}
    board.landing.get().cloned().unwrap_or(Landing::Crashed)
}

/// Who flies. When it goes the seat is given back, whatever happened, a panic of the one who makes the fetch included.
/// First the seat, then the news: who is told may ask again at once, and must not board the flight that has just ended.
struct Lead<K: Clone + Eq + Hash + Send + 'static, R: Clone + Send + Sync + 'static> {
    flights: Flights<K, R>,
    key: K,
    landing: Arc<OnceLock<Landing<R>>>,
    _open: watch::Sender<()>,
}

impl<K: Clone + Eq + Hash + Send + 'static, R: Clone + Send + Sync + 'static> Lead<K, R> {
    fn fly(self, deadline: Duration, fetch: Boxed<'static, R>) {
        let flight: Boxed<'static, ()> = Box::pin(async move {
            let landing = match tokio::time::timeout(deadline, caught(fetch)).await {
                Ok(Some(result)) => Landing::Done(result),
                Ok(None) => Landing::Crashed,
                Err(_) => Landing::TimedOut,
            };
            // It is the only one that writes.
            let _ = self.landing.set(landing);
            drop(self);
        });
        tokio::spawn(flight);
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, R: Clone + Send + Sync + 'static> Drop for Lead<K, R> {
    fn drop(&mut self) {
        self.flights.lock().land(&self.key);
    }
}

/// Runs what blocks where that does no harm; `None` when it panics, or its runtime shuts down.
#[cfg(feature = "acquire")]
pub(crate) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    let (give, take) = oneshot::channel();
    let work: Box<dyn FnOnce() + Send> = Box::new(move || drop(give.send(work())));
    tokio::task::spawn_blocking(work);
    take.await.ok()
}

/// Runs a future; `None` when it panics.
pub(crate) async fn caught<R>(mut future: Boxed<'_, R>) -> Option<R> {
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

impl<R> Clone for Board<R> {
    fn clone(&self) -> Self {
        Self { landing: Arc::clone(&self.landing), news: self.news.clone() }
    }
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
                    let fetch = async move {
                        let number = fetches.fetch_add(1, Ordering::SeqCst) + 1;
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        number
                    };
                    flights.join(&0, MINUTE, || Box::pin(fetch)).await
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
        assert_eq!(flights.join(&0, MINUTE, || Box::pin(async { panic!("loader") })).await, Landing::Crashed);
        assert_eq!(flights.join(&0, MINUTE, || Box::pin(std::future::pending())).await, Landing::TimedOut);
        let panics_at_once = || -> Boxed<'static, u8> { panic!("maker") };
        let crashed = tokio::spawn({
            let flights = flights.clone();
            async move { flights.join(&0, MINUTE, panics_at_once).await }
        });
        assert!(crashed.await.is_err());
        assert_eq!(flights.join(&0, MINUTE, || Box::pin(async { 7 })).await, Landing::Done(7));
    }

    #[tokio::test]
    async fn keys_do_not_wait_for_each_other() {
        let flights: Flights<u8, u8> = Flights::default();
        flights.start(&0, MINUTE, || Box::pin(std::future::pending()));
        assert_eq!(flights.join(&1, MINUTE, || Box::pin(async { 1 })).await, Landing::Done(1));
    }

    #[test]
    fn a_runtime_that_shuts_down_frees_the_cell() {
        let flights: Flights<u8, u8> = Flights::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let first = runtime();
        first.block_on(async { flights.start(&0, MINUTE, || Box::pin(std::future::pending())) });
        drop(first);
        assert_eq!(
            runtime().block_on(async { flights.join(&0, MINUTE, || Box::pin(async { 3 })).await }),
            Landing::Done(3)
        );
    }
}
