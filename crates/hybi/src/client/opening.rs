//! The opening handshake: the request, the way to the server, the answer, and where that leads.
//!
//! To open a transport and to ask over it are two steps, so that any transport will do.

use std::future::IntoFuture;
use std::io;
use std::pin::{Pin, pin};

use bytes::Bytes;
use http::{Request, Response};
use hybi_proto::handshake::server::Via;
use hybi_proto::handshake::{Key, ResponseError, Target, client, head};

use super::connect::{Connect, ConnectInfo, Connector};
use super::redirect::{self, Redirect};
use crate::connect::Place;
use crate::entropy;
use crate::error::{HandshakeError, Result};
use crate::exchange::{self, Deadline};
use crate::http2;
use crate::io::{Io, Stream};
use crate::shared::Agreed;
use crate::socket::{Role, WebSocket};

/// What is asked for, and where.
struct Question {
    target: Target,
    options: client::Options,
}

/// What a server has answered, head only.
struct Answered<S> {
    stream: S,
    /// None over HTTP/2, where it is not needed.
    key: Option<Key>,
    response: Response<()>,
    /// What came behind the head.
    rest: Vec<u8>,
}

impl Connect {
    /// Connects, and gives what the server has answered, too: its headers are not kept with the
    /// connection.
    ///
    /// ```no_run
    /// # async fn run() -> hybi::Result<()> {
    /// let (ws, response) = hybi::connect("ws://127.0.0.1:9001/").with_response().await?;
    /// println!("{:?}", response.headers().get("server"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: a dropped call drops the connection that it was about to open.
    ///
    /// # Errors
    ///
    /// As awaiting it.
    pub async fn with_response(self) -> Result<(WebSocket, Response<()>)> {
        Box::pin(self.open(&self.url)).await
    }

    /// Runs the handshake over a stream that is already connected; the URL's host is only sent.
    /// No redirect is followed.
    ///
    /// Cancel safe: a dropped call drops the stream with it.
    ///
    /// # Errors
    ///
    /// As awaiting it, but for those of connecting. [`http2`](Self::http2) cannot run over a
    /// stream of another type than it gives: have a [`connector`](Self::connector) give the stream.
    pub async fn over<S: Io>(self, stream: S) -> Result<WebSocket<S>> {
        if self.http2 {
            let why = "HTTP/2 needs its stream from a connector, not by `over`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
        }
        let question = self.question(&self.url)?;
        let request = question.request(Via::Http1)?;
        let deadline = self.deadline();
        let answer = self.ask(request, stream, ConnectInfo::default());
        let answered = deadline.run(pin!(answer)).await?;
        Ok(self.judge(question, answered, deadline).await?.0)
    }

    /// Connects to this URL, with all else as it was chosen.
    pub(crate) async fn open(&self, url: &str) -> Result<(WebSocket, Response<()>)> {
        let mut question = self.question(url)?;
        let deadline = self.deadline();
        let mut followed = 0;
        let opened: (WebSocket, _) = loop {
            let mut answered = self.answer(&question, deadline).await?;
            let next = self.follow(&question, &mut answered, followed, deadline);
            match next.await? {
                Some(next) => question = next,
                None => break self.judge(question, answered, deadline).await?,
            }
            followed += 1;
        };
        {
            let link = opened.0.handle().lock();
            link.span.peer(|| link.io()?.peer_addr());
        }
        Ok(opened)
    }

    /// Asks over a connection of its own.
    async fn answer(&self, question: &Question, deadline: Deadline) -> Result<Answered<Stream>> {
        // What cannot be asked is found out before anything is connected.
        let request = question.request(Via::Http1)?;
        let answer = async {
            let (stream, via) = self.transport(&question.target, deadline).await?;
            let info = ConnectInfo::of(&stream);
            match via {
                Via::Http2 => {
                    let (_, request) = question.request(via)?;
                    self.ask_over_http2(request, stream, info).await
                }
                _ => self.ask(request, stream, info).await,
            }
        };
        deadline.run(pin!(answer)).await
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.options.get().handshake_timeout)
    }

    /// What is asked for first.
    fn question(&self, url: &str) -> Result<Question> {
        if let Some(fault) = &self.fault {
            return Err(HandshakeError::Header(fault.to_string()).into());
        }
        let (target, options) = (Target::parse(url)?, self.request.clone());
        // With the other credentials, they stay through redirects within one server.
        Ok(match target.credentials() {
            None => Question { target, options },
            Some(credentials) => Question {
                target: target.without_credentials(),
                options: options.credentials(credentials),
            },
        })
    }

    /// A stream to the server, on which nothing was said yet, and what is to be spoken on it.
    async fn transport(&self, target: &Target, deadline: Deadline) -> Result<(Stream, Via)> {
        let wanted = if self.http2 { Via::Http2 } else { Via::Http1 };
        if let Some(Connector(connect)) = &self.connector {
            return Ok((connect(target.uri()?).await?, wanted));
        }
        let place = Place {
            host: target.host(),
            port: target.port(),
            secure: target.secure(),
        };
        let both = [Via::Http2.alpn(), Via::Http1.alpn()];
        let alpn = if self.http2 { &both[..] } else { &both[1..] };
        let dial = &self.client.0.dial;
        let (stream, chosen) = match target.socket() {
            Some(path) => dial.socket(path, place, alpn).await?,
            None => {
                let limits = self.options.get().head;
                dial.host(place, alpn, limits, deadline).await?
            }
        };
        let via = match place.secure && chosen.as_deref() != Some(wanted.alpn()) {
            true => Via::Http1,
            false => wanted,
        };
        Ok((stream, via))
    }

    /// Sends the request and reads the head of the answer.
    async fn ask<S: Io>(
        &self,
        (key, request): (Option<Key>, Request<()>),
        mut stream: S,
        info: ConnectInfo,
    ) -> Result<Answered<S>> {
        let request = self.look(request, info).await?;
        let mut head = Vec::new();
        head::write_request(&request, &mut head);
        exchange::write(&mut stream, &head).await?;
        let limits = self.options.get().head;
        let (response, rest) = exchange::read_response(&mut stream, limits).await?;
        Ok(Answered {
            stream,
            key,
            response,
            rest,
        })
    }

    /// The same over HTTP/2.
    async fn ask_over_http2(
        &self,
        request: Request<()>,
        stream: Stream,
        info: ConnectInfo,
    ) -> Result<Answered<Stream>> {
        let request = self.look(request, info).await?;
        let (response, stream) = http2::ask(stream, request, self.options.get().head).await?;
        Ok(Answered {
            stream,
            key: None,
            response,
            rest: Vec::new(),
        })
    }

    /// Has the caller take a last look at the request.
    async fn look(&self, request: Request<()>, info: ConnectInfo) -> Result<Request<()>> {
        let Some(look) = &self.on_request else {
            return Ok(request);
        };
        let changed = look(request.clone(), info).await?;
        client::compare(&request, &changed).map_err(HandshakeError::Options)?;
        Ok(changed)
    }

    /// Where the answer leads, if it is a redirect that is to be followed.
    async fn follow<S: Io>(
        &self,
        question: &Question,
        answered: &mut Answered<S>,
        followed: usize,
        deadline: Deadline,
    ) -> Result<Option<Question>> {
        let values = &self.client.0;
        let Some(location) = redirect::location(&answered.response) else {
            return Ok(None);
        };
        if values.redirects == 0 {
            return Ok(None);
        }
        if followed == values.redirects {
            let response = answered.read_body(deadline).await;
            return Err(HandshakeError::TooManyRedirects { response }.into());
        }
        let redirect = location.and_then(|location| {
            let (response, options) = (answered.response.clone(), question.options.clone());
            Redirect::new(response, &question.target, options, location)
        });
        let mut redirect = match redirect {
            Ok(redirect) => redirect,
            Err(error) => {
                let response = answered.read_body(deadline).await;
                return Err(HandshakeError::Location { error, response }.into());
            }
        };
        if let Some(follow) = &values.on_redirect
            && !follow(&mut redirect)
        {
            return Ok(None);
        }
        let (target, options) = redirect.into_next();
        Ok(Some(Question { target, options }))
    }

    /// Opens the WebSocket if the answer holds.
    async fn judge<S: Io>(
        &self,
        Question { target, options }: Question,
        mut answered: Answered<S>,
        deadline: Deadline,
    ) -> Result<(WebSocket<S>, Response<()>)> {
        let verdict = client::verify(answered.key.as_ref(), &options, &answered.response);
        let agreed = match verdict {
            Ok(agreed) => agreed,
            Err(error) => {
                let response = Some(match error {
                    ResponseError::Status(_) => answered.read_body(deadline).await,
                    // What comes behind it would be a WebSocket's.
                    _ => Box::new(answered.response.map(|()| Bytes::new())),
                });
                return Err(HandshakeError::Response { error, response }.into());
            }
        };
        let protocol = agreed.protocol.as_deref();
        let uri = target.uri().map(|uri| uri.to_string());
        let uri = uri.unwrap_or_else(|_| target.to_string());
        let agreed = Agreed::new(&uri, protocol, agreed.extensions);
        let Answered {
            stream,
            response,
            rest,
            ..
        } = answered;
        let ws = WebSocket::open(stream, Role::Client, &self.options, &rest, agreed);
        if let Some(source) = self.mask_source {
            ws.handle().lock().connection.set_mask_source(source);
        }
        Ok((ws, response))
    }
}

impl Question {
    /// The request, and its key.
    fn request(&self, via: Via) -> Result<(Option<Key>, Request<()>)> {
        let key = (via == Via::Http1).then(|| Key::from_nonce(entropy::nonce()));
        let request = client::request(&self.target, key.as_ref(), &self.options);
        Ok((key, request.map_err(HandshakeError::Options)?))
    }
}

impl<S: Io> Answered<S> {
    /// The response with its body, for an error.
    async fn read_body(&mut self, deadline: Deadline) -> Box<Response<Bytes>> {
        let (response, rest) = (self.response.clone(), std::mem::take(&mut self.rest));
        exchange::read_body(&mut self.stream, response, rest, deadline).await
    }
}

impl IntoFuture for Connect {
    type Output = Result<WebSocket>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.open(&self.url).await?.0) })
    }
}
