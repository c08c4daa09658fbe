//! The pages of the sandbox's Entra: plain HTML, a form each.

use axum::response::{Html, IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

/// A page under construction.
pub(crate) struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page with this heading.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: escape(title), body: String::new() }
    }

    /// A paragraph.
    #[must_use]
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.body.push_str(&format!("<p>{}</p>\n", escape(text)));
        self
    }

    /// A form that is posted to `action` with these hidden fields. `inside` is HTML.
    #[must_use]
    pub(crate) fn form(mut self, action: &str, hidden: &[(&str, &str)], inside: &str) -> Self {
        self.body.push_str(&format!("<form method=\"post\" action=\"{}\">\n", escape(action)));
        for (name, value) in hidden {
            self.body.push_str(&format!(
                "<input type=\"hidden\" name=\"{}\" value=\"{}\">\n",
                escape(name),
                escape(value)
            ));
        }
        self.body.push_str(inside);
        self.body.push_str("</form>\n");
        self
    }

    /// Sends the first form of the page without being asked.
    #[must_use]
    pub(crate) fn submitted(mut self) -> Self {
        self.body.push_str("<script>document.forms[0].submit()</script>\n");
        self
    }

    /// The answer.
    pub(crate) fn response(self, status: StatusCode) -> Response {
        let html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\n<style>{STYLE}</style></head>\n\
             <body><main><p class=\"note\">Sandbox. Nobody's real account.</p>\n<h1>{0}</h1>\n{1}</main></body></html>\n",
            self.title, self.body
        );
        let mut response = (status, Html(html)).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A button that posts `name=value`.
pub(crate) fn button(name: &str, value: &str, text: &str) -> String {
    format!("<button type=\"submit\" name=\"{}\" value=\"{}\">{}</button>\n", escape(name), escape(value), escape(text))
}

/// Text for HTML, also within quotes.
pub(crate) fn escape(text: &str) -> String {
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

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;background:#f2f2f2;margin:0}main{background:#fff;\
    max-width:26rem;margin:12vh auto;padding:2rem;box-shadow:0 2px 6px #0003}h1{font-size:1.4rem;margin:.2rem 0 1rem}\
    button{font:inherit;display:block;width:100%;text-align:left;padding:.7rem 1rem;margin:.4rem 0;border:1px solid #ccc;\
    background:#fff;cursor:pointer}button:hover{background:#f2f2f2}input[type=text]{font:inherit;padding:.6rem;width:100%;\
    box-sizing:border-box}.note{color:#666;font-size:.85rem;margin:0}";
