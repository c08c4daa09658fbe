use std::{
    collections::{HashSet, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::error::{Delivery, SendError, SendErrorKind};

/// A list that comes page by page: a [`Stream`] of its entries, which asks for the next page when the last one is used
/// up.
///
/// Dropping it ends the list; nothing is asked for ahead. After an error it ends. A service that hands out the same
/// continuation token twice is an error, not an endless list.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Pages<'a, T> {
    fetch: Box<dyn FnMut(Option<String>) -> Fetching<'a, T> + Send + 'a>,
    items: VecDeque<T>,
    seen: HashSet<String>,
    state: State<'a, T>,
}

pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

type Fetching<'a, T> = Pin<Box<dyn Future<Output = Result<Page<T>, SendError>> + Send + 'a>>;

enum State<'a, T> {
    Next(Option<String>),
    Fetching(Fetching<'a, T>),
    /// The service gave out a token that it had given out before.
    Circle,
    Done,
}

impl<'a, T> Pages<'a, T> {
    #[inline]
    pub(super) fn new(fetch: impl FnMut(Option<String>) -> Fetching<'a, T> + Send + 'a) -> Self {
        Self { fetch: Box::new(fetch), items: VecDeque::new(), seen: HashSet::new(), state: State::Next(None) }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    ///
    /// The page could not be read: as [`ConnectorClient::send`](crate::ConnectorClient::send).
    #[inline]
    pub async fn next(&mut self) -> Option<Result<T, SendError>>
    where
        T: Unpin,
    {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// All entries that are left.
    ///
    /// # Errors
    ///
    /// The first page that could not be read.
    #[inline]
    pub async fn collect(mut self) -> Result<Vec<T>, SendError>
    where
        T: Unpin,
    {
        let mut all = Vec::new();
        while let Some(item) = self.next().await {
            all.push(item?);
        }
        Ok(all)
    }
}

impl<T: Unpin> Stream for Pages<'_, T> {
    type Item = Result<T, SendError>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Circle => {
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(SendError::new(SendErrorKind::Protocol, Delivery::NotSent))));
                }
                State::Next(token) => {
                    let token = token.take();
                    let fetching = (self.fetch)(token);
                    self.state = State::Fetching(fetching);
                }
                State::Fetching(fetching) => match ready!(fetching.as_mut().poll(cx)) {
                    Ok(page) => {
                        self.items = page.items.into();
                        self.state = match page.next.filter(|next| !next.is_empty()) {
                            None => State::Done,
                            Some(next) if self.seen.insert(next.clone()) => State::Next(Some(next)),
                            Some(_) => State::Circle,
                        };
                    }
                    Err(error) => {
                        self.state = State::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
            }
        }
    }
}

impl<T> fmt::Debug for Pages<'_, T> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("read_ahead", &self.items.len()).finish_non_exhaustive()
    }
}
