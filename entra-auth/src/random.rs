//! Randomness that needs to be unpredictable to nobody: jitter and correlation ids.

use std::hash::{BuildHasher, RandomState};

/// 64 bits from the standard library's seeded hasher. Never for keys, nonces, codes or assertion ids.
pub(crate) fn weak_u64() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// A number in `0.0..1.0`, for jitter.
pub(crate) fn weak_fraction() -> f64 {
    // 53 bits fill the mantissa of an f64 exactly.
    #[allow(clippy::cast_precision_loss)]
    let fraction = (weak_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}
