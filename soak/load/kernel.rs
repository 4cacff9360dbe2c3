//! What the kernel of this machine counts, of all its sockets.

use std::{fs, io};

/// How often a queue of those who wait to be accepted was full.
pub fn listen_overflows() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let overflows = pairs.find(|(name, _)| *name == "ListenOverflows");
    let overflows = overflows.and_then(|(_, value)| value.parse().ok());
    overflows.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What it says of its TCP sockets: how many, and the pages of their buffers.
pub fn tcp_sockets() -> io::Result<String> {
    let text = fs::read_to_string("/proc/net/sockstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: "));
    Ok(line.unwrap_or_default().to_owned())
}
