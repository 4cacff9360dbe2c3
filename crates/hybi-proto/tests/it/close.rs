//! The closing handshake (RFC 6455 §5.5.1, §7).

use hybi_proto::close::Initiator;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::State;
use hybi_proto::error::{ProtocolError, SendError};
use hybi_proto::limits::Limits;
use hybi_proto::message::MessageRef;

use crate::support::hex::Seen::{Close, CloseEmpty, Error, Ping, Text};
use crate::support::hex::{NOTHING, Ws, both, close, frame, hex};
use crate::support::pair::Pair;

fn has_ended(ws: &Ws, code: u16, reason: &str, initiator: Initiator, clean: bool) {
    let info = ws.conn.close_info().expect("the connection has ended");
    assert_eq!(info.code.as_u16(), code);
    assert_eq!(info.reason, reason);
    assert_eq!(info.initiator, initiator);
    assert_eq!(info.clean, clean);
    assert_eq!(ws.conn.state(), State::Closed);
}

/// The codes that may be in a close frame: RFC 6455 §7.4 and the registry of IANA, one by one.
fn may_be_sent(code: u16) -> bool {
    let registered = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
    ];
    registered.contains(&code) || code / 1000 == 3 || code / 1000 == 4
}

#[test]
fn every_close_code_is_echoed_or_refused() {
    for code in 0..=u16::MAX {
        for mut ws in both() {
            let asked = frame(0x88, &code.to_be_bytes());
            let seen = ws.frames([asked.clone()]);
            if may_be_sent(code) {
                assert_eq!(seen, [Close(code, "")]);
                assert_eq!(ws.answer(), hex(&asked));
                has_ended(&ws, code, "", Initiator::Peer, true);
            } else {
                assert_eq!(seen, [Error(ProtocolError::CloseCode(code))]);
                assert_eq!(ws.answer(), "88 02 03 ea");
                has_ended(&ws, 1002, "", Initiator::Local, false);
            }
        }
    }
}

#[test]
fn a_close_with_a_reason_is_echoed_with_it() {
    for mut ws in both() {
        let asked = "88 09 0f a0 61 e2 82 ac 7a 7a 7a";
        assert_eq!(ws.frames([asked]), [Close(4000, "a€zzz")]);
        assert_eq!(ws.answer(), asked);
        has_ended(&ws, 4000, "a€zzz", Initiator::Peer, true);
        ws.is_silent();
    }
}

#[test]
fn a_reason_may_have_123_bytes() {
    for mut ws in both() {
        let mut payload = vec![0x03, 0xe8];
        payload.resize(125, b'r');
        let reason = "r".repeat(123);
        assert_eq!(ws.frames([frame(0x88, &payload)]), [Close(1000, &*reason)]);
        assert_eq!(ws.answer(), hex(&frame(0x88, &payload)));
    }
}

#[test]
fn an_empty_close_is_echoed_empty() {
    for mut ws in both() {
        assert_eq!(ws.frames(["88 00"]), [CloseEmpty]);
        assert_eq!(ws.answer(), "88 00");
        has_ended(&ws, 1005, "", Initiator::Peer, true);
        ws.is_silent();
    }
}

#[test]
fn our_close_waits_for_the_answer_and_messages_still_come() {
    for mut ws in both() {
        assert_eq!(ws.conn.state(), State::Open);
        ws.conn.close(Some(&close(1001, "bye")));
        assert_eq!(ws.answer(), "88 05 03 e9 62 79 65");
        assert_eq!(ws.conn.state(), State::Closing);
        assert_eq!(ws.conn.close_info(), None);
        assert_eq!(ws.frames(["81 01 61"]), [Text("a")]);
        assert_eq!(ws.frames(["88 02 03 e9"]), [Close(1001, "")]);
        assert_eq!(ws.answer(), "");
        has_ended(&ws, 1001, "", Initiator::Local, true);
        ws.is_silent();
    }
}

#[test]
fn an_answer_may_have_a_code_of_its_own() {
    for mut ws in both() {
        ws.conn.close(Some(&close(1000, "")));
        ws.answer();
        assert_eq!(ws.frames(["88 02 0f a1"]), [Close(4001, "")]);
        has_ended(&ws, 4001, "", Initiator::Local, true);
    }
}

#[test]
fn what_comes_behind_a_close_is_ignored() {
    for mut ws in both() {
        let frames = [
            "81 01 61",
            "88 02 03 e8",
            "81 01 62",
            "89 00",
            "88 02 0f a0",
            "ff",
        ];
        let stream: Vec<u8> = frames.iter().flat_map(|frame| ws.written(frame)).collect();
        assert_eq!(ws.events([stream]), [Text("a"), Close(1000, "")]);
        assert_eq!(ws.answer(), "88 02 03 e8");
        has_ended(&ws, 1000, "", Initiator::Peer, true);
        ws.is_silent();
    }
}

#[test]
fn bytes_behind_a_close_cost_no_memory() {
    for mut ws in both() {
        assert_eq!(ws.frames(["88 00"]), [CloseEmpty]);
        assert_eq!(ws.events(vec![vec![0_u8; 1 << 20]; 16]), NOTHING);
        assert!(ws.conn.reclaim_inbox().capacity() <= 64 << 10);
    }
}

#[test]
fn a_message_that_is_unfinished_when_the_close_comes_is_dropped() {
    for mut ws in both() {
        assert_eq!(ws.frames(["01 01 61", "88 02 03 e8"]), [Close(1000, "")]);
        assert!(!ws.conn.is_midway());
        assert_eq!(ws.answer(), "88 02 03 e8");
        ws.is_silent();
    }
}

#[test]
fn a_second_close_changes_nothing() {
    for mut ws in both() {
        ws.conn.close(Some(&close(1000, "first")));
        ws.conn.close(Some(&close(1001, "second")));
        ws.conn.close(None);
        assert_eq!(ws.answer(), "88 07 03 e8 66 69 72 73 74");
        ws.conn.close(None);
        assert_eq!(ws.answer(), "");
        assert_eq!(ws.conn.state(), State::Closing);
    }
}

#[test]
fn nothing_is_sent_after_a_close() {
    for mut ws in both() {
        ws.conn.close(None);
        let closed = Err(SendError::Closed);
        assert_eq!(ws.conn.send("a".into()), closed);
        assert_eq!(ws.conn.send_ref(MessageRef::Text("a")), closed);
        assert_eq!(ws.conn.ping(b""), closed);
        assert_eq!(ws.conn.pong(b""), closed);
        assert_eq!(ws.answer(), "88 00");
    }
}

#[test]
fn a_close_stands_behind_all_that_was_queued() {
    let mut limits = Limits::default();
    limits.backlog = 4;
    for mut ws in crate::support::hex::both_with(&limits) {
        ws.conn.send("abcd".into()).unwrap();
        assert!(ws.conn.is_full());
        ws.conn.close(Some(&close(1000, "")));
        assert_eq!(ws.answer(), "81 04 61 62 63 64 88 02 03 e8");
    }
}

#[test]
fn a_transport_that_ends_without_a_close_is_1006() {
    for mut ws in both() {
        assert_eq!(ws.frames(["01 01 61"]), NOTHING);
        ws.conn.send("never leaves".into()).unwrap();
        ws.conn.lost();
        assert_eq!(ws.answer(), "");
        has_ended(&ws, 1006, "", Initiator::Peer, false);
        ws.is_silent();
        ws.conn.lost();
        has_ended(&ws, 1006, "", Initiator::Peer, false);
    }
}

#[test]
fn a_transport_that_ends_before_our_close_is_answered_is_1006_and_ours() {
    for mut ws in both() {
        ws.conn.close(Some(&close(1000, "")));
        ws.answer();
        ws.conn.lost();
        has_ended(&ws, 1006, "", Initiator::Local, false);
        ws.is_silent();
    }
}

#[test]
fn a_transport_that_ends_after_both_closes_leaves_a_clean_end() {
    for mut ws in both() {
        assert_eq!(ws.frames(["88 02 0f a0"]), [Close(4000, "")]);
        ws.answer();
        ws.conn.lost();
        has_ended(&ws, 4000, "", Initiator::Peer, true);
        ws.is_silent();
    }
}

#[test]
fn a_transport_that_ends_after_a_fault_leaves_the_fault() {
    for mut ws in both() {
        assert_eq!(ws.frames(["83 00"]), [Error(ProtocolError::Opcode(3))]);
        ws.conn.lost();
        has_ended(&ws, 1002, "", Initiator::Local, false);
        ws.is_silent();
    }
}

#[test]
fn a_fault_that_only_the_caller_sees_ends_the_connection() {
    for mut ws in both() {
        assert_eq!(ws.frames(["01 01 61"]), NOTHING);
        assert_eq!(ws.events(["80"]), NOTHING);
        assert!(ws.conn.is_midway());
        assert_eq!(ws.conn.unread(), 1);
        ws.conn.fail(ProtocolError::MessageStalled);
        assert_eq!(ws.conn.unread(), 0);
        assert!(!ws.conn.is_midway());
        assert_eq!(ws.answer(), "88 02 03 f0");
        ws.has_failed(ProtocolError::MessageStalled);
        ws.conn.fail(ProtocolError::Rsv1);
        has_ended(&ws, 1008, "", Initiator::Local, false);
        assert_eq!(ws.answer(), "");
    }
}

#[test]
fn both_ends_may_close_at_once() {
    let mut pair = Pair::new(&Limits::default());
    pair.client.close(Some(&close(1000, "c")));
    pair.server.close(Some(&close(1001, "s")));
    let [client, server] = pair.run();
    assert_eq!(client, [Close(1001, "s")]);
    assert_eq!(server, [Close(1000, "c")]);
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.state(), State::Closed);
        let info = end.close_info().unwrap();
        assert!(info.clean);
        assert_eq!(info.initiator, Initiator::Local);
    }
}

#[test]
fn the_end_is_the_same_seen_from_both_ends() {
    let mut pair = Pair::new(&Limits::default());
    pair.server.send("last".into()).unwrap();
    pair.server.ping(b"").unwrap();
    pair.server.close(Some(&close(4999, "done")));
    let [client, server] = pair.run();
    assert_eq!(client, [Text("last"), Ping(""), Close(4999, "done")]);
    // The pong was queued before the close was read.
    assert_eq!(
        server,
        [crate::support::hex::Seen::Pong(""), Close(4999, "done")]
    );
    let [ours, theirs] = [&pair.server, &pair.client].map(|end| end.close_info().unwrap());
    assert_eq!((ours.code, &ours.reason), (theirs.code, &theirs.reason));
    assert_eq!(ours.code, CloseCode::new(4999));
    assert_eq!(ours.initiator, Initiator::Local);
    assert_eq!(theirs.initiator, Initiator::Peer);
}

#[test]
fn a_close_that_is_held_is_answered_behind_what_was_to_be_said_before() {
    for mut ws in both() {
        ws.conn.hold_close(true);
        assert_eq!(ws.frames(["88 02 03 e9"]), [Close(1001, "")]);
        assert!(ws.conn.owes_close());
        assert_eq!((ws.conn.state(), ws.conn.close_info()), (State::Open, None));
        ws.conn.send("last".into()).unwrap();
        ws.conn.answer();
        assert!(!ws.conn.owes_close());
        assert_eq!(ws.answer(), "81 04 6c 61 73 74 88 02 03 e9");
        has_ended(&ws, 1001, "", Initiator::Peer, true);
        ws.conn.answer();
        assert_eq!(ws.answer(), "");
        ws.is_silent();
    }
}

#[test]
fn a_close_that_is_held_is_answered_by_our_own_and_by_the_end_of_the_transport() {
    for mut ws in both() {
        ws.conn.hold_close(true);
        assert_eq!(ws.frames(["88 02 03 e9"]), [Close(1001, "")]);
        ws.conn.close(Some(&close(1000, "")));
        assert_eq!(ws.answer(), "88 02 03 e9");
        has_ended(&ws, 1001, "", Initiator::Peer, true);
    }
    for mut ws in both() {
        ws.conn.hold_close(true);
        assert_eq!(ws.frames(["88 00"]), [CloseEmpty]);
        ws.conn.lost();
        assert_eq!(ws.answer(), "");
        has_ended(&ws, 1005, "", Initiator::Peer, true);
    }
}

#[test]
fn an_answer_to_our_own_close_is_not_held() {
    for mut ws in both() {
        ws.conn.hold_close(true);
        ws.conn.close(None);
        assert_eq!(ws.frames(["88 00"]), [CloseEmpty]);
        assert!(!ws.conn.owes_close());
        assert_eq!(ws.answer(), "88 00");
        has_ended(&ws, 1005, "", Initiator::Local, true);
    }
}
