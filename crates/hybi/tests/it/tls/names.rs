//! Several certificates, and new ones.

use crate::fault::each_fault;
use hybi::Message;

use super::*;

/// Whether the server shows a certificate of this authority to who asks for this name.
async fn shows(server: &ServerTls, authority: &Authority, name: &str) -> bool {
    let client = authority.client().without_system_roots();
    let (client, server) = meet(&client, server, name).await;
    assert_eq!(client.is_ok(), server.is_ok());
    client.is_ok()
}

#[each_fault]
async fn the_name_that_is_asked_for_picks_the_certificate() {
    let [first, exact, all] = [(); 3].map(|()| Authority::new());
    let one = exact.certify("One.site.test");
    let any = all.certify("*.site.test");
    let server = first.server("first.test");
    let server = server.sni("ONE.site.test", &one.chain, &one.key).unwrap();
    let server = server.sni("*.site.test", &any.chain, &any.key).unwrap();
    for (name, authority) in [
        ("first.test", &first),
        ("one.site.test", &exact),
        ("oNe.sIte.test", &exact),
        ("two.site.test", &all),
    ] {
        assert!(shows(&server, authority, name).await, "{name}");
    }
    for (name, authority) in [("one.site.test", &first), ("one.site.test", &all)] {
        assert!(!shows(&server, authority, name).await, "{name}");
    }
    // A name that nobody knows gets the first, and so does one that is too deep.
    for name in ["unknown.test", "a.two.site.test", "site.test"] {
        let client = first.client().without_system_roots();
        let refused = said(meet(&client, &server, name).await.0);
        has(&refused, "is only valid for DnsName(\"first.test\")");
    }
}

#[each_fault(counts)]
async fn a_new_certificate_is_shown_while_connections_with_the_old_one_go_on() {
    let [old, new] = [(); 2].map(|()| Authority::new());
    let server = old.server("localhost");
    let handle = server.clone();
    let client = old.client();
    let (mut client, mut accepted, _) = opened(&client, &server, "localhost").await;

    handle.reload(&new.server("localhost"));
    assert!(shows(&server, &new, "localhost").await);
    assert!(!shows(&server, &old, "localhost").await);
    client.send("still here").await.unwrap();
    let message = accepted.recv().await.unwrap();
    assert_eq!(message, Some(Message::from("still here")));
}

#[each_fault]
async fn a_session_of_before_a_reload_is_not_resumed() {
    let authority = Authority::new();
    let (client, server) = (authority.client(), authority.server("localhost"));
    opened(&client, &server, "localhost").await;
    server.reload(&authority.server("localhost"));
    let (.., info) = opened(&client, &server, "localhost").await;
    assert!(!info.is_resumed());
}

#[each_fault]
async fn a_server_that_reloads_itself_stays_as_it_is() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    server.reload(&server.clone());
    assert!(shows(&server, &authority, "localhost").await);
}

#[each_fault]
async fn a_setting_leaves_clones_as_they_are() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let strict = server.clone();
    let strict = strict.require_client_certificates(authority.pem()).unwrap();
    assert!(shows(&server, &authority, "localhost").await);
    said(meet(&authority.client(), &strict, "localhost").await.1);
}
