//! The pages: plain HTML without a script.

use std::collections::BTreeSet;

use entra_auth::{Claims, ErrorKind};
use serde_json::{Map, Value};

use crate::{graph::NAMED, session::Session};

/// The one style sheet.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The start page.
pub(crate) fn home(session: Option<&Session>) -> String {
    match session {
        None => page(
            "Stories",
            None,
            "<p>Every user has a story of their own. Sign in with your work account to read yours.</p>\n\
             <p><a class=\"button\" href=\"/login?return_to=/me\">Sign in</a></p>\n",
        ),
        Some(session) => {
            let body = format!("<p>You are signed in as <strong>{}</strong>.</p>\n", escape(name(session)));
            page("Stories", Some(session), &body)
        }
    }
}

/// Who the user is: the id token, the groups, the attributes.
pub(crate) fn me(
    session: &Session,
    groups: &Result<(BTreeSet<String>, Vec<String>), &'static str>,
    attributes: &Result<Map<String, Value>, &'static str>,
) -> String {
    let source = match session.id_token.has_more_groups() {
        true => "too many for the token, so Graph was asked",
        false => "from the id token",
    };
    let groups = match groups {
        Err(reason) => format!("<p class=\"trouble\">{reason}</p>\n"),
        Ok((ids, names)) => {
            let items: String = names.iter().map(|name| format!("<li>{}</li>\n", escape(name))).collect();
            let more = match ids.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!("<li>and {more} more</li>\n"),
            };
            format!("<p><span id=\"group-count\">{}</span> groups, {source}.</p>\n<ul>{items}{more}</ul>\n", ids.len())
        }
    };
    let attributes = match attributes {
        Err(reason) => format!("<p class=\"trouble\">{reason}</p>\n"),
        Ok(members) => {
            let shown = members.iter().filter(|(name, value)| !name.starts_with('@') && !value.is_null());
            table("attributes", shown.map(|(name, value)| (name.as_str(), text(value))))
        }
    };
    let body = format!(
        "<h2>Id token</h2>\n<p>What Entra said about you to this application.</p>\n{}\
         <h2>Groups</h2>\n{groups}<h2>Attributes</h2>\n<p>What the directory tells the application itself.</p>\n{attributes}",
        claims(session.id_token.claims()),
    );
    page(name(session), Some(session), &body)
}

/// The story.
pub(crate) fn story(session: &Session, text: &str) -> String {
    let body = format!("<blockquote id=\"story\">{}</blockquote>\n", escape(text));
    page("Your story", Some(session), &body)
}

/// Something else than a page was to be shown.
pub(crate) fn trouble(title: &str, text: &str, session: Option<&Session>) -> String {
    let again = match session {
        Some(_) => "",
        None => "<p><a class=\"button\" href=\"/login\">Sign in</a> or <a href=\"/\">go to the start</a>.</p>\n",
    };
    page(title, session, &format!("<p>{}</p>\n{again}", escape(text)))
}

/// What to say when a sign-in was refused: heading and sentence. Nothing of the answer is repeated.
pub(crate) const fn refused(kind: ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::ConsentRequired => {
            ("No harm done", "You cancelled the sign-in, or did not allow the application what it asked for.")
        }
        ErrorKind::PolicyBlocked => {
            ("You cannot sign in here", "Your organisation, or ours, does not let your account use this application.")
        }
        ErrorKind::Reauthenticate | ErrorKind::InteractionRequired => {
            ("That took too long", "The sign-in is over. Start it again.")
        }
        ErrorKind::Transport | ErrorKind::Transient | ErrorKind::Throttled => {
            ("Not now", "The sign-in service cannot be reached. Try again in a minute.")
        }
        _ => ("The sign-in failed", "The answer of the sign-in service was not acceptable. Start again."),
    }
}

fn claims(claims: &Claims) -> String {
    let of = |name: &str| claims.raw(name).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    table("claims", claims.names().map(|name| (name, text(&of(name)))))
}

fn table<'a>(id: &str, rows: impl Iterator<Item = (&'a str, String)>) -> String {
    let rows: String =
        rows.map(|(name, value)| format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(name), escape(&value))).collect();
    format!("<table id=\"{id}\">\n{rows}</table>\n")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn name(session: &Session) -> &str {
    let display = session.id_token.untrusted_display();
    display.name.or(display.username).unwrap_or("somebody without a name")
}

fn page(title: &str, session: Option<&Session>, body: &str) -> String {
    let nav = session.map_or_else(String::new, |session| {
        format!(
            "<nav><a href=\"/me\">Me</a><a href=\"/story\">My story</a>\
             <form method=\"post\" action=\"/logout\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">\
             <button type=\"submit\">Sign out</button></form></nav>\n",
            escape(session.csrf.expose())
        )
    });
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title>\
         <link rel=\"stylesheet\" href=\"/style.css\"></head>\n<body>\n<header><a href=\"/\">Stories</a>{nav}</header>\n\
         <main>\n<h1>{0}</h1>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// Text for HTML, also within quotes.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let bad = "<script>alert(1)</script>\"'&";
        let page = trouble(bad, bad, None);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
        let rows = table("t", [(bad, bad.to_owned())].into_iter());
        assert!(!rows.contains("<script") && !rows.contains("\"'"));
    }
}
