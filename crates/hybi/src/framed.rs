//! The codecs of tokio-util over a WebSocket: the feature `codec`.

use tokio_util::codec::Framed;

use crate::duplex::Duplex;
use crate::io::Io;
use crate::socket::WebSocket;

impl<S: Io> WebSocket<S> {
    /// The frames of a codec of tokio-util over the bytes of this socket, which are those of
    /// [`into_io`](Self::into_io): the codec finds the frames, whatever the messages are. For text,
    /// make one of `ws.into_io().text()`. Needs the feature `codec`.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use futures_util::{SinkExt, StreamExt};
    /// use tokio_util::codec::LinesCodec;
    ///
    /// let (client, server) = hybi::test::pair();
    /// let mut lines = client.into_framed(LinesCodec::new());
    /// let mut peer = server.into_framed(LinesCodec::new());
    /// lines.send("a line").await?;
    /// assert_eq!(peer.next().await.transpose()?.as_deref(), Some("a line"));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_framed<C>(self, codec: C) -> Framed<Duplex<S>, C> {
        Framed::new(self.into_io(), codec)
    }
}
