//! Clients of the library's that say something and want it back: every message, once, in order.

use std::sync::Arc;

use fastrand::Rng;
use hybi::{CloseCode, CloseInfo, Error, Kind, Message, WebSocket};

use crate::payload::{self, LARGE, SMALL};
use crate::world::{Outcome, World, said};

/// What is said.
#[derive(Clone, Copy, Debug)]
struct Talk {
    stream: u64,
    messages: u64,
}

impl Talk {
    fn drawn(rng: &mut Rng, most: u64) -> Self {
        Self {
            stream: rng.u64(..),
            messages: rng.u64(1..=most),
        }
    }

    fn message(self, n: u64) -> Message {
        payload::message(self.stream, n, LARGE, false)
    }

    fn judge(self, n: u64, came: Option<Message>, world: &World) -> Outcome {
        let expected = self.message(n);
        match came {
            Some(came) if came == expected => {
                world.tally.echoes.one();
                world.tally.bytes.more(came.len());
                Ok(())
            }
            Some(came) => Err(payload::instead((self.stream, n), came.as_bytes())),
            None => Err(format!("a close came instead of echo {n}")),
        }
    }
}

/// A conversation: in turns or in both directions at once, driven or not.
pub async fn converse(world: &Arc<World>, rng: &mut Rng) -> Outcome {
    let ws = world.connect("/", rng).await?;
    let talk = Talk::drawn(rng, 60);
    match rng.u8(..4) {
        0 => end(world, turns(world, ws, talk, rng).await?, rng).await,
        1 => end(world, stream(world, ws, talk).await?, rng).await,
        way => {
            let (world, mut rng) = (world.clone(), rng.fork());
            let driven = hybi::drive(ws, |ws| async move {
                let ws = match way {
                    2 => turns(&world, ws, talk, &mut rng).await,
                    _ => stream(&world, ws, talk).await,
                };
                end(&world, ws.map_err(Error::other)?, &mut rng)
                    .await
                    .map_err(Error::other)
            });
            driven.await.map_err(said("driven"))
        }
    }
}

/// Connections that come and go: each says one thing, if anything.
pub async fn reconnect(world: &Arc<World>, rng: &mut Rng) -> Outcome {
    for _ in 0..rng.u8(2..=12) {
        let ws = world.connect("/", rng).await?;
        let talk = Talk::drawn(rng, 2);
        let ws = turns(world, ws, talk, rng).await?;
        end(world, ws, rng).await?;
        world.tally.reconnects.one();
    }
    Ok(())
}

/// One message on its way at a time, whole or in fragments, and pings.
async fn turns(world: &World, mut ws: WebSocket, talk: Talk, rng: &mut Rng) -> Outcome<WebSocket> {
    for n in 0..talk.messages {
        let message = talk.message(n);
        if rng.u8(..4) == 0 && !message.is_empty() {
            in_parts(&mut ws, &message, rng)
                .await
                .map_err(said("parts"))?;
        } else {
            ws.send(message).await.map_err(said("send"))?;
        }
        let came = ws.recv().await.map_err(said("recv"))?;
        talk.judge(n, came, world)?;
        if rng.u8(..8) == 0 {
            let pong = ws.ping(n.to_be_bytes()).map_err(said("ping"))?;
            tokio::select! {
                pong = pong => drop(pong.map_err(said("pong"))?),
                came = ws.recv() => return Err(format!("unasked for: {came:?}")),
            }
            world.tally.pings.one();
        }
    }
    Ok(ws)
}

async fn in_parts(ws: &mut WebSocket, message: &Message, rng: &mut Rng) -> hybi::Result<()> {
    let kind = message.kind();
    let mut writer = ws.message(kind).await?;
    let mut rest = message.as_bytes();
    while !rest.is_empty() {
        let mut at = rng.usize(1..=rest.len());
        // A part of a text is a text.
        while let Some(text) = message.as_text()
            && !text.is_char_boundary(message.len() - rest.len() + at)
        {
            at += 1;
        }
        let (part, more) = rest.split_at(at);
        rest = more;
        match kind {
            Kind::Text => {
                writer
                    .write(String::from_utf8_lossy(part).into_owned())
                    .await?;
            }
            _ => writer.write(part.to_vec()).await?,
        }
    }
    writer.finish()
}

/// Both directions at once, so that as much is on its way as the backlogs hold.
async fn stream(world: &World, mut ws: WebSocket, talk: Talk) -> Outcome<WebSocket> {
    let sender = ws.sender();
    let send = async {
        for n in 0..talk.messages {
            sender.send(talk.message(n)).await.map_err(said("send"))?;
        }
        Ok(())
    };
    let receive = async {
        for n in 0..talk.messages {
            let came = ws.recv().await.map_err(said("recv"))?;
            talk.judge(n, came, world)?;
        }
        Ok::<_, String>(())
    };
    tokio::try_join!(send, receive)?;
    Ok(ws)
}

/// The end of a connection on which nothing is on its way.
async fn end(world: &World, mut ws: WebSocket, rng: &mut Rng) -> Outcome {
    match rng.u8(..8) {
        0 => {
            world.tally.aborts.one();
            drop(ws);
        }
        1 => {
            world.tally.aborts.one();
            ws.abort();
        }
        2 => {
            // With an echo on its way, that nobody waits for.
            world.tally.aborts.one();
            let last = payload::message(rng.u64(..), 0, SMALL, true);
            ws.feed(last).map_err(said("feed"))?;
            ws.abort();
        }
        _ => {
            let code = CloseCode::from(rng.u16(3000..=4999));
            ws.start_close(code, "enough").map_err(said("close"))?;
            if let Some(more) = ws.recv().await.map_err(said("the end"))? {
                return Err(format!("{} bytes more came than were sent", more.len()));
            }
            let right = |info: &CloseInfo| {
                info.clean && info.code == code && info.reason.as_str() == "enough"
            };
            let info = ws.close_info();
            if !info.as_ref().is_some_and(right) {
                return Err(format!("not the close that was asked for: {info:?}"));
            }
            world.tally.closed.one();
        }
    }
    Ok(())
}
