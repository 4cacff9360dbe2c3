//! Broadcasts: each member of a room gets what each of them says, once and in the order in which
//! that one has said it.
//!
//! It goes in rounds, in which no more is said than a backlog holds: no member that reads is ever
//! behind. One that does not read is closed with 1013, and has got the beginning.

use std::collections::HashMap;
use std::sync::Arc;

use fastrand::Rng;
use hybi::{CloseCode, Message, WebSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::payload::{self, SMALL};
use crate::slow::ROOM;
use crate::world::{GUARD, Outcome, World, guarded, said};
use hybi_soak::raw::{self, Raw, Way};

/// What is said in a round, in bytes and by all: less than the backlog of 1 MiB.
const ROUND: usize = 512 << 10;

/// A member that reads.
struct Member {
    ws: WebSocket,
    stream: u64,
    heard: Heard,
}

/// Who was heard, and what comes next from each.
#[derive(Clone, Default)]
struct Heard(HashMap<u64, u64>);

impl Heard {
    /// Judges a message, and gives the stream that it is of.
    fn judge(&mut self, came: &Message) -> Outcome<(u64, u64)> {
        let (stream, n) =
            payload::mark(came.as_bytes()).ok_or("a broadcast that nobody has sent")?;
        // Who is heard first has said more before, or it is its first word.
        let next = self.0.entry(stream).or_insert(n);
        if *next != n || *came != said_in_room(stream, n) {
            return Err(payload::instead((stream, *next), came.as_bytes()));
        }
        *next += 1;
        Ok((stream, n))
    }
}

fn said_in_room(stream: u64, n: u64) -> Message {
    // Some rooms have room for more at a time than others.
    let most = if stream.is_multiple_of(4) {
        8 * SMALL
    } else {
        SMALL
    };
    payload::message(stream, n, most, true)
}

/// A room of its own, from the first member to the last.
pub async fn gather(world: &Arc<World>, rng: &mut Rng) -> Outcome {
    let path = format!("/room/{:x}", rng.u64(..));
    let mut members = Vec::new();
    for _ in 0..rng.u8(2..=8) {
        guarded(
            "a new member",
            Member::join(world, &path, rng, &mut members),
        )
        .await?;
    }
    let stuck = match rng.u8(..3) {
        0 => Some(
            guarded(
                "a stuck member",
                Stuck::join(world, &path, rng, &mut members),
            )
            .await?,
        ),
        _ => None,
    };
    let rounds = match stuck {
        Some(_) => 16,
        None => rng.u8(1..=8),
    };
    for _ in 0..rounds {
        let plan = plan(&members, rng);
        let mut running = JoinSet::new();
        for member in members.drain(..) {
            let (world, plan) = (world.clone(), plan.clone());
            running.spawn(async move { member.round(&world, &plan).await });
        }
        while let Some(member) = running.join_next().await {
            members.push(member.map_err(said("a member"))??);
        }
        // As they were, for the seed knows them by their places.
        members.sort_by_key(|member| member.stream);
        if rng.u8(..4) == 0 && members.len() > 1 {
            let left = members.swap_remove(rng.usize(..members.len()));
            world.tally.aborts.one();
            drop(left);
        }
        if rng.u8(..4) == 0 {
            guarded(
                "a late member",
                Member::join(world, &path, rng, &mut members),
            )
            .await?;
            world.tally.reconnects.one();
        }
    }
    if let Some(stuck) = stuck {
        guarded("the end of a stuck member", stuck.end(world, &members)).await?;
    }
    for member in members {
        guarded("the end of a member", member.end(world)).await?;
    }
    Ok(())
}

/// How often each of some members speaks in a round, and from which place in its stream on.
type Plan = Arc<Vec<(u64, u64, u64)>>;

fn plan(members: &[Member], rng: &mut Rng) -> Plan {
    let mut left = ROUND;
    let mut plan = Vec::new();
    for member in members {
        let from = member.next();
        let mut times = 0;
        for n in from..from + rng.u64(..20) {
            let len = said_in_room(member.stream, n).len();
            if len > left {
                break;
            }
            left -= len;
            times += 1;
        }
        if times > 0 {
            plan.push((member.stream, from, times));
        }
    }
    Arc::new(plan)
}

impl Member {
    /// Connects, and is one of the members once its own first word has come back. The others hear that.
    async fn join(world: &World, path: &str, rng: &mut Rng, members: &mut Vec<Member>) -> Outcome {
        let mut ws = world.connect(path, rng).await?;
        let stream = rng.u64(..);
        let mut heard = Heard::default();
        let hello = said_in_room(stream, 0);
        ws.send(hello).await.map_err(said("send"))?;
        let mut member = loop {
            let came = ws.recv().await.map_err(said("recv"))?;
            let came = came.ok_or("a close came to who has just joined")?;
            if heard.judge(&came)?.0 == stream {
                break Self { ws, stream, heard };
            }
        };
        // What was said before is none of it.
        member.heard.0.retain(|&other, _| other == stream);
        hear_one(members, stream).await?;
        members.push(member);
        Ok(())
    }

    /// The place of what it will say next.
    fn next(&self) -> u64 {
        self.heard.0.get(&self.stream).copied().unwrap_or_default()
    }

    async fn round(mut self, world: &World, plan: &Plan) -> Outcome<Self> {
        let all: u64 = plan.iter().map(|(.., times)| times).sum();
        let mut count = 0;
        match timeout(GUARD, self.speak_and_hear(world, plan, &mut count)).await {
            Ok(done) => done.map(|()| self),
            Err(_) => Err(format!("{count} of {all} messages of a round have come")),
        }
    }

    async fn speak_and_hear(&mut self, world: &World, plan: &Plan, count: &mut u64) -> Outcome {
        let sender = self.ws.sender();
        let stream = self.stream;
        for &(speaker, from, _) in plan.iter() {
            self.heard.0.entry(speaker).or_insert(from);
        }
        let own = plan.iter().find(|(speaker, ..)| *speaker == stream);
        let &(_, from, times) = own.unwrap_or(&(stream, 0, 0));
        let speak = async {
            for n in from..from + times {
                let message = said_in_room(stream, n);
                sender.send(message).await.map_err(said("send"))?;
            }
            Ok(())
        };
        let hear = async {
            let all: u64 = plan.iter().map(|(.., times)| times).sum();
            for _ in 0..all {
                let came = self.ws.recv().await.map_err(said("recv"))?;
                let came = came.ok_or("a close came to who reads")?;
                let (speaker, n) = self.heard.judge(&came)?;
                let planned = plan.iter().find(|planned| planned.0 == speaker);
                if planned.is_none_or(|&(_, from, times)| !(from..from + times).contains(&n)) {
                    return Err(format!(
                        "message {n} of {speaker:x} comes again, or too early"
                    ));
                }
                *count += 1;
                world.tally.deliveries.one();
                world.tally.bytes.more(came.len());
            }
            Ok::<_, String>(())
        };
        tokio::try_join!(speak, hear)?;
        Ok(())
    }

    /// Leaves, and finds that nothing more has come than was said.
    async fn end(mut self, world: &World) -> Outcome {
        let closing = self.ws.start_close(CloseCode::NORMAL, "");
        closing.map_err(said("close"))?;
        match self.ws.recv().await {
            Ok(None) => world.tally.closed.one(),
            other => return Err(format!("instead of the end of a room came {other:?}")),
        }
        Ok(())
    }
}

/// Each of them hears the first word of a new member, and nothing else.
async fn hear_one(members: &mut [Member], stream: u64) -> Outcome {
    for member in members {
        let came = member.ws.recv().await.map_err(said("recv"))?;
        let came = came.ok_or("a close came to who waits for a new member")?;
        if member.heard.judge(&came)? != (stream, 0) {
            return Err("another word came than the first of a new member".into());
        }
    }
    Ok(())
}

/// A member that does not read.
struct Stuck {
    raw: Raw,
    /// Who was there before it, and what comes next from each.
    heard: Heard,
}

impl Stuck {
    async fn join(
        world: &World,
        path: &str,
        rng: &mut Rng,
        others: &mut [Member],
    ) -> Outcome<Self> {
        let way = Way {
            room: Some(ROOM),
            ..Way::default()
        };
        let raw = way.open(world.addr, path).await;
        let mut raw = raw.map_err(said("connect by hand"))?;
        world.tally.connections.one();
        let stream = rng.u64(..);
        let hello = said_in_room(stream, 0);
        let opcode = if hello.as_text().is_some() {
            raw::TEXT
        } else {
            raw::BINARY
        };
        let frame = raw::frame(true, opcode, [7; 4], hello.as_bytes());
        raw.send(&frame).await.map_err(said("send by hand"))?;
        hear_one(others, stream).await?;
        let mut heard = Heard(HashMap::from([(stream, 0)]));
        let next = others.iter().map(|other| (other.stream, other.next()));
        heard.0.extend(next);
        Ok(Self { raw, heard })
    }

    /// Reads now: what has come is the beginning of what was said, and then a close with 1013, if
    /// that has not waited in vain. If all of it found room, it is all of it.
    async fn end(mut self, world: &World, members: &[Member]) -> Outcome {
        // It fails if the server has given up already.
        let _ = self.raw.send(&raw::close(1000)).await;
        while let Ok(Some(frame)) = self.raw.next().await {
            match frame.close_code() {
                None => {}
                Some(1013) => {
                    world.tally.behind.one();
                    return Ok(());
                }
                Some(1000) => {
                    let missed = |member: &&Member| {
                        self.heard
                            .0
                            .get(&member.stream)
                            .is_some_and(|&n| n != member.next())
                    };
                    return match members.iter().find(missed) {
                        None => Ok(()),
                        Some(member) => Err(format!("the end of {:x} was lost", member.stream)),
                    };
                }
                Some(code) => return Err(format!("who does not read is closed with {code}")),
            }
            let text = frame.opcode == raw::TEXT;
            let came = match String::from_utf8(frame.payload) {
                Ok(message) if text => Message::from(message),
                Ok(bytes) => Message::Binary(bytes.into_bytes().into()),
                Err(_) if text => return Err("a broken text".into()),
                Err(bytes) => Message::Binary(bytes.into_bytes().into()),
            };
            self.heard.judge(&came)?;
        }
        world.tally.stuck.one();
        Ok(())
    }
}
