//! Clients that leave in the middle of something, and clients that break a rule.

use std::sync::Arc;

use fastrand::Rng;
use hybi::Kind;
use hybi_soak::raw::{self, Raw, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::payload;
use crate::world::{Outcome, World, said};

/// Leaves in the middle of a head, a frame, a message or an answer, with FIN or with RST.
pub async fn abort(world: &Arc<World>, rng: &mut Rng) -> Outcome {
    world.tally.aborts.one();
    let middle = rng.u8(..9);
    if middle < 2 {
        let tcp = Way::default().tcp(world.addr).await;
        let mut tcp = tcp.map_err(said("connect by hand"))?;
        world.tally.connections.one();
        let request = raw::request(world.addr, "/");
        let some = if middle == 0 {
            0
        } else {
            rng.usize(..request.len())
        };
        let sent = tcp.write_all(&request.as_bytes()[..some]).await;
        sent.map_err(said("half a head"))?;
        return leave(tcp, rng).await;
    }
    if middle == 2 {
        return abandon(world, rng).await;
    }
    let mut raw = open(world).await?;
    let message = raw::frame(
        true,
        raw::BINARY,
        [9, 8, 7, 6],
        &vec![b'-'; rng.usize(1..200_000)],
    );
    let bytes = match middle {
        3 => Vec::new(),
        4 => message[..rng.usize(1..6)].to_vec(),
        5 => message[..rng.usize(6..message.len())].to_vec(),
        6 => raw::frame(false, raw::TEXT, [1; 4], b"to be continued"),
        7 => raw::close(1000),
        // Echoes that nobody reads.
        _ => message.repeat(rng.usize(1..8)),
    };
    // The server may have to wait for us to read.
    let patience = std::time::Duration::from_millis(rng.u64(1..200));
    let _ = tokio::time::timeout(patience, raw.send(&bytes)).await;
    leave(raw.tcp, rng).await
}

/// A client of the library's that is dropped in the middle of a message.
async fn abandon(world: &Arc<World>, rng: &mut Rng) -> Outcome {
    let mut ws = world.connect("/", rng).await?;
    let mut writer = ws.message(Kind::Binary).await.map_err(said("message"))?;
    for _ in 0..rng.u8(1..4) {
        let part = vec![b'x'; rng.usize(1..100_000)];
        writer.write(part).await.map_err(said("write"))?;
    }
    drop(writer);
    drop(ws);
    Ok(())
}

/// FIN or RST. After FIN the end of the server's side is waited for.
async fn leave(mut tcp: TcpStream, rng: &mut Rng) -> Outcome {
    if rng.bool() {
        return tcp.set_zero_linger().map_err(said("linger"));
    }
    // The server may have reset it already: that is an end, too.
    if tcp.shutdown().await.is_ok() {
        let mut rest = vec![0; 64 << 10];
        while let Ok(1..) = tcp.read(&mut rest).await {}
    }
    Ok(())
}

/// Breaks a rule, behind some messages that it does not break, and gets the answer to it.
pub async fn violate(world: &Arc<World>, rng: &mut Rng) -> Outcome {
    let violations: [(&[u8], u16); 9] = [
        // Unmasked; a reserved bit, opcode; a ping in fragments; one that is too long.
        (b"\x81\x01x", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x89\xfe\x01\x00\0\0\0\0", 1002),
        // A continuation of nothing; a length that could be shorter; half a code.
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x88\x81\0\0\0\0x", 1002),
        // No UTF-8; 4 GiB.
        (b"\x81\x82\0\0\0\0\xc0\xaf", 1007),
        (b"\x82\xff\0\0\0\x01\0\0\0\0\0\0\0\0", 1009),
    ];
    let mut raw = open(world).await?;
    let (stream, messages) = (rng.u64(..), rng.u64(..4));
    for n in 0..messages {
        let message = payload::message(stream, n, payload::SMALL, true);
        let opcode = match message.kind() {
            Kind::Text => raw::TEXT,
            _ => raw::BINARY,
        };
        let frame = raw::frame(true, opcode, [1, 2, 3, 4], message.as_bytes());
        raw.send(&frame).await.map_err(said("send by hand"))?;
    }
    let &(bytes, code) = rng.choice(&violations).ok_or("there are some")?;
    raw.send(bytes).await.map_err(said("violate"))?;
    for n in 0..messages {
        let frame = raw.next().await.map_err(said("an echo"))?;
        let frame = frame.ok_or("the end came before what was sent before the violation")?;
        let message = payload::message(stream, n, payload::SMALL, true);
        if frame.payload != message.as_bytes() {
            return Err(payload::instead((stream, n), &frame.payload));
        }
        world.tally.echoes.one();
    }
    let frame = raw.next().await.map_err(said("the answer"))?;
    let answer = frame.as_ref().and_then(raw::Frame::close_code);
    if answer != Some(code) {
        return Err(format!("{bytes:x?} was answered by {frame:?}, not {code}"));
    }
    match raw.next().await {
        Ok(None) => world.tally.refused.one(),
        other => return Err(format!("behind the close came {other:?}")),
    }
    Ok(())
}

/// A request that is none for a WebSocket.
pub async fn refuse(world: &Arc<World>, rng: &mut Rng) -> Outcome {
    let requests: [(&str, u16); 5] = [
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            200,
        ),
        (
            "GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            405,
        ),
        ("GET / HTTP/1.1\r\nHost: h\nConnection: close\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ];
    let tcp = Way::default().tcp(world.addr).await;
    let mut tcp = tcp.map_err(said("connect by hand"))?;
    world.tally.connections.one();
    let &(request, status) = rng.choice(&requests).ok_or("there are some")?;
    let sent = tcp.write_all(request.as_bytes()).await;
    sent.map_err(said("a request"))?;
    let (answer, mut rest) = raw::answer(&mut tcp).await.map_err(said("an answer"))?;
    if answer != status {
        return Err(format!("{request:?} was answered {answer}, not {status}"));
    }
    while rest.fill(&mut tcp).await.map_err(said("the end"))? {}
    world.tally.refused.one();
    Ok(())
}

async fn open(world: &World) -> Outcome<Raw> {
    let raw = Way::default().open(world.addr, "/").await;
    let raw = raw.map_err(said("connect by hand"))?;
    world.tally.connections.one();
    Ok(raw)
}
