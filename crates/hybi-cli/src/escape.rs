//! Text of a peer, made safe for a terminal.
//!
//! Whatever a peer can choose (messages, close reasons, the texts of errors) passes here before
//! it is printed, so that it can neither move the cursor nor forge a line of its own. A backslash
//! stays as it is: JSON comes out as it came in.

use std::fmt::{self, Write};

/// Shows `text` on one line: what would act on the terminal is written as `\n` or `\u{1b}`.
pub(crate) fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// See [`escape`].
pub(crate) struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut plain = 0;
        for (at, c) in self.0.char_indices().filter(|&(_, c)| acts(c)) {
            f.write_str(&self.0[plain..at])?;
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
            plain = at + c.len_utf8();
        }
        f.write_str(&self.0[plain..])
    }
}

/// Describes a binary message on one line: its size, and its first bytes in hex.
pub(crate) fn binary(bytes: &[u8]) -> String {
    let plural = if bytes.len() == 1 { "" } else { "s" };
    let mut note = format!("[binary, {} byte{plural}", bytes.len());
    for (i, byte) in bytes.iter().take(SHOWN).enumerate() {
        let _ = write!(note, "{} {byte:02x}", if i == 0 { ":" } else { "" });
    }
    if bytes.len() > SHOWN {
        note.push_str(" ...");
    }
    note.push(']');
    note
}

/// Whether a terminal obeys this character instead of showing it.
fn acts(c: char) -> bool {
    // Beside C0, DEL and C1: the line separators, and the marks that reorder the rest of a line.
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many bytes of a binary message are shown.
const SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        escape(text).to_string()
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in [
            "",
            "hello",
            "grüße, 世界 👩‍👩‍👧",
            r#"{"path":"C:\\x","say":"\"hi\""}"#,
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_message_never_spans_two_lines() {
        assert_eq!(
            shown("a\nb\r\nc\u{2028}d\u{85}e"),
            r"a\nb\r\nc\u{2028}d\u{85}e"
        );
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert_eq!(
            shown("\x1b[2J\x07\t\0\x7f\u{9b}1m"),
            r"\u{1b}[2J\u{7}\t\u{0}\u{7f}\u{9b}1m"
        );
        for c in (0..=0x10_ffff)
            .filter_map(char::from_u32)
            .filter(|c| c.is_control())
        {
            assert!(
                !shown(&format!("a{c}b")).chars().any(char::is_control),
                "{c:?}"
            );
        }
    }

    #[test]
    fn text_cannot_reorder_the_line() {
        assert_eq!(shown("abc\u{202e}fed\u{2066}"), r"abc\u{202e}fed\u{2066}");
    }

    #[test]
    fn binary_shows_its_size_and_first_bytes() {
        assert_eq!(binary(b""), "[binary, 0 bytes]");
        assert_eq!(binary(b"\x00"), "[binary, 1 byte: 00]");
        assert_eq!(binary(b"hello"), "[binary, 5 bytes: 68 65 6c 6c 6f]");
        assert_eq!(
            binary(&[0xff; 17]),
            format!("[binary, 17 bytes:{} ...]", " ff".repeat(16))
        );
    }
}
