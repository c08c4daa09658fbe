//! Scripted faults: what a route does instead of, or to, its real answer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::Pattern;
use crate::state::lock;

/// A fault on one route. Applies until its count is used up or [`crate::Sandbox::clear_faults`].
///
/// ```
/// use m365_sandbox::Fault;
/// let busy = Fault::on("POST /entra/{tenant}/oauth2/v2.0/token").status(429).header("retry-after", "2").times(3);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Fault {
    /// `[METHOD ]/path`, `{…}` for one segment, a final `**` for the rest.
    pub route: String,
    /// What happens.
    #[serde(default)]
    pub kind: FaultKind,
    /// Milliseconds to wait first.
    #[serde(default)]
    pub delay_ms: u64,
    /// Matching requests to let pass before the fault begins.
    #[serde(default)]
    pub skip: u64,
    /// How many requests it hits; endless when absent.
    #[serde(default)]
    pub times: Option<u64>,
    /// Headers added to the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// What a [`Fault`] does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The real answer; with `delay_ms` a slow one.
    #[default]
    Pass,
    /// This status and body; the real handler is not called.
    Status {
        /// HTTP status.
        status: u16,
        /// Body; sent as JSON when it parses as JSON, else as text.
        #[serde(default)]
        body: String,
    },
    /// Never answers. The connection stays open.
    Hang,
    /// The real answer, cut after this many body bytes: the connection is closed.
    Truncate(u64),
    /// The real answer, but after this many body bytes nothing more comes.
    Stall(u64),
    /// 200 and a JSON body that does not parse.
    Malformed,
    /// An HTML page of a front door with this status.
    Html(u16),
    /// The connection is closed without an answer; the handler is not called.
    Reset,
    /// The handler runs, then the connection is closed without an answer.
    LoseAnswer,
}

impl Fault {
    /// A fault on this route that so far does nothing.
    #[must_use]
    pub fn on(route: &str) -> Self {
        Self {
            route: route.to_owned(),
            kind: FaultKind::Pass,
            delay_ms: 0,
            skip: 0,
            times: None,
            headers: BTreeMap::new(),
        }
    }

    /// Answers with this status and no body.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.kind(FaultKind::Status { status, body: String::new() })
    }

    /// Answers with this status and body.
    #[must_use]
    pub fn answer(self, status: u16, body: &str) -> Self {
        self.kind(FaultKind::Status { status, body: body.to_owned() })
    }

    /// Never answers.
    #[must_use]
    pub fn hang(self) -> Self {
        self.kind(FaultKind::Hang)
    }

    /// Cuts the connection after this many bytes of the body.
    #[must_use]
    pub fn truncate(self, bytes: u64) -> Self {
        self.kind(FaultKind::Truncate(bytes))
    }

    /// Falls silent after this many bytes of the body.
    #[must_use]
    pub fn stall(self, bytes: u64) -> Self {
        self.kind(FaultKind::Stall(bytes))
    }

    /// Answers 200 with broken JSON.
    #[must_use]
    pub fn malformed(self) -> Self {
        self.kind(FaultKind::Malformed)
    }

    /// Answers with an HTML error page.
    #[must_use]
    pub fn html(self, status: u16) -> Self {
        self.kind(FaultKind::Html(status))
    }

    /// Closes the connection instead of answering.
    #[must_use]
    pub fn reset(self) -> Self {
        self.kind(FaultKind::Reset)
    }

    /// Does the work, then closes the connection instead of answering.
    #[must_use]
    pub fn lose_answer(self) -> Self {
        self.kind(FaultKind::LoseAnswer)
    }

    /// Sets what happens.
    #[must_use]
    pub fn kind(mut self, kind: FaultKind) -> Self {
        self.kind = kind;
        self
    }

    /// Waits first; combines with every kind.
    #[must_use]
    pub fn delay(mut self, wait: Duration) -> Self {
        self.delay_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Lets the first requests pass.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Ends after this many hits.
    #[must_use]
    pub fn times(mut self, hits: u64) -> Self {
        self.times = Some(hits);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.to_owned());
        self
    }
}

#[derive(Debug)]
struct Script {
    fault: Fault,
    pattern: Pattern,
}

/// The active faults, asked in the order they were added.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    scripts: Mutex<Vec<Script>>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        let pattern = Pattern::new(&fault.route);
        lock(&self.scripts).push(Script { fault, pattern });
    }

    pub(crate) fn clear(&self) {
        lock(&self.scripts).clear();
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        lock(&self.scripts).iter().map(|script| script.fault.clone()).collect()
    }

    /// The fault for this request, counted.
    pub(crate) fn take(&self, method: &str, path: &str) -> Option<Fault> {
        let mut scripts = lock(&self.scripts);
        let index = scripts.iter_mut().position(|script| {
            if !script.pattern.fits(method, path) {
                return false;
            }
            if script.fault.skip > 0 {
                script.fault.skip -= 1;
                return false;
            }
            true
        })?;
        let script = scripts.get_mut(index)?;
        let fault = script.fault.clone();
        if let Some(left) = &mut script.fault.times {
            *left = left.saturating_sub(1);
            if *left == 0 {
                scripts.remove(index);
            }
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_counts_and_ends() {
        let faults = Faults::default();
        faults.add(Fault::on("GET /a/{b}").status(503).skip(1).times(2));
        let hit = |path: &str| faults.take("GET", path).is_some();
        assert_eq!(
            [hit("/a/1"), hit("/a/2"), hit("/b/1"), hit("/a/3"), hit("/a/4")],
            [false, true, false, true, false]
        );
    }

    #[test]
    fn json_form() {
        let fault: Fault =
            serde_json::from_str(r#"{"route":"/x","kind":{"status":{"status":500}},"times":1}"#).unwrap();
        assert_eq!(fault, Fault::on("/x").status(500).times(1));
        assert!(serde_json::from_str::<Fault>(r#"{"route":"/x","knd":"hang"}"#).is_err());
    }
}
