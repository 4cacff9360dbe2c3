//! What a WebSocket is to tell of a stream, beside what it tells.

use hybi::Error;
use hybi_proto::error::ProtocolError;
use hybi_proto::message::{Event, Message};

/// What has come and was told so far.
pub struct Heard {
    events: Vec<Event>,
    messages: Vec<Message>,
    controls: Vec<Event>,
    fault: Option<ProtocolError>,
    /// How many of each were told.
    event: usize,
    message: usize,
    control: usize,
    /// Only whole events were asked for, so that none was passed by.
    exact: bool,
    /// Messages were thrown away, as a close does.
    discards: bool,
    /// A message was asked for in parts: of a compressed one a fault is found sooner.
    parted: bool,
    /// The rest of a message that is at fault, or not whole, was thrown away: who knows what follows.
    lost: bool,
    told: Option<Told>,
    error: Option<ProtocolError>,
    /// What may end the connection other than the peer's frames.
    pub excuses: Excuses,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Clean,
    Fault,
}

#[derive(Default)]
pub struct Excuses {
    /// The transport fails to write.
    pub writes: bool,
    /// It fails to read, before all has come.
    pub reads: bool,
    pub aborted: bool,
}

impl Heard {
    /// The stream has this meaning.
    pub fn new(trace: Vec<Result<Event, ProtocolError>>) -> Self {
        let fault = trace.last().and_then(|event| event.clone().err());
        let events: Vec<_> = trace.into_iter().flatten().collect();
        let mut messages = Vec::new();
        let mut controls = Vec::new();
        for event in &events {
            match event {
                Event::Message(message) => messages.push(message.clone()),
                control => controls.push(control.clone()),
            }
        }
        Self {
            events,
            messages,
            controls,
            fault,
            event: 0,
            message: 0,
            control: 0,
            exact: true,
            discards: false,
            parted: false,
            lost: false,
            told: None,
            error: None,
            excuses: Excuses::default(),
        }
    }

    pub fn told(&self) -> Option<Told> {
        self.told
    }

    /// Something else than whole events is asked for.
    pub fn passes_by(&mut self) {
        self.exact = false;
    }

    /// Messages that come are thrown away.
    pub fn discards(&mut self) {
        (self.exact, self.discards) = (false, true);
    }

    pub fn event(&mut self, event: &Event) {
        if self.exact {
            assert_eq!(self.events.get(self.event), Some(event));
            self.event += 1;
        }
        match event {
            Event::Message(message) => self.message(message),
            control if !self.lost => {
                let rest = &self.controls[self.control..];
                let at = rest.iter().position(|expected| expected == control);
                self.control += at.expect("it came, and was not told yet") + 1;
            }
            _ => {}
        }
    }

    pub fn message(&mut self, message: &Message) {
        if self.lost {
            return;
        }
        let rest = &self.messages[self.message..];
        if self.discards {
            let at = rest.iter().position(|expected| expected == message);
            self.message += at.expect("it came, and was not told yet");
        } else {
            assert_eq!(rest.first(), Some(message));
        }
        self.message += 1;
    }

    /// A message is read in parts; what is expected of it, if it comes as a whole.
    pub fn begin(&mut self) -> Option<Message> {
        (self.exact, self.parted) = (false, true);
        let message = self.messages.get(self.message).cloned();
        self.message += usize::from(message.is_some());
        message.filter(|_| !self.lost && !self.discards)
    }

    /// So much of it was read: all of it, or what came before the reader was dropped.
    pub fn parts(&mut self, expected: Option<&Message>, bytes: &[u8], over: bool) {
        let sure = !self.lost && !self.discards;
        match expected {
            Some(expected) if over => assert_eq!(bytes, expected.as_bytes()),
            Some(expected) => assert!(expected.as_bytes().starts_with(bytes)),
            None => {
                assert!(!(over && sure), "it never came as a whole");
                self.lost = true;
            }
        }
    }

    /// The bytes of all messages that were not told, if that is known.
    pub fn rest(&self) -> Option<Vec<u8>> {
        let rest = self.messages[self.message..].iter();
        let bytes = rest.flat_map(|message| message.as_bytes()).copied();
        (!self.lost && !self.discards).then(|| bytes.collect())
    }

    /// All that came was told.
    pub fn is_all(&self) {
        if !self.lost && !self.discards {
            assert_eq!(self.messages.get(self.message), None);
        }
    }

    /// The connection has ended.
    pub fn end(&mut self, end: Result<(), &Error>) {
        let before = self.told;
        let clean = match end {
            Ok(()) => {
                assert_ne!(before, Some(Told::Fault));
                if !self.lost {
                    assert!(matches!(self.events.last(), Some(Event::Close(_))));
                }
                self.is_all();
                self.told = Some(Told::Clean);
                return;
            }
            Err(Error::Closed) => {
                assert!(before == Some(Told::Fault) || self.excuses.aborted);
                false
            }
            Err(Error::Protocol(error)) => {
                let stalled = *error == ProtocolError::MessageStalled;
                let unsure = self.parted || self.lost;
                assert!(stalled || unsure || self.fault == Some(*error), "{error}");
                self.error = Some(*error);
                !stalled
            }
            Err(Error::Io(_)) => !self.excuses.writes && !self.excuses.reads,
            Err(Error::Timeout(_)) => false,
            Err(error) => panic!("{error}"),
        };
        if clean {
            self.is_all();
        }
        if !matches!(end, Err(Error::Closed)) {
            assert_eq!(before, None, "an error is told once");
        }
        self.told = Some(Told::Fault);
    }

    /// The peer's fault that was told.
    pub fn told_error(&self) -> Option<ProtocolError> {
        self.error
    }

    /// The payloads of the pings that came.
    pub fn pings(&self) -> impl Iterator<Item = &[u8]> {
        self.controls.iter().filter_map(|control| match control {
            Event::Ping(payload) => Some(&payload[..]),
            _ => None,
        })
    }
}
