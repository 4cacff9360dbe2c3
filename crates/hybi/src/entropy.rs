//! Mask keys and nonces that nobody outside can predict (RFC 6455 §10.3), without a system call
//! for each.

use std::cell::Cell;

use rand::Rng;

thread_local! {
    static KEYS: Keys = const {
        Keys {
            keys: [const { Cell::new([0; 4]) }; KEYS_AT_ONCE],
            next: Cell::new(KEYS_AT_ONCE),
        }
    };
}

/// Mask keys drawn in advance: a key is wanted for each message, and most of what it takes to ask
/// the generator for one does not depend on how many are asked for.
struct Keys {
    keys: [Cell<[u8; 4]>; KEYS_AT_ONCE],
    /// The first one that was not handed out.
    next: Cell<usize>,
}

const KEYS_AT_ONCE: usize = 64;

/// A fresh mask key.
#[inline]
pub(crate) fn mask_key() -> [u8; 4] {
    KEYS.with(|keys| {
        let next = keys.next.get();
        match keys.keys.get(next) {
            Some(key) => {
                keys.next.set(next + 1);
                key.get()
            }
            None => keys.draw(),
        }
    })
}

impl Keys {
    /// Draws all of them anew and hands the first one out.
    #[cold]
    fn draw(&self) -> [u8; 4] {
        let mut bytes = [0; 4 * KEYS_AT_ONCE];
        rand::rng().fill_bytes(&mut bytes);
        for (key, bytes) in self.keys.iter().zip(bytes.as_chunks().0) {
            key.set(*bytes);
        }
        self.next.set(1);
        self.keys[0].get()
    }
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
