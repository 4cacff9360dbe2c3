//! The user's wish to stop: Ctrl-C, and SIGTERM where there is one.
//!
//! From [`Stop::new`] on the signals no longer end the process by themselves.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

/// Hears every wish to stop from the moment it is made.
pub(crate) struct Stop {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(windows)]
    interrupt: CtrlC,
}

impl Stop {
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Stop {
            interrupt,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(windows)]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Stop {
            interrupt: ctrl_c()?,
        })
    }

    /// Waits for the next wish. Cancel safe.
    #[cfg(unix)]
    pub(crate) async fn wish(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for the next wish. Cancel safe.
    #[cfg(windows)]
    pub(crate) async fn wish(&mut self) {
        let _ = self.interrupt.recv().await;
    }
}
