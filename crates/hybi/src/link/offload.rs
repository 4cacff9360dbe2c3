//! Compression: what was agreed on, and what is long, on threads that may block.

use std::pin::Pin;
use std::task::{Context, Poll};

use hybi_proto::connection::{Done, Job};
use hybi_proto::handshake::Extensions;
use tokio::runtime::Handle as Runtime;
use tokio::task::{JoinError, JoinHandle};

use super::Link;
use crate::io::Io;
use crate::options::Options;

/// The compression of a piece of a message, which waits for its turn or runs. Dropped, it gives its
/// turn up.
#[derive(Debug)]
pub(super) struct Offloaded(JoinHandle<Result<Done, JoinError>>);

impl Drop for Offloaded {
    fn drop(&mut self) {
        self.0.abort();
    }
}

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
        self.connection.awaits_job()
    }

    /// The number of the last message that is queued: so many are framed when it is.
    pub(crate) fn last_message(&self) -> u64 {
        self.connection.messages_sent() + self.connection.unframed() as u64
    }

    /// Has compressed elsewhere what is next, if it is long; true if that has been framed.
    #[inline]
    pub(super) fn poll_offloaded(&mut self) -> Poll<bool> {
        if self.is_offloaded() || self.offloaded.is_some() {
            self.poll_job()
        } else {
            Poll::Ready(false)
        }
    }

    #[cold]
    fn poll_job(&mut self) -> Poll<bool> {
        if !self.is_offloaded() {
            // It was given up.
            self.offloaded = None;
            return Poll::Ready(false);
        }
        if let Some(job) = self.connection.take_job() {
            let Ok(runtime) = Runtime::try_current() else {
                // Nobody but who calls would see to it.
                self.connection.finish_job(job.run());
                return Poll::Ready(true);
            };
            self.offloaded = Some(self.offload(&runtime, job));
        }
        let Some(Offloaded(task)) = &mut self.offloaded else {
            self.connection.lose_job();
            return Poll::Ready(true);
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

    fn offload(&self, runtime: &Runtime, job: Job) -> Offloaded {
        let places = self.deadlines.options().deflate_places();
        Offloaded(runtime.spawn(async move {
            // They are never closed.
            let place = places.acquire_owned().await;
            let run = move || {
                let done = job.run();
                // Who gives up while it runs does not make room for another.
                drop(place);
                done
            };
            tokio::task::spawn_blocking(run).await
        }))
    }
}
