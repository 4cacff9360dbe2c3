//! `wss:` by a client as users have it, over real sockets: each way to a server, and what is chosen
//! there.

use std::error::Error as _;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ::hyper::body::Incoming;
use ::hyper::server::conn::http2::Builder;
use ::hyper::service::service_fn;
use http_body_util::Full;
use hybi::rustls::crypto::ring::default_provider;
use hybi::rustls::pki_types::pem::PemObject;
use hybi::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use hybi::rustls::server::WebPkiClientVerifier;
use hybi::rustls::{self, RootCertStore, ServerConfig};
use hybi::session::Event;
use hybi::{
    Backoff, Bytes, Client, Connect, Error, Message, Proxy, Request, Server, ServerTls, Stream,
    Upgrade, WebSocket,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{echo, ends};
use crate::tls::Authority;

type Requests = mpsc::UnboundedReceiver<Request<()>>;

/// Has a server echo; what it was asked comes out.
fn run(server: Server) -> Requests {
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(server.serve(move |ws, request| {
        let _ = tell.send(request);
        echo(ws)
    }));
    told
}

async fn serve(tls: ServerTls) -> (u16, Requests) {
    let server = Server::bind("127.0.0.1:0").await.unwrap().tls(tls);
    (server.local_addr().unwrap().port(), run(server))
}

/// A client to which all names are here, and which trusts this authority alone.
fn client(authority: &Authority) -> Client {
    let here = |_, port| async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) };
    let tls = authority.client().without_system_roots();
    Client::new().resolver(here).tls(tls)
}

async fn echoes(connect: Connect) -> WebSocket {
    let mut ws = ends(connect).await.unwrap();
    let message = Message::from(vec![7; 100_000]);
    ends(ws.send(message.clone())).await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some(message));
    ws
}

#[tokio::test]
async fn a_host_is_verified_in_each_way_to_write_it() {
    for (name, host) in [
        ("site.test", "site.test"),
        ("site.test", "SITE.test"),
        ("site.test", "site.test."),
        ("xn--bcher-kva.test", "bücher.test"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0x7f.1"),
    ] {
        let authority = Authority::new();
        // One that is asked for by a name it does not have shows the certificate of another.
        let own = authority.certify(name);
        let tls = match name.parse::<std::net::IpAddr>() {
            Ok(_) => authority.server(name),
            Err(_) => {
                let tls = authority.server("other.test");
                tls.sni(name, &own.chain, &own.key).unwrap()
            }
        };
        let (port, _requests) = serve(tls).await;
        let client = client(&authority);
        echoes(client.connect(format!("wss://{host}:{port}/"))).await;
        let wrong = client.connect(format!("wss://wrong.test:{port}/"));
        let error = ends(wrong).await.unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_with_tls_has_a_certificate_of_localhost() {
    let folder = std::env::temp_dir().join(format!("hybi secure {}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("chat.sock");
    let _ = std::fs::remove_file(&path);
    let authority = Authority::new();
    let server = Server::bind_unix(&path).await.unwrap();
    let mut requests = run(server.tls(authority.server("localhost")));
    let shown = path.to_str().unwrap().replace(' ', "%20");
    let url = format!("wss+unix:{shown}:/room?x=1");
    let ws = echoes(client(&authority).connect(&url)).await;
    assert_eq!(ws.uri().unwrap(), "wss://localhost/room?x=1");
    let request = requests.recv().await.unwrap();
    assert_eq!(request.uri(), "/room?x=1");
    assert_eq!(request.headers()["host"], "localhost");
    let error = ends(client(&Authority::new()).connect(&url)).await;
    assert!(matches!(error, Err(Error::Tls(_))), "{error:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A proxy that leads to this port, over TLS if it has any; and the requests to it.
async fn proxy(tls: Option<ServerTls>, to: u16) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, tell) = (tls.clone(), tell.clone());
            tokio::spawn(async move {
                let mut stream: Stream = tcp.into();
                if let Some(tls) = tls {
                    stream = tls.accept(stream).await?.0;
                }
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let _ = tell.send(String::from_utf8(head).unwrap());
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                stream.flush().await?;
                let mut tcp = TcpStream::connect(("127.0.0.1", to)).await?;
                copy_bidirectional(&mut stream, &mut tcp).await?;
                hybi::Result::Ok(())
            });
        }
    });
    (port, told)
}

#[tokio::test]
async fn a_proxy_with_and_without_tls_of_its_own_leads_to_a_server_with_tls() {
    let [of_server, of_proxy] = [(); 2].map(|()| Authority::new());
    let (to, mut requests) = serve(of_server.server("site.test")).await;
    for secure in [false, true] {
        let tls = secure.then(|| of_proxy.server("proxy.test"));
        let (port, mut asked) = proxy(tls, to).await;
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://al:pw@proxy.test:{port}");
        let there = Proxy::parse(&url).unwrap().tls(of_proxy.client());
        let client = client(&of_server).proxy(there);
        let _ws = echoes(client.connect("wss://site.test/room")).await;
        let asked = asked.recv().await.unwrap();
        assert!(asked.starts_with("CONNECT site.test:443 "), "{asked}");
        let told = asked.to_ascii_lowercase();
        assert!(told.contains("\r\nproxy-authorization: basic "), "{asked}");
        let request = requests.recv().await.unwrap();
        assert_eq!(request.uri(), "/room");
        assert!(!request.headers().contains_key("proxy-authorization"));
    }
}

#[tokio::test]
async fn an_address_of_version_6_is_asked_for_in_brackets_and_verified_without() {
    let authority = Authority::new();
    let (to, mut requests) = serve(authority.server("2001:db8::1")).await;
    let (port, mut asked) = proxy(None, to).await;
    let there = Proxy::parse(&format!("http://proxy.test:{port}")).unwrap();
    let client = client(&authority).proxy(there);
    let _ws = echoes(client.connect("wss://[2001:DB8:0::1]/")).await;
    let asked = asked.recv().await.unwrap();
    assert!(asked.starts_with("CONNECT [2001:db8::1]:443 "), "{asked}");
    let request = requests.recv().await.unwrap();
    assert_eq!(request.headers()["host"], "[2001:db8::1]");
    let error = ends(client.connect("wss://[2001:db8::2]/")).await;
    assert!(matches!(error, Err(Error::Tls(_))), "{error:?}");
}

#[tokio::test]
async fn whoever_cannot_be_trusted_of_a_proxy_and_a_server_is_named() {
    let [of_server, of_proxy] = [(); 2].map(|()| Authority::new());
    let (to, _requests) = serve(of_server.server("site.test")).await;
    let (port, _asked) = proxy(Some(of_proxy.server("proxy.test")), to).await;
    let there = Proxy::parse(&format!("https://proxy.test:{port}")).unwrap();
    for (proxy, at_fault) in [(&of_server, true), (&of_proxy, false)] {
        let client = client(&Authority::new()).proxy(there.clone().tls(proxy.client()));
        let error = ends(client.connect("wss://site.test/")).await.unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
        assert_eq!(error.to_string().contains("the proxy"), at_fault, "{error}");
        assert!(caused_by_rustls(&error), "{error:?}");
    }
}

fn caused_by_rustls(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A server that chooses one of these protocols, and echoes by it.
async fn choosing(authority: &Authority, alpn: &[&[u8]]) -> u16 {
    choosing_with(authority, alpn, false).await
}

/// The same; to who has a certificate of this authority only, if `known`.
async fn choosing_with(authority: &Authority, alpn: &[&[u8]], known: bool) -> u16 {
    let identity = authority.certify("site.test");
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = if known {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
        roots.add(root.unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        config.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        config.with_no_client_auth()
    };
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let tls = ServerTls::from_config(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let (stream, info) = tls.accept(tcp.into()).await?;
                if info.alpn() != Some(b"h2") {
                    return echo(hybi::accept(stream).await?).await;
                }
                let service = service_fn(|mut request: Request<Incoming>| {
                    let upgrade: Upgrade<Full<Bytes>> = hybi::upgrade(&mut request).unwrap();
                    ready(io::Result::Ok(upgrade.on_upgrade(|ws, _| echo(ws))))
                });
                let mut builder = Builder::new(TokioExecutor::new());
                let served = builder
                    .enable_connect_protocol()
                    .serve_connection(TokioIo::new(stream), service);
                served.await.map_err(Error::other)
            });
        }
    });
    port
}

#[tokio::test]
async fn http_2_is_spoken_if_it_is_wanted_and_the_server_chooses_it() {
    const H2: &[u8] = b"h2";
    const HTTP_1: &[u8] = b"http/1.1";
    let authority = Authority::new();
    for (alpn, wanted, status) in [
        (&[H2, HTTP_1][..], true, 200),
        (&[H2, HTTP_1], false, 101),
        (&[HTTP_1], true, 101),
        (&[], true, 101),
    ] {
        let port = choosing(&authority, alpn).await;
        let url = format!("wss://site.test:{port}/");
        let connect = || client(&authority).connect(&url).http2(wanted);
        echoes(connect()).await;
        let (_ws, response) = ends(connect().with_response()).await.unwrap();
        assert_eq!(response.status(), status, "{alpn:?} {wanted}");
    }
    // Who has nothing else is an error of TLS.
    let port = choosing(&authority, &[H2]).await;
    let connect = client(&authority).connect(format!("wss://site.test:{port}/"));
    let error = ends(connect).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn a_client_that_is_turned_away_by_its_certificate_hears_it_over_http_2_too() {
    let authority = Authority::new();
    let port = choosing_with(&authority, &[b"h2", b"http/1.1"], true).await;
    for http2 in [false, true] {
        let connect = client(&authority).connect(format!("wss://site.test:{port}/"));
        let error = ends(connect.http2(http2)).await.unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{http2}: {error:?}");
        assert!(caused_by_rustls(&error), "{error:?}");
        assert!(error.to_string().contains("identity_pem"), "{error}");
    }
}

#[tokio::test]
async fn http_2_with_tls_goes_through_a_proxy_with_tls() {
    let [of_server, of_proxy] = [(); 2].map(|()| Authority::new());
    let to = choosing(&of_server, &[b"h2"]).await;
    let (port, _asked) = proxy(Some(of_proxy.server("127.0.0.1")), to).await;
    let there = Proxy::parse(&format!("https://127.0.0.1:{port}")).unwrap();
    let client = client(&of_server).proxy(there.tls(of_proxy.client()));
    echoes(client.connect("wss://site.test/").http2(true)).await;
}

#[tokio::test]
async fn a_redirect_leads_from_http_to_https_and_not_back_with_secrets() {
    let authority = Authority::new();
    let (secure, mut requests) = serve(authority.server("site.test")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap().port();
    let redirect = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let answer = format!(
            "HTTP/1.1 308 Up\r\nLocation: https://site.test:{secure}/b\r\nContent-Length: 0\r\n\r\n"
        );
        tcp.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    };
    let connect = client(&authority).redirects(1);
    let connect = connect.connect(format!("http://me:pw@site.test:{plain}/a"));
    let (ws, head) = tokio::join!(echoes(connect), ends(redirect));
    assert!(head.contains("\r\nauthorization: basic "), "{head}");
    assert_eq!(
        ws.uri().unwrap().to_string(),
        format!("wss://site.test:{secure}/b")
    );
    let request = requests.recv().await.unwrap();
    assert_eq!(request.uri(), "/b");
    assert!(!request.headers().contains_key("authorization"));
}

#[tokio::test]
async fn a_session_comes_back_over_tls() {
    let authority = Authority::new();
    let (port, _requests) = serve(authority.server("site.test")).await;
    let connect = client(&authority).connect(format!("wss://site.test:{port}/"));
    let mut session = connect.reconnect(Backoff::new());
    let first = ends(session.recv_event()).await.unwrap();
    assert!(matches!(first, Some(Event::Up { .. })), "{first:?}");
    ends(session.send("over TLS")).await.unwrap();
    let heard = ends(session.recv()).await.unwrap();
    assert_eq!(heard, Some(Message::from("over TLS")));
    // What no retry can mend ends it.
    let stranger = client(&Authority::new()).connect(format!("wss://site.test:{port}/"));
    let error = ends(stranger.reconnect(Backoff::new()).recv()).await;
    assert!(matches!(error, Err(Error::Tls(_))), "{error:?}");
}
