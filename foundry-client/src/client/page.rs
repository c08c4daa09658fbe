//! Lists that span pages, as a stream of entries.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use crate::client::Shared;
use crate::client::call::{Call, Reply};
use crate::client::error::{Error, ErrorKind};
use crate::conversation::Page;
use crate::object::Read;

/// All entries of a list; pages are fetched as they are needed.
///
/// A [`futures_core::Stream`]; [`next`](Self::next) does without the trait. Follows both forms of the service:
/// `after` with the last id, and `nextLink`. A link to another origin, and a cursor that does not move, are
/// [`ErrorKind::Protocol`]. The first error ends the list.
///
/// ```no_run
/// # async fn example(client: foundry_client::FoundryClient) -> Result<(), foundry_client::Error> {
/// let mut agents = client.agents().list_all(&foundry_client::ListAgents::new());
/// while let Some(agent) = agents.next().await {
///     println!("{}", agent?.name);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is fetched before the list is read"]
pub struct Paged<T> {
    pages: Pages,
    entries: VecDeque<T>,
    read: fn(&RawValue) -> Result<T, serde_json::Error>,
}

/// The pages behind the entries.
struct Pages {
    shared: Arc<Shared>,
    first: Result<Call, Error>,
    next: Next,
    fetch: Option<Fetch>,
}

type Fetch = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

enum Next {
    First,
    After(String),
    Link(Url),
    Failed(Error),
    Over,
}

impl<T> Paged<T> {
    pub(crate) fn new(shared: &Arc<Shared>, first: Result<Call, Error>) -> Self
    where
        T: for<'a> Read<'a>,
    {
        let pages = Pages { shared: Arc::clone(shared), first, next: Next::First, fetch: None };
        Self { pages, entries: VecDeque::new(), read: |json| T::read(json) }
    }
}

impl<T: DeserializeOwned + Send + 'static> Paged<T> {
    /// The next entry; none after the last one.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures were already repeated.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| self.poll_entry(cx)).await
    }

    /// All entries at once. For lists that are known to be short.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn collect(mut self) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        while let Some(entry) = self.next().await {
            all.push(entry?);
        }
        Ok(all)
    }
}

impl<T> Paged<T> {
    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Poll::Ready(Some(Ok(entry)));
            }
            match ready!(self.pages.poll(cx)) {
                Some(Ok(reply)) => match reply.json().and_then(|json| Page::read_with(json, self.read)) {
                    Ok(page) => {
                        self.pages.turn(page.data.is_empty(), page.next_link, page.has_more.then_some(page.last_id));
                        self.entries.extend(page.data);
                    }
                    Err(_) => self.pages.next = Next::Failed(reply.unreadable()),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Pages {
    /// The next page; none after the last one. The first error is the last thing that comes.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Reply, Error>>> {
        loop {
            if let Some(fetch) = &mut self.fetch {
                let page = ready!(fetch.as_mut().poll(cx));
                self.fetch = None;
                if page.is_err() {
                    self.next = Next::Over;
                }
                return Poll::Ready(Some(page));
            }
            if matches!(self.next, Next::Failed(_))
                && let Next::Failed(error) = std::mem::replace(&mut self.next, Next::Over)
            {
                return Poll::Ready(Some(Err(error)));
            }
            match self.call() {
                Ok(Some(call)) => {
                    let shared = Arc::clone(&self.shared);
                    self.fetch = Some(Box::pin(async move { shared.done(call).await }));
                }
                Ok(None) => return Poll::Ready(None),
                Err(error) => {
                    self.next = Next::Over;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn call(&self) -> Result<Option<Call>, Error> {
        if matches!(self.next, Next::Over) {
            return Ok(None);
        }
        let first = self.first.as_ref().map_err(Clone::clone)?;
        Ok(match &self.next {
            Next::Over | Next::Failed(_) => None,
            Next::First => Some(first.again(&self.shared)),
            Next::Link(link) => Some(first.again(&self.shared).at(link.clone())),
            Next::After(id) => Some(first.again(&self.shared).at(after(first.url(), id))),
        })
    }

    /// What comes after a page: `last` is there when the page says that there is more.
    fn turn(&mut self, empty: bool, link: Option<String>, last: Option<Option<String>>) {
        let before = std::mem::replace(&mut self.next, Next::Over);
        let next = if let Some(link) = link.filter(|link| !link.is_empty()) {
            let origin = self.shared.endpoint.base().origin();
            let link = Url::parse(&link).ok().filter(|link| link.origin() == origin);
            link.filter(|link| !matches!(&before, Next::Link(seen) if seen == link)).map(Next::Link)
        } else if let Some(id) = last.filter(|_| !empty) {
            id.filter(|id| !matches!(&before, Next::After(seen) if seen == id)).map(Next::After)
        } else {
            Some(Next::Over)
        };
        self.next = next.unwrap_or_else(|| Next::Failed(Error::new(ErrorKind::Protocol)));
    }
}

/// The same address with another `after`.
fn after(url: &Url, id: &str) -> Url {
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "after")
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair("after", id);
    url
}

impl<T> Unpin for Paged<T> {}

impl<T: DeserializeOwned + Send + 'static> Stream for Paged<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_entry(cx)
    }
}

impl<T> fmt::Debug for Paged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paged").field("entries_at_hand", &self.entries.len()).finish_non_exhaustive()
    }
}
