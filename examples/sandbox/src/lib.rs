//! A Microsoft cloud on loopback.
