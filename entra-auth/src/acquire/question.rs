//! A question to the place where a certificate is kept: asked once for all who want to know.

use std::time::Duration;

use tokio::time::timeout;

use crate::flight::{Boxed, Flights};

/// Whoever asks waits this long, and then goes on with what there is.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// An answer that comes later than this is no longer wanted. Until then nobody asks a second time.
const LONGEST: Duration = Duration::from_secs(30);

/// One question at a time. A clone shares it.
#[derive(Clone, Default)]
pub(super) struct Question(Flights<(), ()>);

impl Question {
    /// Waits for the question that is under way, or else asks it, for 3 s at the most. Who asks keeps what it learns, so
    /// that the answer comes too when nobody waits for it any more.
    #[inline]
    pub(super) async fn ask(&self, ask: impl FnOnce() -> Boxed<'static, ()>) {
        // How it ended does not matter here: what there is afterwards is used.
        let _ = timeout(PATIENCE, self.0.join(&(), LONGEST, ask)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::time::Instant;

    use super::*;

    /// Asks something that takes that long, and counts.
    async fn ask(question: Question, takes: Duration, asked: Arc<AtomicUsize>, answered: Arc<AtomicUsize>) {
        let ask = || -> Boxed<'static, ()> {
            asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                answered.fetch_add(1, Ordering::SeqCst);
            })
        };
        question.ask(ask).await;
    }

    #[tokio::test(start_paused = true)]
    async fn many_ask_once_and_who_goes_away_ends_nothing() {
        let (question, asked, answered) = (Question::default(), Arc::default(), Arc::default());
        let callers: Vec<_> = (0..100)
            .map(|_| {
                tokio::spawn(ask(question.clone(), Duration::from_secs(1), Arc::clone(&asked), Arc::clone(&answered)))
            })
            .collect();
        tokio::task::yield_now().await;
        // Among them the one that asked.
        for caller in callers.iter().take(99) {
            caller.abort();
        }
        for caller in callers.into_iter().skip(99) {
            caller.await.unwrap();
        }
        assert_eq!((asked.load(Ordering::SeqCst), answered.load(Ordering::SeqCst)), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_hangs_costs_everyone_their_own_patience() {
        let (question, asked, answered) = (Question::default(), Arc::default(), Arc::default());
        for _ in 0..9 {
            let began = Instant::now();
            ask(question.clone(), Duration::MAX, Arc::clone(&asked), Arc::clone(&answered)).await;
            assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::sleep(LONGEST).await;
        ask(question, Duration::ZERO, Arc::clone(&asked), Arc::clone(&answered)).await;
        assert_eq!((asked.load(Ordering::SeqCst), answered.load(Ordering::SeqCst)), (2, 1));
    }
}
