//! Mask keys and nonces that nobody outside can predict (RFC 6455 §10.3), without a system call
//! for each.

use rand::Rng;

/// A fresh mask key.
pub(crate) fn mask_key() -> [u8; 4] {
    rand::rng().next_u32().to_ne_bytes()
}

/// A fresh nonce for `Sec-WebSocket-Key`.
pub(crate) fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    rand::rng().fill_bytes(&mut nonce);
    nonce
}

/// A number from 0 up to 1.
pub(crate) fn fraction() -> f64 {
    f64::from(rand::rng().next_u32()) / (f64::from(u32::MAX) + 1.0)
}
