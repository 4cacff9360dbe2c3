//! Who reads slowly gets everything; who does not read at all is cut off.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use hybi::Message;
use hybi_soak::raw::{self, Inbox, Raw, Way};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::time::{sleep, timeout};

use crate::payload::{self, LARGE};
use crate::world::{Outcome, World, said};

/// After so long without progress a writer takes the server to be full.
const FULL: Duration = Duration::from_millis(500);

/// What has come for a slow reader and is not read: little, but more than a segment of the loopback
/// device has, or the kernel sends a few bytes each time that its timer runs out.
pub const ROOM: u32 = 128 << 10;

/// Says something on the one hand and reads it on the other, a little at a time.
pub async fn read_slowly(world: &Arc<World>, rng: &mut Rng) -> Outcome {
    let raw = open(world).await?;
    let (stream, messages) = (rng.u64(..), rng.u64(1..=30));
    let mut pause = rng.fork();
    let (mut tcp, mut inbox) = raw.into_parts();
    let (reader, mut writer) = tcp.split();
    // 2 KiB at a time.
    let mut reader = BufReader::with_capacity(2 << 10, reader);
    let write = async {
        for n in 0..messages {
            let frame = framed(&payload::message(stream, n, LARGE, true));
            writer.write_all(&frame).await.map_err(said("write"))?;
        }
        Ok(())
    };
    let read = async {
        for n in 0..messages {
            let came = loop {
                if let Some(frame) = inbox.take().map_err(said("frame"))? {
                    break frame;
                }
                if pause.u8(..32) == 0 {
                    sleep(Duration::from_millis(pause.u64(1..=60))).await;
                }
                if !inbox.fill(&mut reader).await.map_err(said("read"))? {
                    return Err("the end came to who reads slowly".to_owned());
                }
            };
            judge(&mut inbox, &mut reader, came, (stream, n)).await?;
            world.tally.echoes.one();
        }
        Ok(())
    };
    tokio::try_join!(write, read)?;
    writer
        .write_all(&raw::close(1000))
        .await
        .map_err(said("close by hand"))?;
    let mut end = None;
    while inbox.fill(&mut reader).await.map_err(said("the end"))? {
        while let Some(frame) = inbox.take().map_err(said("frame"))? {
            end = Some(frame.close_code());
        }
    }
    if end != Some(Some(1000)) {
        return Err(format!("a close with 1000 was answered by {end:?}"));
    }
    world.tally.slow.one();
    Ok(())
}

/// Says as much as the server takes, and reads nothing until that has had enough.
pub async fn never_read(world: &Arc<World>, rng: &mut Rng, patience: Duration) -> Outcome {
    let mut raw = open(world).await?;
    let stream = rng.u64(..);
    let mut said = 0;
    loop {
        let frame = framed(&payload::message(stream, said, LARGE, true));
        match timeout(FULL, raw.send(&frame)).await {
            Ok(Ok(())) => said += 1,
            _ => break,
        }
    }
    sleep(patience).await;
    // What did come before is the beginning; then comes an end, clean or not.
    let (mut tcp, mut inbox) = raw.into_parts();
    let mut n = 0;
    loop {
        match inbox.fill(&mut tcp).await {
            Ok(true) => {}
            Ok(false) | Err(_) => break,
        }
        while let Some(frame) = inbox.take().map_err(|error| error.to_string())? {
            if frame.close_code().is_some() {
                break;
            }
            let part = (frame.opcode, frame.fin);
            let whole = payload::message(stream, n, LARGE, true);
            // A message of more than 1 MiB may be cut where the end came.
            if part.1 && part.0 != raw::CONTINUATION {
                if whole.as_bytes() != frame.payload {
                    return Err(payload::instead((stream, n), &frame.payload));
                }
                n += 1;
            } else if part.1 {
                n += 1;
            }
        }
    }
    if n > said {
        return Err(format!("{n} echoes of {said} messages"));
    }
    world.tally.stuck.one();
    Ok(())
}

async fn open(world: &World) -> Outcome<Raw> {
    let way = Way {
        room: Some(ROOM),
        ..Way::default()
    };
    let raw = way.open(world.addr, "/").await;
    let raw = raw.map_err(said("connect by hand"))?;
    world.tally.connections.one();
    Ok(raw)
}

fn framed(message: &Message) -> Vec<u8> {
    let opcode = match message {
        Message::Text(_) => raw::TEXT,
        _ => raw::BINARY,
    };
    raw::frame(true, opcode, [0x5a, 0xa5, 1, 0], message.as_bytes())
}

/// Joins the fragments of a message, of which this is the first, and compares.
async fn judge(
    inbox: &mut Inbox,
    from: &mut (impl tokio::io::AsyncReadExt + Unpin),
    first: raw::Frame,
    expected: (u64, u64),
) -> Outcome {
    let (opcode, mut fin, mut bytes) = (first.opcode, first.fin, first.payload);
    while !fin {
        match inbox.take().map_err(said("frame"))? {
            Some(frame) => {
                fin = frame.fin;
                bytes.extend(frame.payload);
            }
            None if inbox.fill(from).await.map_err(said("read"))? => {}
            None => return Err("the end came in the middle of an echo".into()),
        }
    }
    let message = payload::message(expected.0, expected.1, LARGE, true);
    let right = match &message {
        Message::Text(_) => opcode == raw::TEXT,
        _ => opcode == raw::BINARY,
    };
    match right && message.as_bytes() == bytes {
        true => Ok(()),
        false => Err(payload::instead(expected, &bytes)),
    }
}
