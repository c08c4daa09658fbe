//! Where a request goes: a service URL, then segments, each percent-encoded.

use http::Uri;

use crate::ServiceUrl;

/// The longest id that is put into a path, in bytes.
pub(super) const MAX_ID: usize = 1024;

/// Appends path segments to a service URL. Tenant and region in its path stay.
///
/// `None` when a segment is empty, `.`, `..` or longer than [`MAX_ID`], or the result is no URI. Members of the query
/// without a value are left out.
pub(super) fn join(base: &ServiceUrl, segments: &[&str], query: &[(&str, Option<&str>)]) -> Option<Uri> {
    let usable = |segment: &&str| !matches!(*segment, "" | "." | "..") && segment.len() <= MAX_ID;
    if !segments.iter().all(usable) {
        return None;
    }
    let mut url = base.endpoint(segments.iter().copied());
    let given = query.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
    if given.clone().next().is_some() {
        url.query_pairs_mut().extend_pairs(given);
    }
    url.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(base: &str, segments: &[&str]) -> Option<String> {
        join(&ServiceUrl::loopback_dev(base).unwrap(), segments, &[]).map(|uri| uri.to_string())
    }

    #[test]
    fn the_path_of_the_service_url_stays() {
        for base in ["https://localhost:8443/emea/tenant-1/", "https://localhost:8443/emea/tenant-1"] {
            assert_eq!(
                joined(base, &["v3", "conversations", "a:1"]).unwrap(),
                "https://localhost:8443/emea/tenant-1/v3/conversations/a%3A1"
            );
        }
    }

    #[test]
    fn ids_of_every_channel_are_encoded() {
        for (id, encoded) in [
            ("19:abc@thread.tacv2;messageid=1700000000000", "19%3Aabc%40thread.tacv2%3Bmessageid%3D1700000000000"),
            ("a:1Bc_d-E.f~g", "a%3A1Bc_d-E.f~g"),
            ("conv|000 1", "conv%7C000%201"),
            ("a/b\\c?d#e%2f", "a%2Fb%5Cc%3Fd%23e%252f"),
            ("grün\r\n", "gr%C3%BCn%0D%0A"),
            ("%2e%2e", "%252e%252e"),
        ] {
            assert_eq!(joined("https://127.0.0.1/", &[id]).unwrap(), format!("https://127.0.0.1/{encoded}"));
        }
    }

    #[test]
    fn dot_segments_cannot_leave_the_service_path() {
        for id in ["", ".", "..", &"x".repeat(MAX_ID + 1)] {
            assert_eq!(joined("https://127.0.0.1/emea", &["v3", id, "activities"]), None, "{id}");
        }
        assert!(joined("https://127.0.0.1/", &[&"x".repeat(MAX_ID)]).is_some());
    }

    proptest! {
        #[test]
        fn the_path_decodes_to_the_segments(ids in proptest::collection::vec(".{1,40}", 1..4)) {
            let segments: Vec<&str> = ids.iter().map(String::as_str).collect();
            let Some(uri) = join(&ServiceUrl::loopback_dev("https://127.0.0.1/emea/").unwrap(), &segments, &[]) else {
                prop_assert!(segments.iter().any(|s| [".", ".."].contains(s)));
                return Ok(());
            };
            prop_assert_eq!(uri.query(), None);
            let decoded: Vec<String> = uri.path().split('/').skip(2).map(|part| {
                let mut bytes = part.bytes();
                let mut out = Vec::new();
                while let Some(byte) = bytes.next() {
                    out.push(match byte {
                        b'%' => {
                            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                            u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
                        }
                        byte => byte,
                    });
                }
                String::from_utf8(out).unwrap()
            }).collect();
            prop_assert_eq!(decoded, ids);
        }
    }
}
