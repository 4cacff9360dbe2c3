//! The ways to a server and into one: TLS, Unix sockets, proxies, redirects, reconnecting.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use super::{Hybi, PATIENCE, scripted};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hybi-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).expect("a file");
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Says a line, and expects it back and a clean end.
fn echoes(mut client: Hybi) {
    let greeting = client.stderr.recv_timeout(PATIENCE).expect("a line");
    assert!(greeting.starts_with("connected"), "{greeting}");
    client.write("hello\n");
    assert_eq!(client.line(), "hello");
    assert_eq!(client.end().status, Some(0));
}

#[test]
fn tls_is_spoken_with_whom_the_authority_vouches_for() {
    let folder = Folder::new("tls");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let cert = folder.write("cert.pem", &made.cert.pem());
    let key = folder.write("key.pem", &made.signing_key.serialize_pem());
    let server = Hybi::start(&[
        "serve",
        "--port",
        "0",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ]);
    let line = server.line();
    let url = line.split_whitespace().last().expect("a URL").to_owned();
    assert!(url.starts_with("wss://127.0.0.1:"), "{line}");
    echoes(Hybi::start(&["connect", &url, "--cacert", &cert]));
    echoes(Hybi::start(&["connect", &url, "--insecure"]));
    let refused = Hybi::start(&["connect", &url]).wait();
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("TLS failed"), "{refused:?}");
    let plain = Hybi::start(&["connect", &url.replace("wss:", "ws:")]).wait();
    assert_eq!(plain.status, Some(3), "{plain:?}");
}

#[test]
fn files_that_are_no_certificates_are_errors_of_the_command_line() {
    let folder = Folder::new("files");
    let (none, junk) = (folder.path("none"), folder.write("junk", "no PEM"));
    for args in [
        &[
            "serve",
            "--port",
            "0",
            "--tls-cert",
            &none,
            "--tls-key",
            &none,
        ][..],
        &[
            "serve",
            "--port",
            "0",
            "--tls-cert",
            &junk,
            "--tls-key",
            &junk,
        ],
        &["connect", "wss://127.0.0.1:1/", "--cacert", &none],
        &["connect", "wss://127.0.0.1:1/", "--cacert", &junk],
        &[
            "connect",
            "wss://127.0.0.1:1/",
            "--cert",
            &junk,
            "--key",
            &junk,
        ],
        &["connect", "ws://127.0.0.1:1/", "--proxy", "gopher://a/"],
    ] {
        let ended = Hybi::start(args).wait();
        assert_eq!(ended.status, Some(2), "{args:?} {ended:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_unix_socket_takes_the_place_of_a_port() {
    let folder = Folder::new("unix");
    let path = folder.path("a socket");
    let server = Hybi::start(&["serve", "--unix", &path]);
    assert!(server.line().contains(&path));
    echoes(Hybi::start(&[
        "connect",
        "ws://localhost/",
        "--unix",
        &path,
    ]));
    let url = format!("ws+unix:{}:/", path.replace(' ', "%20"));
    echoes(Hybi::start(&["connect", &url]));
    let taken = Hybi::start(&["serve", "--unix", &path]).wait();
    assert_eq!(taken.status, Some(1), "{taken:?}");
}

#[test]
fn an_origin_that_is_not_in_the_list_is_refused() {
    let (_server, address) = Hybi::serve(&["--origin", "https://a.example"]);
    let url = format!("ws://{address}/");
    echoes(Hybi::start(&["connect", &url]));
    echoes(Hybi::start(&[
        "connect",
        &url,
        "--origin",
        "https://a.example",
    ]));
    let refused = Hybi::start(&["connect", &url, "--origin", "https://b.example"]).wait();
    assert_eq!(refused.status, Some(3));
    assert!(refused.stderr.contains("403"), "{refused:?}");
}

#[test]
fn a_host_header_takes_the_place_of_the_urls() {
    let address = scripted(|mut ws, request| async move {
        let host = request.headers()["host"].to_str().unwrap_or_default();
        ws.send(host.to_owned()).await?;
        while ws.recv().await?.is_some() {}
        Ok(())
    });
    let client = Hybi::connect(address, &["--header", "Host: chat.example"]);
    assert_eq!(client.line(), "chat.example");
    assert_eq!(client.end().status, Some(0));
}

/// Answers each connection with this, and tells what it was asked.
fn answering(answer: String) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = sender.send(head(&stream));
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (address, receiver)
}

/// All until an empty line.
fn head(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[test]
fn redirects_are_followed_if_asked_for() {
    let (_server, address) = Hybi::serve(&[]);
    let location = format!("Location: ws://{address}/there\r\nContent-Length: 0\r\n\r\n");
    let (door, _) = answering(format!("HTTP/1.1 302 Found\r\n{location}"));
    let url = format!("ws://{door}/");
    echoes(Hybi::start(&["connect", &url, "--follow"]));
    let refused = Hybi::start(&["connect", &url]).wait();
    assert_eq!(refused.status, Some(3));
    assert!(refused.stderr.contains("302"), "{refused:?}");
    let (circle, asked) = answering("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n".into());
    let lost = Hybi::start(&["connect", &format!("ws://{circle}/"), "--follow"]).wait();
    assert_eq!(lost.status, Some(3), "{lost:?}");
    assert_eq!(asked.try_iter().count(), 11);
}

/// A proxy that tells what it was asked, and connects whoever asks.
fn proxy() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let asked = head(&client);
            let target = asked.split_whitespace().nth(1).map(str::to_owned);
            let _ = sender.send(asked);
            let Some(Ok(server)) = target.map(TcpStream::connect) else {
                continue;
            };
            let _ = (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            for (mut from, mut to) in [(&client, &server), (&server, &client)]
                .map(|(from, to)| (from.try_clone(), to.try_clone()))
                .into_iter()
                .filter_map(|(from, to)| Some((from.ok()?, to.ok()?)))
            {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    (address, receiver)
}

#[test]
fn a_proxy_is_used_if_asked_for_and_gets_its_credentials() {
    let (_server, address) = Hybi::serve(&[]);
    let url = format!("ws://{address}/");
    let (proxy, asked) = proxy();
    let at = format!("http://user:pass@{proxy}");
    let asked = || asked.try_iter().collect::<Vec<_>>();
    echoes(Hybi::start(&["connect", &url, "--proxy", &at]));
    let connect = format!("CONNECT {address} HTTP/1.1\r\n");
    let seen = asked();
    assert!(seen.len() == 1 && seen[0].starts_with(&connect), "{seen:?}");
    assert!(
        seen[0]
            .to_ascii_lowercase()
            .contains("proxy-authorization: basic dxnlcjpwyxnz")
    );

    let through_env = |env: &[(&str, &str)], args: &[&str]| {
        echoes(Hybi::start_in(
            env,
            &[&["connect", url.as_str()], args].concat(),
        ));
    };
    let env = ["--proxy", "env"];
    through_env(&[("HTTP_PROXY", &at)], &[]);
    assert_eq!(asked().len(), 0, "nobody has asked for it");
    for name in ["http_proxy", "all_proxy", "ALL_PROXY"] {
        through_env(&[(name, &at)], &env);
        assert_eq!(asked().len(), 1, "{name}");
    }
    through_env(&[("HTTPS_PROXY", &at)], &env);
    assert_eq!(asked().len(), 0, "it is for wss:");
    through_env(&[("all_proxy", &at), ("no_proxy", "127.0.0.0/8")], &env);
    assert_eq!(asked().len(), 0, "it is not for this server");
}

#[test]
fn a_client_that_reconnects_sends_what_was_typed_meanwhile() {
    let address = scripted(|mut ws, _| async move {
        while let Some(message) = ws.recv().await? {
            if message == "restart".into() {
                ws.close(hybi::CloseCode::SERVICE_RESTART, "").await?;
                return Ok(());
            }
            ws.send(message).await?;
        }
        Ok(())
    });
    let url = format!("ws://{address}/");
    let mut client = Hybi::start(&["connect", &url, "--reconnect"]);
    let said = |client: &Hybi, start: &str| {
        let line = client.stderr.recv_timeout(PATIENCE).expect("a line");
        assert!(line.starts_with(start), "{line}");
    };
    said(&client, "connected to ws://");
    client.write("one\n");
    assert_eq!(client.line(), "one");
    client.write("restart\n");
    said(
        &client,
        "not connected: the peer has closed the connection: 1012",
    );
    client.write("two\n");
    said(&client, "connected to ws://");
    assert_eq!(client.line(), "two");
    let ended = client.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
}
