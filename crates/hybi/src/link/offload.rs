//! Compression: what was agreed on, and what is long, on threads that may block.

use std::pin::Pin;
use std::task::{Context, Poll};

use hybi_proto::connection::Done;
use hybi_proto::handshake::Extensions;
use tokio::runtime::Handle as Runtime;
use tokio::task::{JoinError, JoinHandle};

use super::Link;
use crate::io::Io;
use crate::options::Options;

/// The compression of a piece of a message, which waits for its turn or runs.
pub(super) type Offloaded = JoinHandle<Result<Done, JoinError>>;

impl<S: Io> Link<S> {
    /// Takes note of what the opening handshake has settled.
    pub(crate) fn agree(&mut self, extensions: Extensions, options: &Options) {
        let options = options.get();
        if let Some(params) = extensions.deflate()
            && let Some(deflate) = options.deflate(self.client)
        {
            self.connection.set_deflate(&deflate, params);
            if let Some(bytes) = options.deflate_offload {
                self.connection.set_job_size(bytes);
            }
        }
    }

    /// Whether another thread compresses what is next.
    pub(crate) fn is_offloaded(&self) -> bool {
        self.offloaded.is_some() || self.connection.has_job()
    }

    /// Has compressed elsewhere what is next, if it is long; true if that has been framed.
    #[inline]
    pub(super) fn poll_offloaded(&mut self) -> Poll<bool> {
        if self.is_offloaded() {
            self.poll_job()
        } else {
            Poll::Ready(false)
        }
    }

    #[cold]
    fn poll_job(&mut self) -> Poll<bool> {
        // A job that was taken before this one was given up.
        if self.connection.has_job() {
            // Without a runtime, it is for the next call that has one.
            let Ok(runtime) = Runtime::try_current() else {
                return Poll::Pending;
            };
            let Some(job) = self.connection.take_job() else {
                return Poll::Ready(false);
            };
            let places = self.deadlines.options().deflate_places();
            self.offloaded = Some(runtime.spawn(async move {
                // They are never closed.
                let _place = places.acquire_owned().await;
                tokio::task::spawn_blocking(|| job.run()).await
            }));
        }
        let Some(task) = &mut self.offloaded else {
            return Poll::Ready(false);
        };
        let mut cx = Context::from_waker(&self.waker);
        let Poll::Ready(done) = Pin::new(task).poll(&mut cx) else {
            return Poll::Pending;
        };
        self.offloaded = None;
        match done {
            Ok(Ok(done)) => self.connection.finish_job(done),
            // The runtime ends.
            Ok(Err(_)) | Err(_) => self.connection.lose_job(),
        }
        Poll::Ready(true)
    }
}
