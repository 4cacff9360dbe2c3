//! What extensions are agreed on: an offer is made, chosen from, and its answer judged
//! (RFC 6455 §9.1, RFC 7692 §5 and §7.1).
//!
//! There is one that both sides know, permessage-deflate.

use std::fmt;

use http::header::HeaderValue;

use super::error::ResponseError;
use super::grammar::{Extension, parse_extensions};
use crate::deflate::{AVAILABLE, Deflate, MAX_BITS, MIN_BITS, Params};

/// The extensions that both sides have agreed on. Its `Display` is the value of
/// `Sec-WebSocket-Extensions` that says so, empty if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extensions {
    deflate: Option<Params>,
}

impl Extensions {
    /// What a client and a server with these options would agree on.
    #[must_use]
    pub fn between(client: Option<&Deflate>, server: Option<&Deflate>) -> Self {
        let offer = client.and_then(offer);
        let offer = offer.as_ref().and_then(|offer| offer.to_str().ok());
        let mut offers = Vec::new();
        match offer.map(|offer| parse_extensions(offer, &mut offers)) {
            Some(Ok(())) => choose(server, &offers),
            _ => Self::default(),
        }
    }

    /// How messages are compressed, if they are.
    #[must_use]
    pub fn deflate(&self) -> Option<Params> {
        self.deflate
    }

    /// The header that says so; none if there are none.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.deflate?.to_string()).ok()
    }
}

impl fmt::Display for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deflate.iter().try_for_each(|params| params.fmt(f))
    }
}

/// The parameters of one permessage-deflate in a list.
#[derive(Default)]
struct Listed {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// It may stand in an offer without a value.
    client_max_window_bits: Option<Option<u8>>,
}

const NAME: &str = "permessage-deflate";

impl Listed {
    /// RFC 7692 §7: a peer MUST decline an offer, and fail a connection with an answer, that has a
    /// parameter that is not defined, that is repeated or whose value is invalid.
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        let mut listed = Self::default();
        let once = |flag: &mut bool| (!std::mem::replace(flag, true)).then_some(());
        for (name, value) in &extension.params {
            match (*name, value.as_deref()) {
                ("server_no_context_takeover", None) => {
                    once(&mut listed.server_no_context_takeover)?;
                }
                ("client_no_context_takeover", None) => {
                    once(&mut listed.client_no_context_takeover)?;
                }
                ("server_max_window_bits", Some(value)) => {
                    let bits = Some(bits(value)?);
                    let before = std::mem::replace(&mut listed.server_max_window_bits, bits);
                    before.is_none().then_some(())?;
                }
                ("client_max_window_bits", value) => {
                    let bits = match value {
                        Some(value) => Some(bits(value)?),
                        None => None,
                    };
                    let before = listed.client_max_window_bits.replace(bits);
                    before.is_none().then_some(())?;
                }
                _ => return None,
            }
        }
        Some(listed)
    }
}

/// RFC 7692 §7.1.2.1: a decimal integer value without leading zeroes between 8 to 15, inclusive.
fn bits(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok()?;
    let plain = value.bytes().all(|b| b.is_ascii_digit()) && !value.starts_with('0');
    (plain && (8..=MAX_BITS).contains(&bits)).then_some(bits)
}

/// The list that a client offers: what it wants, and then what it takes of a server that knows
/// less of it.
pub(super) fn offer(deflate: &Deflate) -> Option<HeaderValue> {
    use fmt::Write;

    let mut offer = String::from(NAME);
    if deflate.server_no_context_takeover {
        offer.push_str("; server_no_context_takeover");
    }
    if deflate.client_no_context_takeover {
        offer.push_str("; client_no_context_takeover");
    }
    let plain = format!("{offer}; client_max_window_bits");
    let (server, client) = (
        deflate.server_max_window_bits,
        deflate.client_max_window_bits,
    );
    if server == MAX_BITS && client == MAX_BITS {
        return with_engines(plain);
    }
    if server < MAX_BITS {
        let _ = write!(offer, "; server_max_window_bits={server}");
    }
    offer.push_str("; client_max_window_bits");
    if client < MAX_BITS {
        let _ = write!(offer, "={client}");
    }
    with_engines(format!("{offer}, {plain}"))
}

fn with_engines(offer: String) -> Option<HeaderValue> {
    AVAILABLE.then(|| HeaderValue::try_from(offer).ok())?
}

/// What a server agrees on: the first offer that it can meet. All others are declined.
pub(super) fn choose(deflate: Option<&Deflate>, offers: &[Extension<'_>]) -> Extensions {
    let deflate = deflate.filter(|_| AVAILABLE);
    Extensions {
        deflate: deflate.and_then(|deflate| {
            let ours = offers.iter().filter(|offer| is_deflate(offer));
            let mut met = ours.filter_map(|offer| meet(deflate, &Listed::parse(offer)?));
            met.next()
        }),
    }
}

fn is_deflate(extension: &Extension<'_>) -> bool {
    extension.name == NAME
}

fn meet(deflate: &Deflate, offer: &Listed) -> Option<Params> {
    let server = offer.server_max_window_bits;
    // No compressor has a window of 8 bits.
    if server.is_some_and(|bits| bits < MIN_BITS) {
        return None;
    }
    let most = deflate.server_max_window_bits;
    let server = match server {
        Some(bits) => Some(bits.min(most)),
        None => Some(most).filter(|&bits| bits < MAX_BITS),
    };
    // RFC 7692 §7.1.2.2: the server may only limit a client that says that it can be limited.
    let most = deflate.client_max_window_bits;
    let client = match offer.client_max_window_bits {
        Some(Some(bits)) => Some(bits.min(most)),
        Some(None) => Some(most).filter(|&bits| bits < MAX_BITS),
        None => None,
    };
    Some(Params {
        server_no_context_takeover: offer.server_no_context_takeover
            || deflate.server_no_context_takeover,
        client_no_context_takeover: offer.client_no_context_takeover
            || deflate.client_no_context_takeover,
        server_max_window_bits: server,
        client_max_window_bits: client,
    })
}

/// What a client that made the [`offer`] has agreed on with this answer.
pub(super) fn verify(
    deflate: Option<&Deflate>,
    answer: &[Extension<'_>],
) -> Result<Extensions, ResponseError> {
    let [first, others @ ..] = answer else {
        return Ok(Extensions::default());
    };
    // RFC 6455 §4.1: if the response indicates the use of an extension that was not present in the
    // client's handshake, the client MUST fail the connection.
    let deflate = deflate.filter(|_| AVAILABLE && is_deflate(first));
    let Some(deflate) = deflate else {
        return Err(ResponseError::ExtensionNotRequested);
    };
    match others {
        [] => {}
        [second, ..] if is_deflate(second) => return Err(ResponseError::ExtensionRepeated),
        _ => return Err(ResponseError::ExtensionNotRequested),
    }
    let listed = Listed::parse(first).ok_or(ResponseError::ExtensionParameters)?;
    // RFC 7692 §7.1.1.1: a server accepts this parameter by including it in the answer. Any other
    // answer agrees with one of our offers, but for a client's window without a size.
    let context = listed.server_no_context_takeover || !deflate.server_no_context_takeover;
    if !context || listed.client_max_window_bits == Some(None) {
        return Err(ResponseError::ExtensionParameters);
    }
    Ok(Extensions {
        deflate: Some(Params {
            server_no_context_takeover: listed.server_no_context_takeover,
            client_no_context_takeover: listed.client_no_context_takeover,
            server_max_window_bits: listed.server_max_window_bits,
            client_max_window_bits: listed.client_max_window_bits.flatten(),
        }),
    })
}
