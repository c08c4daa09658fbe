//! The book's page about gateways: its policy is XML and says what the crate does.
#![cfg(feature = "inbound")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use botframework_activity::{ChannelCloud, SourceRange};

const PAGE: &str = include_str!("../../docs/src/ingress.md");

fn policy() -> &'static str {
    PAGE.split_once("```xml\n").unwrap().1.split_once("```").unwrap().0
}

/// Elements open and close, attributes have values in quotes and appear once, text has no bare mark-up.
fn elements(xml: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut open: Vec<String> = Vec::new();
    let mut all = Vec::new();
    let mut roots = 0;
    let mut rest = xml.trim();
    while !rest.is_empty() {
        let (text, tail) = rest.split_once('<').unwrap_or((rest, ""));
        assert!(!text.contains(['>', '&', '"']), "bare mark-up in {text:?}");
        assert!(!open.is_empty() || text.trim().is_empty(), "text outside of the root: {text:?}");
        let (tag, after) = tail.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag.trim_end(), true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{name:?}");
        let mut found: Vec<(String, String)> = Vec::new();
        while let Some((key, value)) = attributes.trim_start().split_once("=\"") {
            let (value, tail) = value.split_once('"').expect("an attribute ends");
            assert!(!value.contains(['<', '&']) && found.iter().all(|(other, _)| other != key), "{key}");
            found.push((key.to_owned(), value.to_owned()));
            attributes = tail;
        }
        assert!(attributes.trim().is_empty(), "{attributes:?}");
        roots += usize::from(open.is_empty());
        all.push((name.to_owned(), found));
        if !is_empty {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(roots, 1);
    all
}

#[test]
fn the_policy_is_well_formed_before_and_after_its_placeholders_are_filled() {
    let filled = policy()
        .replace("{metadata}", ChannelCloud::Public.metadata_url())
        .replace("{issuer}", ChannelCloud::Public.issuer())
        .replace("{bot}", "11111111-2222-3333-4444-555555555555")
        .replace("{tenant}", "aaaaaaaa-0000-0000-0000-000000000001")
        .replace("{region}", "amer")
        .replace("{backend}", "https://bot.contoso.com");
    assert!(!filled.contains(['{', '}']), "{filled}");
    for xml in [policy(), &filled] {
        let names: Vec<String> = elements(xml).into_iter().map(|(name, _)| name).collect();
        for name in ["policies", "validate-jwt", "check-header", "ip-filter", "claim", "on-error"] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
    }
}

#[test]
fn the_page_names_what_the_crate_uses() {
    for cloud in [ChannelCloud::Public, ChannelCloud::GccHigh, ChannelCloud::China] {
        assert!(PAGE.contains(cloud.metadata_url()) && PAGE.contains(cloud.issuer()), "{cloud:?}");
    }
    for range in SourceRange::TEAMS {
        assert!(PAGE.contains(&range.to_string()), "{range}");
    }
    let ranges = elements(policy()).into_iter().filter(|(name, _)| name == "address-range");
    for (_, attributes) in ranges {
        for (_, address) in attributes {
            let address = address.parse().unwrap();
            assert!(SourceRange::TEAMS.iter().any(|range| range.contains(address)), "{address}");
        }
    }
}
