//! What a connection allocates: nothing in steady state, nothing for a length that is only
//! claimed, and no more than a message needs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::IoSlice;

use bytes::BufMut;
use hybi_proto::connection::{Connection, Role};
use hybi_proto::decoder::Decoder;
#[cfg(feature = "deflate")]
use hybi_proto::deflate::{Deflate, Strategy};
#[cfg(feature = "deflate")]
use hybi_proto::handshake::Extensions;
use hybi_proto::limits::Limits;
#[cfg(feature = "deflate")]
use hybi_proto::message::Kind;
use hybi_proto::message::{Event, EventRef, Message, MessageRef};

/// The system's allocator, with a count for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(freed: usize, taken: usize) {
    if taken > 0 {
        CALLS.set(CALLS.get() + 1);
    }
    LIVE.set(LIVE.get() + taken as isize - freed as isize);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

// SAFETY: all is handed on to `System`; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old block may live beside the new one for a moment.
        count(0, size);
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// What some work allocated.
#[derive(Clone, Copy, Debug)]
struct Cost {
    calls: usize,
    /// Bytes that are still held.
    held: isize,
    /// The most bytes that were held at once.
    peak: isize,
}

fn cost<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (calls, live) = (CALLS.get(), LIVE.get());
    PEAK.set(live);
    let done = work();
    let cost = Cost {
        calls: CALLS.get() - calls,
        held: LIVE.get() - live,
        peak: PEAK.get() - live,
    };
    (done, cost)
}

const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const PLAIN_HELLO: &[u8] = b"\x81\x05Hello";

/// What is known of a message in progress.
const PROGRESS: isize = 88;

fn ends() -> [(Connection, &'static [u8]); 2] {
    let client = Role::Client(|| [1, 2, 3, 4]);
    [
        (
            Connection::new(Role::Server, Limits::default()),
            MASKED_HELLO,
        ),
        (Connection::new(client, Limits::default()), PLAIN_HELLO),
    ]
}

/// Offers all that waits to a socket that takes it.
fn drain(conn: &mut Connection) {
    while conn.buffered() > 0 {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = conn.outbox().slices(&mut slices);
        let n = slices[..count].iter().map(|slice| slice.len()).sum();
        conn.sent(n);
    }
}

#[test]
fn messages_through_the_borrowed_door_allocate_nothing() {
    for (mut conn, hello) in ends() {
        let mut buffers = (Vec::with_capacity(4096), Vec::with_capacity(4096));
        let mut round = |conn: &mut Connection| {
            conn.lend_inbox(std::mem::take(&mut buffers.0));
            assert!(conn.outbox().lend(std::mem::take(&mut buffers.1)).is_none());
            for _ in 0..10 {
                conn.inbox().put_slice(hello);
            }
            let mut seen = 0;
            while let Ok(Some(event)) = conn.next() {
                let EventRef::Message(MessageRef::Text("Hello")) = event else {
                    panic!("{event:?}")
                };
                seen += 1;
                conn.send_ref(MessageRef::Text("Hello")).expect("room");
            }
            assert_eq!(seen, 10);
            conn.ping(b"?").expect("room");
            drain(conn);
            buffers = (conn.reclaim_inbox(), conn.outbox().reclaim());
            assert_eq!((buffers.0.capacity(), buffers.1.capacity()), (4096, 4096));
        };
        let ((), cost) = cost(|| (0..100).for_each(|_| round(&mut conn)));
        assert_eq!(cost.calls, 0, "{cost:?}");
    }
}

#[test]
fn pings_allocate_nothing_in_the_borrowed_door() {
    let mut conn = Connection::new(Role::Server, Limits::default());
    let ping = |conn: &mut Connection| {
        conn.inbox().put_slice(b"\x89\x81\0\0\0\0!");
        assert_eq!(conn.next(), Ok(Some(EventRef::Ping(b"!"))));
        drain(conn);
    };
    ping(&mut conn);
    let ((), cost) = cost(|| (0..1000).for_each(|_| ping(&mut conn)));
    assert_eq!(cost.calls, 0);
}

#[test]
fn a_message_through_the_owned_door_is_one_allocation() {
    for (mut conn, hello) in ends() {
        let echo = |conn: &mut Connection| {
            conn.inbox().put_slice(hello);
            let Ok(Some(Event::Message(message))) = conn.next_owned() else {
                panic!("a message")
            };
            assert_eq!(conn.next_owned(), Ok(None));
            conn.send(message).expect("room");
            drain(conn);
        };
        echo(&mut conn);
        let ((), cost) = cost(|| (0..1000).for_each(|_| echo(&mut conn)));
        assert_eq!(cost.calls, 1000);
        assert_eq!(cost.held, 0);
    }
}

/// The header of a binary frame to a server, with a key of zeros.
fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first, 0xff];
    if len <= 0xffff {
        header[1] = 0xfe;
        header.extend((len as u16).to_be_bytes());
    } else {
        header.extend(len.to_be_bytes());
    }
    header.extend([0; 4]);
    header
}

#[test]
fn a_length_that_is_only_claimed_is_not_allocated() {
    for first in [0x82, 0x02] {
        for sent in 0..2 {
            let mut bytes = header(first, 16 << 20);
            bytes.resize(bytes.len() + sent, 0);
            let (_conn, cost) = cost(|| {
                let mut conn = Connection::new(Role::Server, Limits::default());
                conn.inbox().put_slice(&bytes);
                assert_eq!(conn.next(), Ok(None));
                let _ = conn.inbox();
                drop(conn.reclaim_inbox());
                conn
            });
            assert!(cost.held <= (64 << 10) + PROGRESS, "{cost:?}");
            assert!(cost.peak <= (64 << 10) + (4 << 10) + PROGRESS, "{cost:?}");
        }
    }
}

#[test]
fn a_length_above_the_limit_allocates_nothing() {
    let bytes = header(0x82, u64::MAX >> 1);
    let mut conn = Connection::new(Role::Server, Limits::default());
    conn.lend_inbox(Vec::with_capacity(4096));
    conn.inbox().put_slice(&bytes);
    let (result, cost) = cost(|| conn.next().is_err());
    assert!(result);
    // The close frame, and what is known of the end.
    assert!(cost.peak < 512, "{cost:?}");
}

/// Brings the bytes in reads of 64 KiB into a lent buffer, as the face does.
fn read(conn: &mut Connection, mut bytes: &[u8], mut see: impl FnMut(Event)) {
    while !bytes.is_empty() {
        let mut inbox = conn.inbox();
        let n = inbox.remaining_mut().min(bytes.len()).min(64 << 10);
        inbox.put_slice(&bytes[..n]);
        bytes = &bytes[n..];
        while let Ok(Some(event)) = conn.next_owned() {
            see(event);
        }
    }
}

#[test]
fn a_million_fragments_cost_their_payload_and_no_more() {
    for (payload, bound) in [(&b""[..], 0), (b"a", 1_000_000)] {
        let mut fragment = vec![0x00, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        fragment.extend(payload);
        let some = fragment.repeat(10_000);
        let mut first = fragment.clone();
        first[0] = 0x02;
        let mut conn = Connection::new(Role::Server, Limits::default());
        conn.lend_inbox(Vec::with_capacity(64 << 10));
        let ((), cost) = cost(|| {
            read(&mut conn, &first, |event| panic!("{event:?}"));
            for _ in 0..100 {
                read(&mut conn, &some, |event| panic!("{event:?}"));
            }
        });
        assert!(conn.is_midway());
        assert!(cost.held <= 2 * bound + PROGRESS, "{cost:?}");
        assert!(cost.peak <= 4 * bound + PROGRESS, "{cost:?}");
        // It grows by doubling: a million bytes are not copied a million times.
        assert!(cost.calls <= 20, "{cost:?}");
    }
}

#[test]
fn a_message_that_is_joined_leaves_nothing_behind() {
    let stream = [
        &b"\x01\x81\0\0\0\0a"[..],
        b"\x80\x81\0\0\0\0b",
        MASKED_HELLO,
    ]
    .concat();
    for cut in 1..stream.len() {
        for owned in [false, true] {
            let mut conn = Connection::new(Role::Server, Limits::default());
            conn.lend_inbox(Vec::with_capacity(4096));
            let ((), cost) = cost(|| {
                for bytes in [&stream[..cut], &stream[cut..]] {
                    conn.inbox().put_slice(bytes);
                    if owned {
                        while let Ok(Some(event)) = conn.next_owned() {
                            drop(event);
                        }
                    } else {
                        while let Ok(Some(_)) = conn.next() {}
                    }
                }
            });
            assert_eq!(conn.messages_received(), 2);
            assert!(cost.calls > 0);
            assert_eq!(cost.held, 0, "{cost:?}");
        }
    }
}

#[test]
fn fragmented_messages_in_one_read_share_what_they_need_beside_their_payload() {
    let message = b"\x02\x81\0\0\0\0a\x80\x81\0\0\0\0b";
    let mut conn = Connection::new(Role::Server, Limits::default());
    conn.lend_inbox(Vec::with_capacity(4096));
    conn.inbox().put_slice(&message.repeat(100));
    let ((), cost) = cost(|| while let Ok(Some(_)) = conn.next() {});
    assert_eq!(conn.messages_received(), 100);
    assert_eq!((cost.calls, cost.held), (101, 0), "{cost:?}");
}

#[test]
fn a_message_in_the_hands_of_the_user_pins_at_most_twice_its_size_and_a_page() {
    const PAGE: usize = 4096;
    for len in [
        0,
        1,
        100,
        5000,
        65_535,
        65_536,
        100_000,
        200_000,
        1 << 20,
        3_000_000,
    ] {
        // In a thread of its own, which has no buffer yet that could be used again.
        let pins = move |fragments: usize| {
            let mut stream = Vec::new();
            for i in 0..fragments {
                let part = len / fragments + if i == 0 { len % fragments } else { 0 };
                let fin = if i == fragments - 1 { 0x80 } else { 0 };
                let first = fin | if i == 0 { 0x02 } else { 0 };
                if part > 125 {
                    stream.extend(header(first, part as u64));
                } else {
                    stream.extend([first, 0x80 | part as u8, 0, 0, 0, 0]);
                }
                stream.resize(stream.len() + part, 7);
            }
            let mut conn = Connection::new(Role::Server, Limits::default());
            conn.lend_inbox(Vec::with_capacity(64 << 10));
            let (message, cost) = cost(|| {
                let mut found = None;
                read(&mut conn, &stream, |event| found = Some(event));
                drop(conn);
                found
            });
            let Some(Event::Message(Message::Binary(payload))) = &message else {
                panic!("{message:?}")
            };
            assert_eq!(payload.len(), len);
            // The read buffer was lent before and is gone now.
            let held = cost.held + (64 << 10);
            assert!(
                held as usize <= 2 * len + PAGE,
                "{len} in {fragments}: {cost:?}"
            );
            let peak = cost.peak as usize;
            assert!(
                peak <= 3 * len + (64 << 10) + PAGE,
                "{len} in {fragments}: {cost:?}"
            );
        };
        for fragments in [1, 2, 7] {
            let thread = std::thread::spawn(move || pins(fragments));
            thread.join().expect("no panic");
        }
    }
}

#[test]
fn the_buffers_of_large_messages_are_used_again() {
    for (len, fragments) in [
        (40_000, 1),
        (64 << 10, 1),
        (1 << 20, 1),
        (100_000, 3),
        (1 << 20, 3),
    ] {
        for owned in [false, true] {
            let mut stream = Vec::new();
            for i in 0..fragments {
                let fin = if i == fragments - 1 { 0x80 } else { 0 };
                let first = fin | if i == 0 { 0x02 } else { 0 };
                stream.extend(header(first, (len / fragments) as u64));
                stream.resize(stream.len() + len / fragments, 7);
            }
            let mut conn = Connection::new(Role::Server, Limits::default());
            conn.lend_inbox(Vec::with_capacity(64 << 10));
            let mut round = || {
                let mut rest = &stream[..];
                while !rest.is_empty() {
                    let mut inbox = conn.inbox();
                    let n = inbox.remaining_mut().min(rest.len());
                    inbox.put_slice(&rest[..n]);
                    rest = &rest[n..];
                    if owned {
                        while let Ok(Some(_)) = conn.next_owned() {}
                    } else {
                        while let Ok(Some(_)) = conn.next() {}
                    }
                }
            };
            // A message of one frame takes its buffer at once; one of more grows from one to the next.
            (0..fragments).for_each(|_| round());
            let ((), cost) = cost(|| (0..20).for_each(|_| round()));
            assert!(cost.peak < 1024, "{len} in {fragments}, {owned}: {cost:?}");
            assert_eq!(conn.messages_received(), 20 + fragments as u64);
        }
    }
}

#[test]
fn a_part_that_fills_half_of_its_buffer_is_handed_out_with_it() {
    for (len, copied) in [(40_000, false), (4_000, true)] {
        let mut conn = Connection::new(Role::Server, Limits::default());
        conn.lend_inbox(Vec::with_capacity(64 << 10));
        conn.inbox().put_slice(&header(0x82, 1 << 20));
        conn.inbox().put_slice(&vec![7; len]);
        assert_eq!(conn.next_owned(), Ok(None));
        let (part, cost) = cost(|| conn.next_part());
        let Ok(Some(Event::Part(part))) = part else {
            panic!("{part:?}")
        };
        assert_eq!(part.bytes.len(), len);
        assert_eq!(cost.peak as usize >= len, copied, "{len}: {cost:?}");
    }
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    for (mut conn, hello) in ends() {
        let ((), cost) = cost(|| {
            conn.lend_inbox(Vec::with_capacity(4096));
            assert!(conn.outbox().lend(Vec::with_capacity(4096)).is_none());
            let mut stream = hello.repeat(3);
            stream.truncate(stream.len() - 1);
            conn.inbox().put_slice(&stream);
            while let Ok(Some(event)) = conn.next_owned() {
                let Event::Message(message) = event else {
                    panic!("{event:?}")
                };
                conn.send(message).expect("room");
            }
            drain(&mut conn);
            drop(conn.reclaim_inbox());
            drop(conn.outbox().reclaim());
        });
        // The third message waits for its last byte.
        assert!(cost.held <= 8 + PROGRESS, "{cost:?}");
        drop(conn);
    }
}

#[test]
fn a_connection_that_has_ended_holds_no_message() {
    let half = [&header(0x02, 100_000)[..], &[7; 100_000]].concat();
    for end in [&b"\x83\x80\0\0\0\0"[..], b"\x88\x80\0\0\0\0"] {
        let mut conn = Connection::new(Role::Server, Limits::default());
        let ((), cost) = cost(|| {
            read(&mut conn, &half, drop);
            read(&mut conn, end, drop);
            drain(&mut conn);
            drop(conn.reclaim_inbox());
            drop(conn.outbox().reclaim());
        });
        assert!(cost.peak >= 100_000);
        assert!(cost.held < 512, "{cost:?}");
    }
}

#[test]
fn a_shared_payload_that_waits_alone_is_one_allocation() {
    let mut conn = Connection::new(Role::Server, Limits::default());
    assert!(conn.outbox().lend(Vec::with_capacity(4096)).is_none());
    let large = Message::from(vec![7; 64 << 10]);
    let Message::Binary(shared) = &large else {
        panic!("{large:?}")
    };
    // Sharing it for the first time is an allocation of its own.
    drop(shared.clone());
    let ((), cost) = cost(|| {
        for _ in 0..100 {
            conn.send(large.clone()).expect("room");
            drain(&mut conn);
        }
    });
    assert_eq!(cost.calls, 1, "{cost:?}");
}

#[test]
fn a_flood_of_pings_costs_one_ping_beyond_what_is_queued() {
    let mut conn = Connection::new(Role::Server, Limits::default());
    conn.lend_inbox(Vec::with_capacity(64 << 10));
    conn.send("a".into()).expect("room");
    conn.outbox().block();
    let mut flood = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    flood.resize(flood.len() + 125, 7);
    let flood = flood.repeat(1000);
    let ((), cost) = cost(|| (0..100).for_each(|_| read(&mut conn, &flood, drop)));
    assert!(cost.held <= 2 * 16 * 127 + 512, "{cost:?}");
}

#[test]
fn a_connection_is_small_and_a_new_one_allocates_nothing() {
    let (_conn, cost) = cost(|| Connection::new(Role::Server, Limits::default()));
    assert_eq!(cost.calls, 0);
    let size = size_of::<Connection>();
    assert!(size <= 176, "{size}");
    // It is moved out and back for each read of an event handler.
    let size = size_of::<Decoder>();
    assert!(size <= 72, "{size}");
}

/// A server and a client that have agreed on the defaults, and what that has cost them.
#[cfg(feature = "deflate")]
fn agreed(takeover: bool, limits: &Limits) -> ([Connection; 2], Cost) {
    let deflate = Deflate::default()
        .server_no_context_takeover(!takeover)
        .client_no_context_takeover(!takeover);
    let params = Extensions::between(Some(&deflate), Some(&deflate)).deflate();
    let params = params.expect("both want it");
    let mut both = [Role::Server, Role::Client(|| [1, 2, 3, 4])]
        .map(|role| Connection::new(role, limits.clone()));
    let agree = |ws: &mut Connection| ws.set_deflate(&deflate, params);
    let ((), cost) = cost(|| both.iter_mut().for_each(agree));
    (both, cost)
}

/// Hands over what one end has sent, with buffers that are lent, and keeps nothing.
#[cfg(feature = "deflate")]
fn hand_over(from: &mut Connection, to: &mut Connection) -> usize {
    let mut bytes = Vec::new();
    while !from.outbox().is_empty() {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = from.outbox().slices(&mut slices);
        let before = bytes.len();
        slices[..count]
            .iter()
            .for_each(|slice| bytes.extend_from_slice(slice));
        from.sent(bytes.len() - before);
    }
    drop(from.outbox().reclaim());
    let mut seen = 0;
    to.lend_inbox(Vec::with_capacity(64 << 10));
    read(to, &bytes, |_| seen += 1);
    drop(to.reclaim_inbox());
    seen
}

/// Bytes that cannot be compressed.
#[cfg(feature = "deflate")]
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(noise).collect()
}

#[cfg(feature = "deflate")]
fn json() -> String {
    let item = |at: usize| {
        format!(
            "{{\"id\":{at},\"name\":\"item {}\",\"on\":true}},",
            at * 37 % 91
        )
    };
    let mut json: String = (0..100).map(item).collect();
    json.truncate(1024);
    json
}

#[cfg(feature = "deflate")]
#[test]
fn what_was_agreed_on_is_all_that_is_held_before_the_first_compressed_message() {
    let ([mut server, mut client], cost_of_both) = agreed(true, &Limits::default());
    assert!(cost_of_both.calls <= 4, "{cost_of_both:?}");
    assert!(cost_of_both.held <= 2 * 256, "{cost_of_both:?}");
    let ((), cost) = cost(|| {
        // They are below the threshold.
        server.send("hello".into()).expect("room");
        assert_eq!(hand_over(&mut server, &mut client), 1);
        client.send("hello".into()).expect("room");
        assert_eq!(hand_over(&mut client, &mut server), 1);
    });
    assert_eq!(cost.held, 0, "{cost:?}");
}

#[cfg(feature = "deflate")]
#[test]
fn a_connection_keeps_its_history_and_without_takeover_nothing() {
    let exchange = |[server, client]: &mut [Connection; 2]| {
        server.send(json().into()).expect("room");
        assert_eq!(hand_over(server, client), 1);
        client.send(json().into()).expect("room");
        assert_eq!(hand_over(client, server), 1);
    };
    // The thread has its engines.
    exchange(&mut agreed(true, &Limits::default()).0);
    for (takeover, most) in [(true, 4 << 10), (false, 512)] {
        let ((), left) = cost(|| {
            let (mut both, cost_of_both) = agreed(takeover, &Limits::default());
            let ((), first) = cost(|| exchange(&mut both));
            let held = first.held + cost_of_both.held;
            assert!(held <= 2 * most, "takeover {takeover}: {held}");
            let ((), others) = cost(|| (0..50).for_each(|_| exchange(&mut both)));
            let most = if takeover { 4 * (4 << 10) } else { 0 };
            assert!(first.held + others.held <= most, "{first:?}, {others:?}");
        });
        assert_eq!(left.held, 0, "all goes with the connections: {left:?}");
    }
}

#[cfg(feature = "deflate")]
#[test]
#[cfg_attr(miri, ignore)]
fn a_bomb_takes_no_more_than_what_a_message_may_take() {
    let ([mut from, mut to], _) = agreed(true, &Limits::default());
    from.begin(Kind::Binary).expect("room");
    from.send_part(vec![0; 1 << 20].into()).expect("room");
    let mut slices = [IoSlice::new(&[]); 16];
    let count = from.outbox().slices(&mut slices);
    let frame: Vec<u8> = slices[..count]
        .iter()
        .flat_map(|slice| slice.to_vec())
        .collect();
    // It ends with a flush, so that it can be said again and again.
    let mib = frame[4..].to_vec();
    let bomb = mib.repeat(256);
    assert!(bomb.len() <= 512 << 10, "{}", bomb.len());
    // The thread has its engine.
    to.inbox().put_slice(b"\xc2\x01\x00");
    assert!(to.next().is_ok_and(|event| event.is_some()));
    let masked =
        |first: u8, payload: &[u8]| [&header(first, payload.len() as u64)[..], payload].concat();
    let whole = masked(0xc2, &bomb);
    let mut many = Vec::new();
    for (at, piece) in bomb.chunks(bomb.len() / 1000).enumerate() {
        many.extend(masked(if at == 0 { 0x42 } else { 0x00 }, piece));
    }
    let mut unfinished = masked(0x42, &bomb);
    unfinished.pop();
    for bytes in [whole, many, unfinished] {
        let mut limits = Limits::default();
        limits.message = Some(1 << 20);
        let ([mut server, _client], _) = agreed(true, &limits);
        let (failed, cost) = cost(|| {
            server.lend_inbox(Vec::with_capacity(64 << 10));
            let mut failed = false;
            for piece in bytes.chunks(64 << 10) {
                server.inbox().put_slice(piece);
                failed |= server.next_owned().is_err();
            }
            failed
        });
        assert!(failed);
        assert!(cost.peak < 4 << 20, "{cost:?}");
    }
}

#[cfg(feature = "deflate")]
#[test]
#[cfg_attr(miri, ignore)]
fn what_is_inflated_has_no_room_beyond_the_limit() {
    let mut limits = Limits::default();
    limits.message = Some(900_000);
    let half = |limits: &Limits| {
        let ([mut from, mut to], _) = agreed(true, limits);
        from.begin(Kind::Binary).expect("room");
        // So much of it comes that most is inflated, and not in pieces of one size.
        let part = [noise(17_000), vec![0; 810_000], noise(20_000)].concat();
        from.send_part(part.into()).expect("room");
        let ((), cost) = cost(|| assert_eq!(hand_over(&mut from, &mut to), 0));
        drop(to);
        cost
    };
    // The thread has its engines.
    half(&limits);
    let cost = half(&limits);
    assert!((830_000..910_000).contains(&cost.held), "{cost:?}");
    // It grows by doubling, and not with each piece.
    assert!(cost.calls < 20, "{cost:?}");
}

#[cfg(feature = "deflate")]
#[test]
#[cfg_attr(miri, ignore)]
fn the_rest_of_a_bomb_that_nobody_wants_is_never_held() {
    let ([mut from, mut to], _) = agreed(true, &Limits::default());
    from.send(vec![0; 12 << 20].into()).expect("room");
    let mut bomb = Vec::new();
    while let Some(piece) = from.outbox().piece().map(<[u8]>::to_vec)
        && !piece.is_empty()
    {
        from.sent(piece.len());
        bomb.extend(piece);
    }
    to.lend_inbox(Vec::with_capacity(bomb.len()));
    to.inbox().put_slice(&bomb);
    assert!(matches!(to.next_part(), Ok(Some(Event::Part(_)))));
    let (rest, cost) = cost(|| to.next_owned());
    assert_eq!((rest, to.messages_received()), (Ok(None), 1));
    // The buffers of its parts are kept for others, up to 4 MiB of them.
    assert!(cost.peak < 5 << 20, "{cost:?}");
}

#[cfg(feature = "deflate")]
#[test]
#[cfg_attr(miri, ignore)]
fn what_was_compressed_elsewhere_holds_no_more_than_it_is() {
    let ([mut server, _client], _) = agreed(true, &Limits::default());
    server.set_job_size(0);
    let mut compress = |len: usize| {
        server.send(vec![0; len].into()).expect("room");
        let job = server.take_job().expect("it is long");
        let (done, cost) = cost(|| job.run());
        server.finish_job(done);
        drain(&mut server);
        cost
    };
    // The thread has its engine.
    compress(1_000);
    let cost = compress(4 << 20);
    assert!(cost.held < 64 << 10, "{cost:?}");
}

#[cfg(feature = "deflate")]
#[test]
fn a_short_compressed_message_in_progress_holds_no_engine() {
    let ([mut from, _client], _) = agreed(true, &Limits::default());
    from.send(noise(12_000).into()).expect("room");
    let mut slices = [IoSlice::new(&[]); 16];
    let count = from.outbox().slices(&mut slices);
    let frame: Vec<u8> = slices[..count]
        .iter()
        .flat_map(|slice| slice.to_vec())
        .collect();
    let half = [&header(0xc2, frame.len() as u64 - 4)[..], &frame[4..10_004]].concat();
    let ((), left) = cost(|| {
        let ([mut server, client], _) = agreed(true, &Limits::default());
        let ((), cost) = cost(|| {
            server.lend_inbox(Vec::with_capacity(64 << 10));
            for piece in half.chunks(1_000) {
                read(&mut server, piece, |event| panic!("{event:?}"));
            }
            drop(server.reclaim_inbox());
        });
        assert!(cost.held <= 2 * 10_000 + 512, "{cost:?}");
        drop((server, client));
    });
    assert_eq!(left.held, 0, "{left:?}");
}

/// Whatever a thread has to compress and to inflate at once, a handful of engines is left of it.
#[cfg(feature = "deflate")]
#[test]
fn a_thread_keeps_a_handful_of_engines() {
    // Bytes that hardly anything is made of twice.
    let words = |len| {
        let mut state = 1_u32;
        let byte = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(byte).collect::<Vec<u8>>()
    };
    // Too little for the pool of large buffers.
    let noise = words(20_000);
    let compressed = |deflate: Deflate, message: &[u8]| {
        let deflate = deflate.threshold(0);
        let params = Extensions::between(Some(&deflate), Some(&deflate)).deflate();
        let mut from = Connection::new(Role::Client(|| [1, 2, 3, 4]), Limits::default());
        from.set_deflate(&deflate, params.expect("both want it"));
        from.send(message.to_vec().into()).expect("room");
        drain(&mut from);
    };
    // Each on a thread of its own, that has none.
    let ours = (1..=6).map(|level| Deflate::new().level(level));
    let strategies = [
        Strategy::Filtered,
        Strategy::HuffmanOnly,
        Strategy::Rle,
        Strategy::Fixed,
    ];
    let zlibs = strategies.map(|strategy| Deflate::new().strategy(strategy));
    let zlibs = (7..=9)
        .map(|level| Deflate::new().level(level))
        .chain(zlibs);
    let (ours, zlibs): (Vec<_>, Vec<_>) = (ours.collect(), zlibs.collect());
    for (bits, [two, four]) in [(12, [150 + 120, 4 * 170]), (15, [150 + 120, 4 * 285])] {
        for (settings, most) in [(&ours, two), (&zlibs, four)] {
            let (compressed, noise, settings) = (compressed, noise.clone(), settings.clone());
            let work = move || {
                let ((), left) = cost(|| {
                    for deflate in settings.repeat(3) {
                        let deflate = deflate.client_max_window_bits(bits);
                        compressed(deflate.server_max_window_bits(bits), &noise);
                    }
                });
                assert!(left.held <= most << 10, "{bits} bits: {left:?}");
                assert!(
                    left.held > most << 9,
                    "{bits} bits, too few are kept: {left:?}"
                );
            };
            std::thread::spawn(work).join().expect("no panic");
        }
    }

    let ([mut from, _client], _) = agreed(true, &Limits::default());
    from.send(words(20_000).into()).expect("room");
    let mut slices = [IoSlice::new(&[]); 16];
    let count = from.outbox().slices(&mut slices);
    let frame: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
    let (half, rest) = frame[4..].split_at(18_000);
    let half = [&header(0xc2, frame.len() as u64 - 4)[..], half].concat();
    let rest = rest.to_vec();
    let work = move || {
        let begin = || {
            let ([mut server, _client], _) = agreed(true, &Limits::default());
            server.lend_inbox(Vec::with_capacity(64 << 10));
            read(&mut server, &half, |event| panic!("{event:?}"));
            server
        };
        let ((), left) = cost(|| {
            // All of them have one at the same time.
            let all: Vec<_> = (0..10).map(|_| begin()).collect();
            for mut server in all {
                read(&mut server, &rest, |_| {});
            }
        });
        // And the buffer that is inflated to.
        assert!(left.held <= (4 * 48 + 32) << 10, "{left:?}");
        assert!(left.held > 3 * (40 << 10), "too few are kept: {left:?}");
    };
    std::thread::spawn(work).join().expect("no panic");
}
