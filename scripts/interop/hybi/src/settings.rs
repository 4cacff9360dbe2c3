//! What a query chooses, as options.

use hybi::{Deflate, Options};

/// The options that a query of the parameters of RFC 7692 §7.1 stands for; what it leaves out is as
/// by default.
pub(crate) fn options(query: &str) -> Options {
    Options::new().deflate(query.split('&').fold(Deflate::default(), |deflate, part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match (name, value.parse(), value.parse()) {
            ("server_no_context_takeover", ..) => deflate.server_no_context_takeover(true),
            ("client_no_context_takeover", ..) => deflate.client_no_context_takeover(true),
            ("server_max_window_bits", Ok(bits), _) => deflate.server_max_window_bits(bits),
            ("client_max_window_bits", Ok(bits), _) => deflate.client_max_window_bits(bits),
            ("threshold", _, Ok(bytes)) => deflate.threshold(bytes),
            _ => deflate,
        }
    }))
}
