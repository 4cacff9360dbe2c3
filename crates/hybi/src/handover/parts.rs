//! A message in parts among other senders, and a reader that leaves early.

use hybi_proto::message::{Kind, Message};
use hybi_proto::queue::Overflow;

use super::{Mode, check, draw, join, open, server, task};
use crate::test::{Frame, Opcode};

#[test]
fn a_writer_among_senders_and_a_reader_that_leaves_early_lose_nothing() {
    check(|| {
        const PARTS: usize = 3;
        let (ws, mut peer) = server(1 + draw(10));
        let early = draw(2) == 0;
        let (sender, others) = open(ws, Mode::any(), move |mut receiver| async move {
            let mut reader = receiver.recv_reader().await?.unwrap();
            let mut len = 0;
            while let Some(part) = reader.next().await? {
                len += part.len();
                if early {
                    break;
                }
            }
            drop(reader);
            assert!(early || len == 2);
            let whole = receiver.recv().await?;
            assert_eq!(whole, Some(Message::Binary(vec![9].into())));
            assert_eq!(receiver.recv().await?, None);
            Ok(())
        });
        let writer = {
            let sender = sender.clone();
            task(async move {
                let mut message = sender.message(Kind::Binary).await?;
                for n in 0..PARTS {
                    message.write(vec![n as u8; 4]).await?;
                }
                message.finish()?;
                sender.flush().await
            })
        };
        let waits = {
            let sender = sender.clone();
            task(async move {
                sender.send(vec![100]).await?;
                sender.flush().await
            })
        };
        let drops = {
            let sender = sender.clone().overflow(Overflow::DropNewest);
            task(async move {
                sender.send(vec![101]).await?;
                sender.flush().await
            })
        };
        let saying = task(async move {
            for frame in [Frame::binary([1]).unfinished(), Frame::continuation([2])] {
                peer.send(frame).await.unwrap();
            }
            peer.send(Frame::binary([9])).await.unwrap();
            peer.rest(false).await
        });
        for told in join([writer, waits, drops]) {
            told.unwrap();
        }
        let dropped = sender.stats().dropped.newest;
        sender.start_close(1000.into(), "").unwrap();
        drop(sender);
        let (mut parts, mut wholes) = (Vec::new(), Vec::new());
        for frame in join([saying]).remove(0) {
            if frame.opcode != Opcode::Close {
                take(frame, &mut parts, &mut wholes);
            }
        }
        let expected: Vec<_> = (0..PARTS).flat_map(|n| [n as u8; 4]).collect();
        assert_eq!(parts, expected);
        assert_eq!(wholes.len() as u64 + dropped, 2, "{wholes:?}");
        for told in join(others) {
            told.unwrap();
        }
    });
}

/// The parts of one message, and whole ones of a single byte, none of them in between.
fn take(frame: Frame, parts: &mut Vec<u8>, wholes: &mut Vec<u8>) {
    match (frame.opcode, frame.fin) {
        (Opcode::Binary, true) => wholes.push(frame.payload[0]),
        (Opcode::Binary | Opcode::Continuation, _) => parts.extend_from_slice(&frame.payload),
        _ => panic!("{frame:?}"),
    }
}
