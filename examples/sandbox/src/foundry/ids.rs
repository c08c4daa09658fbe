//! Identifiers in the service's shape: a prefix, `_`, an 18-character partition key and 32 random characters.
//!
//! Ids are random, not counted: after a restart the new process must not recognise an id of the old one.

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const PARTITION: usize = 18;
const ENTROPY: usize = 32;

/// Makes an id with a partition key of its own.
pub(crate) fn fresh(prefix: &str) -> String {
    let key: String = hex(&random::<8>());
    with_key(prefix, &format!("{key}00"))
}

/// Makes an id that shares the partition key of `hint`, as items share the one of their response.
pub(crate) fn beside(prefix: &str, hint: &str) -> String {
    match hint.split_once('_').and_then(|(_, body)| body.get(..PARTITION)) {
        Some(key) => with_key(prefix, key),
        None => fresh(prefix),
    }
}

/// Whether `id` is `prefix_` followed by 50 letters and digits (or 48 in the older form).
pub(crate) fn is_well_formed(id: &str, prefixes: &[&str]) -> bool {
    id.split_once('_').is_some_and(|(prefix, body)| {
        prefixes.contains(&prefix)
            && matches!(body.len(), 48 | 50)
            && body.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn with_key(prefix: &str, key: &str) -> String {
    let entropy: String = random::<ENTROPY>()
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
        .map(|byte| char::from(*byte))
        .collect();
    format!("{prefix}_{key}{entropy}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    // The generator of aws-lc does not fail in practice; zeros would only make an id that collides.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_shape_the_service_checks() {
        let response = fresh("resp");
        assert!(is_well_formed(&response, &["resp"]), "{response}");
        assert_eq!(response.len(), "resp_".len() + 50);
        let item = beside("msg", &response);
        assert_eq!(item.get(4..22), response.get(5..23));
        assert_ne!(fresh("conv"), fresh("conv"));
    }

    #[test]
    fn foreign_shapes_are_refused() {
        for id in ["conv_mine", "conv", "", "resp_", "conv_é"] {
            assert!(!is_well_formed(id, &["conv"]), "{id}");
        }
        assert!(!is_well_formed(&fresh("resp"), &["conv"]));
    }
}
