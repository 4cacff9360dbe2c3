//! A server in a process of its own, on core 0.

use std::env;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::args::Server;

/// A running server; dropped, it ends.
pub struct Process {
    child: Child,
    pub port: u16,
}

impl Process {
    /// Starts it, by the command `wrapper` if that has words.
    pub fn start(server: &Server, wrapper: &[&str]) -> io::Result<Self> {
        let port = free_port()?;
        let command = server.command.replace("{port}", &port.to_string());
        // taskset and the wrappers put the server in their place: the process is the server.
        let child = Command::new("taskset")
            .args(["--cpu-list", "0"])
            .args(wrapper)
            .args(command.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { child, port })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, so that a wrapper can still write what it has found, and waits for that.
    pub fn end(mut self) -> io::Result<()> {
        let pid = self.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails if the process has ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Where an observer writes.
pub fn out_file(tool: &str) -> PathBuf {
    env::temp_dir().join(format!("hybi-bench-{}.{tool}", std::process::id()))
}
