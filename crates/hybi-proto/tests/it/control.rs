//! Pings and pongs (RFC 6455 §5.5.2, §5.5.3).

use hybi_proto::error::SendError;

use crate::support::hex::Seen::{Ping, Pong, Text};
use crate::support::hex::{NOTHING, Ws, both, frame, hex};
use crate::support::pair::Pair;

#[test]
fn a_ping_is_answered_with_its_payload() {
    for mut ws in both() {
        assert_eq!(ws.frames(["89 00"]), [Ping("")]);
        assert_eq!(ws.answer(), "8a 00");
        assert_eq!(ws.frames(["89 03 01 02 03"]), [Ping("01 02 03")]);
        assert_eq!(ws.answer(), "8a 03 01 02 03");
        let longest = [0x70; 125];
        assert_eq!(ws.frames([frame(0x89, &longest)]), [Ping(&*hex(&longest))]);
        assert_eq!(ws.answer(), hex(&frame(0x8a, &longest)));
    }
}

#[test]
fn a_pong_is_an_event_and_not_answered() {
    for mut ws in both() {
        assert_eq!(ws.frames(["8a 02 00 ff"]), [Pong("00 ff")]);
        assert_eq!(ws.answer(), "");
    }
}

#[test]
fn every_ping_is_answered_in_order_while_the_socket_takes_writes() {
    for mut ws in both() {
        let pings = (0..100).map(|i| frame(0x89, &[i]));
        assert_eq!(ws.frames(pings).len(), 100);
        let pongs: Vec<u8> = (0..100).flat_map(|i| frame(0x8a, &[i])).collect();
        assert_eq!(ws.answer(), hex(&pongs));
    }
}

/// Twenty pings with the payloads 00 to 13, on a socket that takes nothing.
fn flooded(ws: &mut Ws) {
    ws.conn.send("a".into()).expect("room");
    ws.conn.outbox().block();
    assert!(ws.conn.outbox().is_blocked());
    let pings = (0..20).map(|i| frame(0x89, &[i]));
    assert_eq!(ws.frames(pings).len(), 20);
}

#[test]
fn a_blocked_socket_holds_sixteen_pongs_and_then_only_the_newest() {
    for mut ws in both() {
        flooded(&mut ws);
        let full = ws.conn.buffered();
        assert_eq!(
            ws.frames(["89 01 aa", "89 01 bb"]),
            [Ping("aa"), Ping("bb")]
        );
        assert_eq!(ws.conn.buffered(), full, "no ping costs more");

        let mut expected = frame(0x81, b"a");
        expected.extend((0..16).flat_map(|i| frame(0x8a, &[i])));
        expected.extend(frame(0x8a, b"\xbb"));
        assert_eq!(ws.answer(), hex(&expected));
        assert!(!ws.conn.outbox().is_blocked());
        assert_eq!(ws.frames(["89 01 cc"]), [Ping("cc")]);
        assert_eq!(ws.answer(), "8a 01 cc");
    }
}

#[test]
fn the_pong_that_waits_is_queued_when_all_before_it_has_left() {
    for mut ws in both() {
        flooded(&mut ws);
        let waits = ws.conn.buffered();
        ws.conn.sent(waits - 1);
        assert_eq!(ws.conn.buffered(), 1);
        ws.conn.sent(1);
        assert_eq!(ws.answer(), "8a 01 13");
        assert_eq!(ws.answer(), "");
    }
}

#[test]
fn sixteen_pongs_may_wait_again_when_all_has_left() {
    for mut ws in both() {
        flooded(&mut ws);
        ws.answer();
        ws.conn.send("a".into()).unwrap();
        ws.conn.outbox().block();
        assert_eq!(ws.frames(["89 01 aa", "89 01 bb"]).len(), 2);
        assert_eq!(ws.answer(), "81 01 61 8a 01 aa 8a 01 bb");
    }
}

#[test]
fn a_newer_ping_that_is_answered_settles_the_one_that_waited() {
    for mut ws in both() {
        flooded(&mut ws);
        let waits = ws.conn.buffered();
        // A part leaves: the socket takes writes again.
        ws.conn.sent(waits - 1);
        assert_eq!(ws.frames(["89 01 aa"]), [Ping("aa")]);
        ws.conn.sent(1);
        assert_eq!(ws.answer(), "8a 01 aa");
        assert_eq!(ws.answer(), "");
    }
}

#[test]
fn a_socket_that_takes_a_byte_now_and_then_does_not_hold_more_pongs() {
    for mut ws in both() {
        flooded(&mut ws);
        let full = ws.conn.buffered();
        for round in 0..50 {
            ws.conn.sent(1);
            ws.conn.outbox().block();
            assert_eq!(ws.frames([frame(0x89, &[round])]).len(), 1);
            assert!(ws.conn.buffered() < full);
        }
    }
}

#[test]
fn the_pong_that_waits_leaves_though_there_is_always_more_to_say() {
    for mut ws in both() {
        flooded(&mut ws);
        let pongs = ws.conn.buffered();
        ws.conn.send("b".into()).unwrap();
        ws.conn.sent(pongs);
        ws.conn.send("c".into()).unwrap();
        assert_eq!(ws.answer(), "81 01 62 8a 01 13 81 01 63");
    }
}

#[test]
fn a_waiting_pong_does_not_follow_our_close() {
    for mut ws in both() {
        flooded(&mut ws);
        ws.conn.close(None);
        let sent = ws.answer();
        assert!(sent.ends_with("8a 01 0f 88 00"), "{sent}");
    }
}

#[test]
fn a_ping_after_our_close_is_an_event_and_not_answered() {
    for mut ws in both() {
        ws.conn.close(None);
        assert_eq!(ws.answer(), "88 00");
        let frames = ["89 01 61", "81 01 62", "8a 01 63"];
        assert_eq!(ws.frames(frames), [Ping("61"), Text("b"), Pong("63")]);
        assert_eq!(ws.answer(), "");
    }
}

#[test]
fn without_automatic_pongs_the_caller_answers() {
    for mut ws in both() {
        ws.conn.set_auto_pong(false);
        assert_eq!(ws.frames(["89 01 61"]), [Ping("61")]);
        assert_eq!(ws.answer(), "");
        ws.conn.pong(b"a").unwrap();
        assert_eq!(ws.answer(), "8a 01 61");
        ws.conn.set_auto_pong(true);
        assert_eq!(ws.frames(["89 01 62"]), [Ping("62")]);
        assert_eq!(ws.answer(), "8a 01 62");
    }
}

#[test]
fn a_ping_or_a_pong_of_more_than_125_bytes_is_not_sent() {
    for mut ws in both() {
        let long = Err(SendError::ControlTooLong);
        assert_eq!(ws.conn.ping(&[0; 126]), long);
        assert_eq!(ws.conn.pong(&[0; 126]), long);
        assert_eq!(ws.answer(), "");
        ws.conn.ping(&[0; 125]).unwrap();
        ws.conn.pong(&[0; 125]).unwrap();
        assert_eq!(
            ws.sent_bytes().len() % 127,
            if ws.is_server() { 0 } else { 8 }
        );
    }
}

#[test]
fn a_control_frame_is_not_looked_at_before_it_is_whole() {
    for mut ws in both() {
        let bytes = ws.written(&frame(0x89, &[0x70; 125]));
        let (last, before) = bytes.split_last().unwrap();
        assert_eq!(ws.events(before.iter().map(|b| vec![*b])), NOTHING);
        assert!(ws.conn.is_midway());
        assert_eq!(ws.events([vec![*last]]).len(), 1);
        assert!(!ws.conn.is_midway());
    }
}

#[test]
fn a_ping_goes_round_and_comes_back_as_a_pong() {
    let mut pair = Pair::new(&Default::default());
    pair.client.ping(b"\x01").unwrap();
    pair.server.ping(b"\x02").unwrap();
    let [client, server] = pair.run();
    assert_eq!(server, [Ping("01"), Pong("02")]);
    assert_eq!(client, [Ping("02"), Pong("01")]);
}
