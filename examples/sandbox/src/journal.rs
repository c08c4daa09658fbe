//! The request log: what arrived, kept so that tests can assert it field by field.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};
use serde::Serialize;
use serde_json::Value;

use crate::state::lock;

/// Entries kept; the counters never forget.
const KEPT: usize = 20_000;
/// Longest body kept in an entry, bytes.
const LONGEST_BODY: usize = 256 * 1024;

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Recorded {
    /// `POST`.
    pub method: String,
    /// Path as sent, still percent-encoded, without query.
    pub path: String,
    /// Query pairs, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Header names in lower case and values. `authorization`, `cookie` and `api-key` have the value `***`.
    pub headers: Vec<(String, String)>,
    /// Decoded pairs of a form body, in order.
    pub form: Vec<(String, String)>,
    /// A JSON body.
    pub json: Option<Value>,
    /// Unix seconds by the sandbox's clock.
    pub at: i64,
    /// Status that was answered; 0 while the request runs or when the connection was cut.
    pub status: u16,
}

impl Recorded {
    /// First value of a form field.
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.form, name)
    }

    /// First value of a query parameter; names are compared without case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// First value of a header, by lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Recorded>,
    dropped: u64,
    counts: HashMap<(String, String), u64>,
}

/// All requests of one world.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    log: Mutex<Log>,
}

impl Journal {
    /// Notes a request; the number is its place, for [`Journal::answered`].
    pub(crate) fn record(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes, at: i64) -> u64 {
        let entry = entry(method, uri, headers, body, at);
        let mut log = lock(&self.log);
        *log.counts.entry((entry.method.clone(), entry.path.clone())).or_default() += 1;
        if log.entries.len() == KEPT {
            log.entries.pop_front();
            log.dropped += 1;
        }
        log.entries.push_back(entry);
        log.dropped + log.entries.len() as u64 - 1
    }

    /// Adds the status to a noted request.
    pub(crate) fn answered(&self, number: u64, status: u16) {
        let mut log = lock(&self.log);
        let index = number.checked_sub(log.dropped).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| log.entries.get_mut(index)) {
            entry.status = status;
        }
    }

    /// How many requests fitted this pattern since the start or the last [`Journal::clear`].
    pub(crate) fn count(&self, pattern: &str) -> u64 {
        let pattern = Pattern::new(pattern);
        let log = lock(&self.log);
        log.counts.iter().filter(|((method, path), _)| pattern.fits(method, path)).map(|(_, count)| count).sum()
    }

    /// The kept requests that fit, oldest first.
    pub(crate) fn entries(&self, pattern: &str) -> Vec<Recorded> {
        let pattern = Pattern::new(pattern);
        let log = lock(&self.log);
        log.entries.iter().filter(|entry| pattern.fits(&entry.method, &entry.path)).cloned().collect()
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut log = lock(&self.log);
        log.counts.clear();
        log.dropped += log.entries.len() as u64;
        log.entries.clear();
    }
}

fn entry(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes, at: i64) -> Recorded {
    let mut names: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| {
            let hidden = *name == header::AUTHORIZATION || *name == header::COOKIE || name.as_str() == "api-key";
            let value = if hidden { "***".to_owned() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() };
            (name.as_str().to_owned(), value)
        })
        .collect();
    names.sort();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let small = body.len() <= LONGEST_BODY;
    let form = small && kind.starts_with("application/x-www-form-urlencoded");
    let json = small && kind.starts_with("application/json");
    Recorded {
        method: method.as_str().to_owned(),
        path: uri.path().to_owned(),
        query: pairs(uri.query().unwrap_or_default().as_bytes()),
        headers: names,
        form: if form { pairs(body) } else { Vec::new() },
        json: if json { serde_json::from_slice(body).ok() } else { None },
        at,
        status: 0,
    }
}

/// Decoded pairs of a query or form.
pub(crate) fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(encoded).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// `[METHOD ]/path/{one}/…`: `{…}` or `*` stands for one segment, a final `**` for all that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    method: Option<String>,
    segments: Vec<String>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        let (method, path) = match text.trim().split_once(' ') {
            Some((method, path)) => (Some(method.to_ascii_uppercase()), path.trim()),
            None => (None, text.trim()),
        };
        Self { method, segments: segments(path).map(str::to_owned).collect() }
    }

    pub(crate) fn fits(&self, method: &str, path: &str) -> bool {
        if self.method.as_deref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let mut given = segments(path);
        for wanted in &self.segments {
            if wanted == "**" {
                return true;
            }
            let Some(segment) = given.next() else { return false };
            let any = wanted == "*" || (wanted.starts_with('{') && wanted.ends_with('}'));
            if !any && !wanted.eq_ignore_ascii_case(segment) {
                return false;
            }
        }
        given.next().is_none()
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.trim_matches('/').split('/')
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns() {
        let token = Pattern::new("POST /entra/{tenant}/oauth2/v2.0/token");
        assert!(token.fits("POST", "/entra/abc/oauth2/v2.0/token"));
        assert!(!token.fits("GET", "/entra/abc/oauth2/v2.0/token"));
        assert!(!token.fits("POST", "/entra/abc/def/oauth2/v2.0/token"));
        assert!(!token.fits("POST", "/entra/abc/oauth2/v2.0/token/more"));
        assert!(Pattern::new("/connector/**").fits("PUT", "/connector/amer/t/v3/x"));
        assert!(!Pattern::new("/connector/**").fits("PUT", "/tokenservice/x"));
    }
}
