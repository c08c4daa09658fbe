//! What an agent asks the user, and the user's answers.

use crate::input::InputItem;
use crate::items::Item;

/// A remote tool waits for the user's approval: what a card shows, and the two answers to it.
///
/// The answer is an input item of the next request, in the same conversation or after the same response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApprovalRequest {
    /// The request's id; goes into the card and comes back with the button.
    pub id: String,
    /// The remote server.
    pub server_label: String,
    /// The tool.
    pub tool: String,
    /// The arguments as a JSON text made by the model. Show them: the user approves this call, not the tool.
    pub arguments: String,
}

impl ApprovalRequest {
    /// The request in an item; none in any other item, and in one without an id, which nobody could answer.
    #[must_use]
    pub fn of(item: &Item) -> Option<Self> {
        let Item::McpApprovalRequest(request) = item else {
            return None;
        };
        Some(Self {
            id: item.id()?.to_owned(),
            server_label: request.server_label.clone(),
            tool: request.name.clone(),
            arguments: request.arguments.clone(),
        })
    }

    /// The user's decision.
    #[must_use]
    pub fn decide(&self, decision: Decision) -> InputItem {
        decision.about(&self.id)
    }
}

/// What the user decides about an [`ApprovalRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The tool may run, this once.
    Approve,
    /// It may not; the agent is told why.
    Deny {
        /// For the agent, for example "the user declined".
        reason: Option<String>,
    },
}

impl Decision {
    /// The answer to the request with this id: for a button that kept the id alone.
    #[must_use]
    pub fn about(self, request_id: &str) -> InputItem {
        match self {
            Self::Approve => InputItem::mcp_approval_response(request_id, true, None),
            Self::Deny { reason } => InputItem::mcp_approval_response(request_id, false, reason),
        }
    }
}

/// A connection waits for the user's sign-in. After it, send the user's input again.
///
/// Consent is per user, connection and project; users of another tenant cannot give it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsentRequest {
    /// The item's id, when it has one.
    pub id: Option<String>,
    /// Where the user signs in: an `https` address without user name. Its host is the service's choice.
    pub link: String,
    /// The remote server that needs it.
    pub server_label: Option<String>,
}

impl ConsentRequest {
    /// The request in an item; none in any other item, and when the link is not one to offer to a user.
    #[must_use]
    pub fn of(item: &Item) -> Option<Self> {
        let Item::OAuthConsentRequest(request) = item else {
            return None;
        };
        is_offerable(&request.consent_link).then(|| Self {
            id: item.id().map(str::to_owned),
            link: request.consent_link.clone(),
            server_label: request.server_label.clone(),
        })
    }
}

/// An `https` address with a host and without a user name, of printable characters.
fn is_offerable(link: &str) -> bool {
    let Some(rest) = link.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://")).and_then(|_| link.get(8..))
    else {
        return false;
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    !authority.is_empty()
        && !authority.starts_with(':')
        && !authority.contains('@')
        && rest.chars().all(|c| c.is_ascii_graphic() || (!c.is_ascii() && !c.is_control()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(json: serde_json::Value) -> Item {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_approval_is_answered_by_its_id() {
        let asked = item(json!({"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "jira",
                                "name": "create", "arguments": "{}"}));
        let request = ApprovalRequest::of(&asked).unwrap();
        assert_eq!((request.server_label.as_str(), request.tool.as_str()), ("jira", "create"));
        let yes = serde_json::to_value(request.decide(Decision::Approve)).unwrap();
        assert_eq!(
            yes,
            json!({"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": true, "reason": null})
        );
        let no = Decision::Deny { reason: Some("no".to_owned()) }.about("mcpr_1");
        let no = serde_json::to_value(no).unwrap();
        assert_eq!((&no["approve"], &no["reason"]), (&json!(false), &json!("no")));
        let nameless = item(json!({"type": "mcp_approval_request", "server_label": "s", "name": "n"}));
        assert_eq!(ApprovalRequest::of(&nameless), None);
    }

    #[test]
    fn only_https_links_are_offered() {
        let offered = |link: &str| {
            ConsentRequest::of(&item(json!({"type": "oauth_consent_request", "consent_link": link}))).is_some()
        };
        for good in ["https://login.example/consent?x=1", "HTTPS://login.example", "https://login.example:8443/ä"] {
            assert!(offered(good), "{good}");
        }
        for bad in [
            "http://login.example",
            "javascript:alert(1)",
            "https://",
            "https://@x",
            "https://a@b/",
            "https:///x",
            "https://a b",
            "https://a\n",
            "",
            "ä",
        ] {
            assert!(!offered(bad), "{bad}");
        }
    }
}
