//! The two halves of a WebSocket, and the two debts between them: a ping is owed a pong, a close
//! is owed a close.
//!
//! Whoever owns the socket loops over four verbs: fill [`inbox`](Connection::inbox), take
//! [`next`](Connection::next), `send`, drain [`outbox`](Connection::outbox).

mod job;
mod parts;
mod offer;

use bytes::{Bytes, buf::Limit};

use crate::close::{Close, CloseInfo, Initiator};
use crate::code::CloseCode;
use crate::decoder::{Decoder, Door, Found};
use crate::deflate::{Compressor, Deflate, Inflater, MAX_BITS, Params};
use crate::encoder::{Encoder, MaskSource};
use crate::error::{ProtocolError, SendError};
use crate::frame::{MAX_CONTROL, Opcode};
use crate::limits::Limits;
use crate::message::{Event, EventRef, Message, Part};
use crate::outbox::Outbox;
use crate::queue::{Dropped, Queue};
use crate::text::Text;

pub use job::{Done, Job};
use parts::Outgoing;

/// Which end of the connection this is; a client says where its mask keys come from.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Accepted the connection; takes masked frames and sends unmasked ones.
    Server,
    /// Began the connection; masks each frame with a fresh key from this source.
    Client(MaskSource),
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Messages may pass both ways.
    Open,
    /// One close frame has passed: nothing can be sent any more, messages may still come.
    Closing,
    /// Both close frames have passed, or the connection has failed: nothing comes any more.
    Closed,
}

/// One WebSocket connection after its opening handshake, without I/O.
///
/// ```
/// use bytes::BufMut;
/// use hybi_proto::{connection::{Connection, Role}, limits::Limits, message::{EventRef, MessageRef}};
///
/// let mut server = Connection::new(Role::Server, Limits::default());
/// // RFC 6455 §5.7: a single-frame masked text message.
/// server.inbox().put_slice(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
/// assert_eq!(server.next()?, Some(EventRef::Message(MessageRef::Text("Hello"))));
/// server.send("Hello".into())?;
/// assert_eq!(server.outbox().len(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    decoder: Decoder,
    encoder: Encoder,
    outbox: Outbox,
    backlog: usize,
    auto_pong: bool,
    holds_close: bool,
    close_sent: bool,
    close_received: bool,
    failed: bool,
    sent: u64,
    /// A longer message takes its time, and leaves in fragments.
    whole: usize,
    rare: Option<Box<Rare>>,
}

/// What few connections need, and those late.
#[derive(Debug, Default)]
struct Rare {
    info: Option<CloseInfo>,
    /// Pongs queued since the socket took no more, or since those before them have left.
    pongs: u8,
    /// The bytes up to the end of the last one.
    pongs_end: usize,
    /// The newest ping that could not be answered yet.
    ping: Option<Bytes>,
    /// Messages that are not framed yet. While there are some, the outbox is not empty.
    queue: Queue,
    dropped: Dropped,
    /// The message that is leaving in fragments. Whatever else is sent waits in the queue.
    outgoing: Option<Outgoing>,
    /// The bytes of the outbox up to the end of the last message that was framed late.
    end: usize,
    /// What another thread is to compress, and how often that was.
    job: Option<Job>,
    jobs: u32,

    /// The close frame that follows all that waits.
    farewell: Option<Option<Close>>,
    /// The close frame of the peer's that is not answered yet.
    owed: Option<Option<Close>>,
}

/// The pongs that may wait on a socket that takes no more; then only the newest ping is answered,
/// when they have left.
const PONGS: u8 = 16;

/// A larger message leaves in fragments of this size, in bytes, so that a control frame never waits
/// behind more, and a client does not mask all of it at once.
const FRAGMENT: usize = 1 << 20;

impl Connection {
    /// A connection whose opening handshake is done.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // they are given away, in whatever form they are kept
    pub fn new(role: Role, limits: Limits) -> Self {
        let masks = match role {
            Role::Server => None,
            Role::Client(masks) => Some(masks),
        };
        Self {
            backlog: limits.backlog,
            decoder: Decoder::new(masks.is_none(), &limits),
            encoder: Encoder::new(masks),
            outbox: Outbox::default(),
            auto_pong: true,
            holds_close: false,
            close_sent: false,
            close_received: false,
            failed: false,
            sent: 0,
            whole: FRAGMENT,
            rare: None,
        }
    }

    /// Where mask keys come from, from now on; a server has none.
    pub fn set_mask_source(&mut self, source: MaskSource) {
        self.encoder.set_mask_source(source);
    }

    /// Compresses messages from now on, and takes compressed ones, as was agreed on.
    pub fn set_deflate(&mut self, deflate: &Deflate, params: Params) {
        let server = (
            params.server_max_window_bits.unwrap_or(MAX_BITS),
            !params.server_no_context_takeover,
        );
        let client = (
            params.client_max_window_bits.unwrap_or(MAX_BITS),
            !params.client_no_context_takeover,
        );
        let (ours, theirs) = if self.encoder.is_client() {
            // A client may do with less than it was allowed.
            let bits = client.0.min(deflate.client_max_window_bits);
            let takeover = client.1 && !deflate.client_no_context_takeover;
            ((bits, takeover), server)
        } else {
            (server, client)
        };
        let inflater = Inflater::new(deflate, theirs.0, theirs.1);
        self.decoder.set_inflater(inflater);
        if let Some(compressor) = Compressor::new(deflate, ours.0, ours.1) {
            self.encoder.set_compressor(compressor);
        }
    }

    /// Whether pings are answered by themselves (default yes, as RFC 6455 §5.5.2 demands);
    /// without it the caller has to [`pong`](Self::pong).
    pub fn set_auto_pong(&mut self, on: bool) {
        self.auto_pong = on;
    }

    /// Whether a close frame of the peer's is left unanswered until [`answer`](Self::answer)
    /// (default no), because something is about to be sent that came to be before it. RFC 6455
    /// §5.5.1: an endpoint MAY delay sending a Close frame until its current message is sent.
    pub fn hold_close(&mut self, on: bool) {
        self.holds_close = on;
    }

    /// Whether the peer has closed and was not answered.
    #[must_use]
    #[inline]
    pub fn owes_close(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.owed.is_some())
    }

    /// Answers the close frame that was held, if there is one.
    pub fn answer(&mut self) {
        if let Some(rare) = &mut self.rare
            && let Some(close) = rare.owed.take()
        {
            self.answer_close(close.as_ref());
        }
    }

    /// Where the next bytes from the peer go: append to it; at least one byte fits.
    #[inline]
    pub fn inbox(&mut self) -> Limit<&mut Vec<u8>> {
        self.decoder.inbox()
    }

    /// The number of bytes that have come and were not looked at yet.
    #[must_use]
    #[inline]
    pub fn unread(&self) -> usize {
        self.decoder.unread()
    }

    /// Whether what has come was whole messages, and all of them were taken.
    #[must_use]
    #[inline]
    pub fn is_at_rest(&self) -> bool {
        self.decoder.is_at_rest()
    }

    /// Whether the peer stands in the middle of a frame or a message and owes us the rest.
    #[must_use]
    #[inline]
    pub fn is_midway(&self) -> bool {
        self.decoder.is_midway()
    }

    /// The bytes that wait to leave. Messages that are not framed yet follow as it is drained.
    #[inline]
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The number of bytes that wait to leave, framing included; a message that is not framed yet
    /// counts with what it takes to hold it.
    #[must_use]
    #[inline]
    pub fn buffered(&self) -> usize {
        let unframed = |rare: &Rare| {
            let outgoing = rare.outgoing.as_ref();
            rare.queue.len() + outgoing.map_or(0, |outgoing| outgoing.rest.len())
        };
        self.outbox.len() + self.rare.as_deref().map_or(0, unframed)
    }

    /// Whether the backlog is full: a message would not be admitted.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.buffered() >= self.backlog
    }

    /// Lends a read buffer; what is unread moves into it. An idle connection needs none.
    #[inline]
    pub fn lend_inbox(&mut self, buffer: Vec<u8>) {
        self.decoder.lend(buffer);
    }

    /// Takes the read buffer away; what is unread in it is copied into one of its size.
    #[inline]
    pub fn reclaim_inbox(&mut self) -> Vec<u8> {
        self.decoder.reclaim()
    }

    /// Takes the next event, as a view into the read buffer; `None` asks for more bytes.
    ///
    /// # Errors
    ///
    /// The peer broke a rule. This is said once: the close frame is queued, nothing can be sent
    /// any more, and whatever still comes is ignored.
    #[inline]
    #[allow(clippy::should_implement_trait)] // an iterator cannot lend, nor end and go on
    pub fn next(&mut self) -> Result<Option<EventRef<'_>>, ProtocolError> {
        if let Some((kind, at)) = self.decoder.find_plain(Door::Borrowed) {
            return Ok(Some(EventRef::Message(self.decoder.message_at(kind, at))));
        }
        let found = self.advance(Door::Borrowed)?;
        Ok(found.map(|found| self.decoder.view(found)))
    }

    /// As [`next`](Self::next), as an event that can be kept: a payload that lies in the read
    /// buffer is copied into an allocation of its size, a larger one has its own already.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    #[inline]
    pub fn next_owned(&mut self) -> Result<Option<Event>, ProtocolError> {
        if let Some((kind, at)) = self.decoder.find_plain(Door::Owned) {
            return Ok(Some(Event::Message(self.decoder.copy_at(kind, at))));
        }
        let found = self.advance(Door::Owned)?;
        Ok(found.map(|found| self.decoder.take(found)))
    }

    /// As [`next_owned`](Self::next_owned), but nothing other than a message that is one frame, not
    /// long, and here as a whole; what most are.
    #[inline]
    pub fn next_plain(&mut self) -> Option<Message> {
        let (kind, at) = self.decoder.find_plain(Door::Owned)?;
        Some(self.decoder.copy_at(kind, at))
    }

    /// As [`next_owned`](Self::next_owned), but a message comes in parts: each [`Event::Part`] is
    /// what is here of it, for messages that memory should not hold; of one that was compressed it is
    /// less than 96 KiB. Text is cut between two characters. The limit holds for the whole of it.
    ///
    /// Whoever goes on with `next` or `next_owned` in the middle of a message is spared the rest, as
    /// after [`skip`](Self::skip).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn next_part(&mut self) -> Result<Option<Event>, ProtocolError> {
        loop {
            let found = self.decoder.step(Door::Parts);
            let event = match self.settle(found)? {
                Some(Found::Message(..)) if self.decoder.is_skipped() => continue,
                Some(found) => match self.decoder.take(found) {
                    Event::Message(message) => Event::Part(Part {
                        kind: message.kind(),
                        bytes: message.into_bytes(),
                        last: true,
                    }),
                    event => event,
                },
                None => {
                    let part = match self.decoder.take_part() {
                        Ok(part) => part,
                        Err(error) => {
                            self.fail(error);
                            return Err(error);
                        }
                    };
                    if self.decoder.is_skipped() {
                        if self.decoder.has_more() {
                            continue;
                        }
                        return Ok(None);
                    }
                    return Ok(part.map(Event::Part));
                }
            };
            return Ok(Some(event));
        }
    }

    /// Spares the caller the rest of the message of which [parts](Self::next_part) were taken.
    pub fn skip(&mut self) {
        self.decoder.skip();
    }

    /// Takes the receiving half away, so that what has come can be looked at while others send.
    /// Nothing comes until it is [attached](Self::attach) again.
    ///
    /// ```
    /// # use bytes::BufMut;
    /// # use hybi_proto::{connection::{Connection, Role}, limits::Limits, message::EventRef};
    /// # let mut connection = Connection::new(Role::Server, Limits::default());
    /// # connection.inbox().put_slice(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    /// let mut decoder = connection.detach();
    /// loop {
    ///     match decoder.next() {
    ///         Ok(Some(EventRef::Message(message))) => connection.send_ref(message)?,
    ///         Ok(Some(event)) => connection.respond(&event),
    ///         Ok(None) => break,
    ///         Err(error) => connection.fail(error),
    ///     }
    /// }
    /// connection.attach(decoder);
    /// # assert_eq!(connection.outbox().len(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn detach(&mut self) -> Decoder {
        let stand_in = self.decoder.stand_in();
        std::mem::replace(&mut self.decoder, stand_in)
    }

    /// Gives the receiving half back. If the connection has failed meanwhile, what has come is
    /// ignored.
    #[inline]
    pub fn attach(&mut self, decoder: Decoder) {
        self.decoder = decoder;
        if self.failed {
            self.decoder.silence();
        }
    }

    /// Answers what a [detached](Self::detach) decoder has found: a ping with a pong, a close
    /// with a close.
    pub fn respond(&mut self, event: &EventRef<'_>) {
        match event {
            EventRef::Ping(payload) => self.answer_ping(payload),
            EventRef::Close(close) if self.holds_close && !self.close_sent => {
                self.rare().owed = Some(close.clone());
            }
            EventRef::Close(close) => self.answer_close(close.as_ref()),
            EventRef::Message(_) | EventRef::Pong(_) => {}
        }
    }

    fn advance(&mut self, door: Door) -> Result<Option<Found>, ProtocolError> {
        let found = self.decoder.advance(door);
        self.settle(found)
    }

    /// Pays what the peer is owed for what was found.
    #[inline]
    fn settle(
        &mut self,
        found: Result<Option<Found>, ProtocolError>,
    ) -> Result<Option<Found>, ProtocolError> {
        match found {
            Ok(None | Some(Found::Message(..) | Found::Pong(_))) => found,
            found => self.pay(found),
        }
    }

    #[cold]
    fn pay(
        &mut self,
        found: Result<Option<Found>, ProtocolError>,
    ) -> Result<Option<Found>, ProtocolError> {
        match &found {
            Ok(Some(Found::Ping(at))) => {
                let mut payload = [0; MAX_CONTROL];
                let ping = self.decoder.control_payload(at.clone());
                let payload = &mut payload[..ping.len()];
                payload.copy_from_slice(ping);
                self.respond(&EventRef::Ping(payload));
            }
            Ok(Some(Found::Close(at))) => {
                let close = self.decoder.close(at.clone());
                self.respond(&EventRef::Close(close));
            }
            Err(error) => self.fail(*error),
            Ok(_) => {}
        }
        found
    }

    /// §5.5.2: upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response,
    /// unless it already received a Close frame.
    fn answer_ping(&mut self, payload: &[u8]) {
        // §5.5.1: the application MUST NOT send any more frames after sending a Close frame.
        if !self.auto_pong || self.close_sent {
            return;
        }
        if !self.outbox.is_blocked() {
            // The answer to this ping answers those before it.
            if let Some(rare) = &mut self.rare {
                (rare.pongs, rare.ping) = (0, None);
            }
            self.encoder.frame(Opcode::Pong, payload, &mut self.outbox);
            return;
        }
        let rare = self.rare.get_or_insert_default();
        if rare.pongs == PONGS {
            // §5.5.3: it MAY elect to send a Pong frame for only the most recently processed Ping.
            rare.ping = Some(Bytes::copy_from_slice(payload));
            return;
        }
        rare.pongs += 1;
        self.encoder.frame(Opcode::Pong, payload, &mut self.outbox);
        rare.pongs_end = self.outbox.len();
    }

    fn answer_close(&mut self, close: Option<&Close>) {
        self.close_received = true;
        let initiator = if self.close_sent {
            Initiator::Local
        } else {
            Initiator::Peer
        };
        let (code, reason) = match close {
            Some(close) => (close.code(), close.reason().clone()),
            None => (CloseCode::NO_STATUS, Text::default()),
        };
        self.end(CloseInfo {
            code,
            reason,
            initiator,
            clean: true,
        });
        // §5.5.1: if an endpoint receives a Close frame and did not previously send one, it MUST
        // send one in response, and typically echoes the status code it received.
        if !self.close_sent {
            self.push_close(close);
        }
    }

    /// Whether what is sent now has to wait until something else is framed.
    #[inline]
    fn has_queue(&self) -> bool {
        let waits = |rare: &Rare| !rare.queue.is_empty() || rare.outgoing.is_some();
        self.rare.as_deref().is_some_and(waits)
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Queues a ping of at most 125 bytes, before all that is not framed yet.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`]; [`SendError::Full`] while the backlog is full of frames, and
    /// [`SendError::Closed`] after a close.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.control(Opcode::Ping, payload)
    }

    /// Queues a pong of at most 125 bytes that answers a ping, or none (RFC 6455 §5.5.3).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.control(Opcode::Pong, payload)
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > MAX_CONTROL {
            return Err(SendError::ControlTooLong);
        }
        if self.close_sent {
            return Err(SendError::Closed);
        }
        // It passes what is not framed.
        if self.outbox.len() >= self.backlog {
            return Err(SendError::Full);
        }
        self.encoder.frame(opcode, payload, &mut self.outbox);
        Ok(())
    }

    /// Begins the closing handshake (RFC 6455 §7.1.2): queues a close frame, without a code if
    /// there is none, behind what is queued, however much that is. A second call changes nothing.
    pub fn close(&mut self, close: Option<&Close>) {
        self.answer();
        if !self.close_sent {
            self.push_close(close);
        }
    }

    /// Ends the connection for a fault of the peer's that only the caller could see, such as
    /// [`ProtocolError::MessageStalled`]: queues the close frame and ignores what still comes.
    pub fn fail(&mut self, error: ProtocolError) {
        self.decoder.silence();
        self.failed = true;
        let close = Close::new(error.close_code(), Text::default()).ok();
        self.end(CloseInfo {
            code: error.close_code(),
            reason: Text::default(),
            initiator: Initiator::Local,
            clean: false,
        });
        self.close(close.as_ref());
    }

    /// A close frame follows all that waits. What waits for a message that has begun to leave and
    /// was not finished waits in vain.
    fn push_close(&mut self, close: Option<&Close>) {
        self.close_sent = true;
        if let Some(rare) = &mut self.rare
            && let Some(outgoing) = rare.outgoing.take_if(|outgoing| !outgoing.last)
        {
            rare.job = None;
            if outgoing.opcode == Opcode::Continuation {
                rare.dropped.closed += std::mem::take(&mut rare.queue).count() as u64;
            } else {
                self.encode_unbegun();
            }
        }
        if self.has_queue() {
            self.rare().farewell = Some(close.cloned());
        } else {
            self.encode_close(close);
        }
    }

    fn encode_close(&mut self, close: Option<&Close>) {
        let mut room = [0; MAX_CONTROL];
        let payload = close.map_or(&[][..], |close| close.encode(&mut room));
        self.encoder.frame(Opcode::Close, payload, &mut self.outbox);
    }

    /// Drops all that waits to leave: nothing can be written any more.
    pub fn clear(&mut self) {
        self.outbox.clear();
        if let Some(rare) = &mut self.rare {
            rare.queue = Queue::default();
            (rare.outgoing, rare.job, rare.farewell) = (None, None, None);
        }
    }

    /// Says that the transport has ended or broken: nothing comes or goes any more.
    pub fn lost(&mut self) {
        self.answer();
        self.decoder.silence();
        self.clear();
        self.failed = true;
        let initiator = if self.close_sent {
            Initiator::Local
        } else {
            Initiator::Peer
        };
        self.close_sent = true;
        self.end(CloseInfo {
            // §7.1.5: if no Close control frame was received, the close code is 1006.
            code: CloseCode::ABNORMAL,
            reason: Text::default(),
            initiator,
            clean: false,
        });
    }

    /// The first end is the one that counts.
    fn end(&mut self, info: CloseInfo) {
        self.rare().info.get_or_insert(info);
    }

    /// Says that the first `n` bytes of the outbox have left, frames messages that waited for
    /// that, and queues the pong that did.
    #[inline]
    pub fn sent(&mut self, n: usize) {
        self.outbox.advance(n);
        if self.rare.is_some() {
            self.follow(n);
        }
    }

    fn follow(&mut self, n: usize) {
        if let Some(rare) = &mut self.rare {
            rare.end = rare.end.saturating_sub(n);
        }
        self.encode_queue(self.framed());
        let Some(rare) = &mut self.rare else {
            return;
        };
        rare.pongs_end = rare.pongs_end.saturating_sub(n);
        if rare.pongs_end > 0 {
            return;
        }
        rare.pongs = 0;
        if let Some(ping) = rare.ping.take()
            && !self.close_sent
        {
            self.encoder.frame(Opcode::Pong, &ping, &mut self.outbox);
            rare.pongs_end = self.outbox.len();
        }
    }

    /// The number of messages that have come, seen or not.
    #[must_use]
    pub fn messages_received(&self) -> u64 {
        self.decoder.messages()
    }

    /// The number of messages that were framed.
    #[must_use]
    pub fn messages_sent(&self) -> u64 {
        self.sent
    }

    /// Where the connection stands.
    ///
    /// ```text
    ///             close() or a close frame came (answered at once)
    ///   Open ──────────────────────────────────────────────┐
    ///    │ fail(), lost(), a rule broken                    ▼
    ///    │                                    one sent, none came: Closing
    ///    │                                                  │ a close frame came,
    ///    ▼                                                  ▼ fail(), lost()
    ///  Closed ◄──────────────────────────────────────── Closed
    /// ```
    #[must_use]
    #[inline]
    pub fn state(&self) -> State {
        match (self.close_sent, self.close_received || self.failed) {
            (_, true) => State::Closed,
            (true, false) => State::Closing,
            (false, false) => State::Open,
        }
    }

    /// How the connection ended, once it has.
    #[must_use]
    pub fn close_info(&self) -> Option<&CloseInfo> {
        self.rare.as_ref()?.info.as_ref()
    }
}
