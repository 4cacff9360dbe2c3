//! The future between a driver and a handler: it takes what has come and shows it.
//!
//! While the handler looks, the decoder is detached and the connection is not locked.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::State;
use hybi_proto::decoder::{Decoder, Shown};
use hybi_proto::error::ProtocolError;
use hybi_proto::message::{Event, EventRef, Message};
use hybi_proto::text::Text;

use super::{Handler, Peer};
use crate::driver::Drive;
use crate::error::{Error, Result};
use crate::io::Stream;
use crate::link::Link;
use crate::sender::Sender;
use crate::shared::{Locked, Shared};
use crate::socket::WebSocket;
use crate::wakers::Interest;

/// Shows a handler what comes on a driven connection: what is polled inside of what [`drive`](super::drive) gives.
pub struct Dispatch<H: Handler> {
    sender: Sender,
    /// Until the handler was told of the connection.
    request: Option<Box<Request<()>>>,
    audience: Audience<H>,
    /// How many bytes had been read when all was shown.
    seen: u64,
}

/// A peer that takes as much as it is sent lets its neighbors have a turn when so often much was
/// queued for it and has left.
const TURN: u32 = 4;

/// Who is shown what comes.
struct Audience<H: Handler> {
    handler: Arc<H>,
    state: Option<H::State>,
    /// The handler has failed, or has heard that nothing can be sent: it is shown no more.
    failed: Option<Result<()>>,
    /// Much was queued, or something was refused for that: the handler is to hear when there is
    /// room again.
    choked: bool,
}

/// What there is to be shown.
enum Read {
    /// An event that was found before it was asked for.
    Held,
    /// There is room again.
    Drained,
    /// What has come.
    News,
    /// Nothing, so far.
    Nothing,
    /// The end.
    Closed,
}

// The state is not pinned with the future.
impl<H: Handler> Unpin for Dispatch<H> {}

impl<H: Handler> Future for Drive<Stream, Dispatch<H>> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_by(cx, |dispatch, shared, link, cx| {
            dispatch.get_mut().poll(shared, link, cx)
        })
    }
}

impl<H: Handler> Dispatch<H> {
    /// Shows all there is. The lock is free while the handler looks.
    fn poll<'a>(
        &mut self,
        shared: &'a Shared<Stream>,
        mut link: Locked<'a, Stream>,
        cx: &Context<'_>,
    ) -> (Poll<Result<()>>, Locked<'a, Stream>) {
        let Self {
            sender, audience, ..
        } = self;
        if let Some(request) = self.request.take() {
            drop(link);
            let opened = audience.open(sender, *request);
            link = shared.lock();
            if opened.is_err() {
                return (Poll::Ready(opened), link);
            }
        }
        let mut drained = 0;
        loop {
            match audience.read(&mut link, cx, self.seen, &mut drained) {
                Read::News => {
                    let received = link.received();
                    let mut detached = Detached::new(shared, link);
                    if audience.show_all(sender, &mut detached) {
                        self.seen = received;
                    }
                    link = detached.attach();
                }
                Read::Nothing => return (Poll::Pending, link),
                Read::Held => {
                    let event = link.next();
                    drop(link);
                    if let Some(event) = event {
                        audience.show_held(sender, event);
                    }
                    link = shared.lock();
                }
                Read::Drained => {
                    drop(link);
                    audience.show(sender, Handler::on_drain);
                    link = shared.lock();
                }
                Read::Closed => {
                    drop(link);
                    let result = audience.close(sender);
                    return (Poll::Ready(result), shared.lock());
                }
            }
        }
    }

    pub(crate) fn new(ws: WebSocket, request: Request<()>, handler: Arc<H>) -> Self {
        let (sender, _) = ws.split();
        sender.handle().lock().dispatched = true;
        Self {
            sender,
            request: Some(Box::new(request)),
            audience: Audience {
                handler,
                state: None,
                failed: None,
                choked: false,
            },
            seen: 0,
        }
    }
}

impl<H: Handler> Audience<H> {
    /// Finds what there is to be shown, of which so many bytes were `seen`. Where much is queued,
    /// that is written first, which was done so often in this poll.
    fn read(
        &mut self,
        link: &mut Link<Stream>,
        cx: &Context<'_>,
        seen: u64,
        drained: &mut u32,
    ) -> Read {
        if link.has_ready() {
            return Read::Held;
        }
        if link.connection.state() == State::Closed {
            return Read::Closed;
        }
        link.choked = link.is_choked() && !self.unchoke(link, cx, drained);
        if link.choked {
            return Read::Nothing;
        }
        if std::mem::take(&mut self.choked) && link.connection.state() == State::Open {
            return Read::Drained;
        }
        if link.received() > seen {
            return Read::News;
        }
        link.wait_for_event(cx.waker());
        Read::Nothing
    }

    /// Writes what is queued, and says whether that has made room; otherwise it waits for that.
    #[cold]
    fn unchoke(&mut self, link: &mut Link<Stream>, cx: &Context<'_>, drained: &mut u32) -> bool {
        self.choked = true;
        *drained += 1;
        let before = link.connection.buffered();
        let _ = link.poll_flush();
        // Who is woken for nothing comes back for nothing: this task, too.
        if link.connection.buffered() < before {
            link.pass_on(false, true);
        }
        let over = *drained > TURN;
        if over {
            cx.waker().wake_by_ref();
        }
        let waits = over || link.is_choked();
        if waits {
            link.wait(Interest::Flush, cx.waker());
        }
        !waits
    }

    fn open(&mut self, sender: &Sender, request: Request<()>) -> Result<()> {
        let mut nothing = ();
        let mut peer = Peer::new(sender, &mut nothing);
        self.state = Some(self.handler.on_open(&mut peer, request)?);
        self.choked = peer.refused;
        Ok(())
    }

    /// Shows all that has come, or less if so much is queued that it has to leave first; whether
    /// it was all.
    fn show_all(&mut self, sender: &Sender, detached: &mut Detached<'_>) -> bool {
        while let Some(decoder) = &mut detached.decoder {
            match decoder.next_shown() {
                Ok(Some(Shown::View(EventRef::Message(message)))) => {
                    if self.show(sender, |handler, peer| handler.on_message(peer, message)) {
                        return false;
                    }
                }
                Ok(Some(Shown::Joined(message))) => {
                    if self.show_owned(sender, &message) {
                        return false;
                    }
                }
                Ok(Some(Shown::View(event))) => {
                    sender.handle().lock().respond(&event);
                    if self.show_control(sender, &event) {
                        return false;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    sender.handle().lock().violate(error);
                    break;
                }
            }
        }
        true
    }

    fn show_held(&mut self, sender: &Sender, event: std::result::Result<Event, ProtocolError>) {
        match event {
            Ok(Event::Message(message)) => {
                self.show_owned(sender, &message);
            }
            Ok(Event::Ping(payload)) => {
                self.show_control(sender, &EventRef::Ping(&payload));
            }
            Ok(Event::Pong(payload)) => {
                self.show_control(sender, &EventRef::Pong(&payload));
            }
            Ok(_) => {}
            Err(error) => sender.handle().lock().fail(error),
        }
    }

    fn show_owned(&mut self, sender: &Sender, message: &Message) -> bool {
        self.show_from(sender, Some(message), |handler, peer| {
            handler.on_message(peer, message.into())
        })
    }

    fn show_control(&mut self, sender: &Sender, event: &EventRef<'_>) -> bool {
        match event {
            EventRef::Ping(payload) => {
                self.show(sender, |handler, peer| handler.on_ping(peer, payload))
            }
            EventRef::Pong(payload) => {
                self.show(sender, |handler, peer| handler.on_pong(peer, payload))
            }
            _ => false,
        }
    }

    #[inline]
    fn show(
        &mut self,
        sender: &Sender,
        call: impl FnOnce(&H, &mut Peer<'_, H::State>) -> Result<()>,
    ) -> bool {
        self.show_from(sender, None, call)
    }

    /// Calls the handler, unless it has failed; true if so much is queued that it has to leave.
    #[inline]
    fn show_from(
        &mut self,
        sender: &Sender,
        shown: Option<&Message>,
        call: impl FnOnce(&H, &mut Peer<'_, H::State>) -> Result<()>,
    ) -> bool {
        let (Some(state), None) = (&mut self.state, &self.failed) else {
            return false;
        };
        let mut peer = Peer::new(sender, state);
        peer.shown = shown;
        let result = call(&self.handler, &mut peer);
        let pressed = peer.pressed;
        self.choked |= peer.refused;
        if let Err(error) = result {
            self.fail(sender, error);
        }
        pressed
    }

    #[cold]
    fn fail(&mut self, sender: &Sender, error: Error) {
        // To hear that nothing can be sent any more is no fault of the handler's.
        let told = matches!(error, Error::Closed) && sender.state() != State::Open;
        self.failed = Some(if told { Ok(()) } else { Err(error) });
        // The code is one that may be sent.
        let _ = sender.start_close(CloseCode::INTERNAL, Text::default());
    }

    fn close(&mut self, sender: &Sender) -> Result<()> {
        let (verdict, info) = {
            let mut link = sender.handle().lock();
            (link.verdict(), link.connection.close_info().cloned())
        };
        if let Some(state) = &mut self.state {
            let mut peer = Peer::new(sender, state);
            match verdict {
                // It was ended on this side.
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => self.handler.on_error(&mut peer, error),
            }
            if let Some(info) = info {
                self.handler.on_close(&mut peer, &info);
            }
        }
        self.failed.take().unwrap_or(Ok(()))
    }
}

impl<H: Handler> Drop for Dispatch<H> {
    /// Who panics does not come back for the rest.
    fn drop(&mut self) {
        self.sender.handle().lock().choked = false;
    }
}

/// The receiving half of a connection, while a handler looks at what has come. It goes back even
/// where the handler panics.
struct Detached<'a> {
    shared: &'a Shared<Stream>,
    decoder: Option<Decoder>,
}

impl<'a> Detached<'a> {
    fn new(shared: &'a Shared<Stream>, mut link: Locked<'a, Stream>) -> Self {
        let decoder = Some(link.connection.detach());
        Self { shared, decoder }
    }

    fn attach(mut self) -> Locked<'a, Stream> {
        let mut link = self.shared.lock();
        if let Some(decoder) = self.decoder.take() {
            link.connection.attach(decoder);
        }
        link
    }
}

impl Drop for Detached<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.shared.lock().connection.attach(decoder);
        }
    }
}

impl<H: Handler> fmt::Debug for Dispatch<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}
