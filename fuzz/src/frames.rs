//! Streams of frames, right and wrong: what is easier to say in fields than to find in bytes.

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
pub struct Frame<'a> {
    first: u8,
    unmasked: bool,
    key: [u8; 4],
    payload: &'a [u8],
    /// How often the payload is repeated; the most is enough to be read past the read buffer.
    times: u8,
}

/// What a peer of this end sends: these frames, until there are so many bytes.
pub fn stream(server: bool, frames: &[Frame<'_>], enough: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in frames {
        frame.encode(server, &mut stream);
        if stream.len() > enough {
            break;
        }
    }
    stream
}

impl Frame<'_> {
    /// Appends it as a peer of this end sends it.
    pub fn encode(&self, server: bool, stream: &mut Vec<u8>) {
        let times = match self.times {
            u8::MAX => 1 + (256 << 10) / self.payload.len().max(1),
            times => 1 + usize::from(times / 16),
        };
        let payload = self.payload.repeat(times);
        let masked = server && !self.unmasked;
        head(self.first, masked, payload.len(), stream);
        if masked {
            stream.extend(self.key);
            let keys = self.key.iter().cycle();
            stream.extend(payload.iter().zip(keys).map(|(byte, key)| byte ^ key));
        } else {
            stream.extend(payload);
        }
    }
}

/// Appends a frame of a server's.
pub fn unmasked(first: u8, payload: &[u8], stream: &mut Vec<u8>) {
    head(first, false, payload.len(), stream);
    stream.extend(payload);
}

fn head(first: u8, masked: bool, len: usize, stream: &mut Vec<u8>) {
    let bit = u8::from(masked) << 7;
    stream.push(first);
    match len {
        0..126 => stream.push(bit | len as u8),
        126..0x1_0000 => {
            stream.push(bit | 126);
            stream.extend((len as u16).to_be_bytes());
        }
        _ => {
            stream.push(bit | 127);
            stream.extend((len as u64).to_be_bytes());
        }
    }
}
