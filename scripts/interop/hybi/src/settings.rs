//! What a query chooses.

use hybi::{CloseCode, Deflate, Options};

/// What an echo does with what comes.
#[derive(Clone, Copy, Default)]
pub(crate) enum Answer {
    #[default]
    Echo,
    Ping,
    Fragments,
    Close,
}

/// What one side is told in a line of `lines.py`.
#[derive(Default)]
pub(crate) struct Settings {
    deflate: Deflate,
    off: bool,
    pub(crate) answer: Answer,
    pub(crate) id: Option<String>,
    code: u16,
    reason: usize,
}

impl Settings {
    /// What the query leaves out is as by default.
    pub(crate) fn new(query: &str) -> Self {
        query.split('&').fold(Self::default(), Self::with)
    }

    fn with(mut self, part: &str) -> Self {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match (name, value) {
            ("off", _) => self.off = true,
            ("do", "ping") => self.answer = Answer::Ping,
            ("do", "fragments") => self.answer = Answer::Fragments,
            ("do", "close") => self.answer = Answer::Close,
            ("id", id) => self.id = Some(id.into()),
            ("code", code) => self.code = code.parse().unwrap_or_default(),
            ("reason", length) => self.reason = length.parse().unwrap_or_default(),
            _ => self.deflate = deflate(self.deflate, name, value),
        }
        self
    }

    pub(crate) fn options(&self) -> Options {
        Options::new().deflate((!self.off).then_some(self.deflate))
    }

    /// What to close with.
    pub(crate) fn close(&self) -> (CloseCode, String) {
        (CloseCode::new(self.code), text(self.reason))
    }
}

/// The parameters of RFC 7692 §7.1, and the threshold.
fn deflate(deflate: Deflate, name: &str, value: &str) -> Deflate {
    match (name, value.parse(), value.parse()) {
        ("server_no_context_takeover", ..) => deflate.server_no_context_takeover(true),
        ("client_no_context_takeover", ..) => deflate.client_no_context_takeover(true),
        ("server_max_window_bits", Ok(bits), _) => deflate.server_max_window_bits(bits),
        ("client_max_window_bits", Ok(bits), _) => deflate.client_max_window_bits(bits),
        ("threshold", _, Ok(bytes)) => deflate.threshold(bytes),
        _ => deflate,
    }
}

/// A text of so many bytes.
pub(crate) fn text(length: usize) -> String {
    "é".repeat(length / 2) + &"!".repeat(length % 2)
}
