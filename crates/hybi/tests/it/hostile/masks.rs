//! The mask keys of a client.

use std::collections::BTreeSet;

use hybi::{CloseCode, Options, Role, WebSocket};

use super::raw::{listen, next_frame};
use crate::fault::each_fault;

#[each_fault]
async fn every_frame_of_a_client_has_a_fresh_mask_key() {
    let (ours, mut theirs) = crate::fault::ours(1 << 20);
    let mut ws = WebSocket::from_stream(ours, Role::Client, &Options::new(), &[]);
    for i in 0..1000 {
        ws.send(format!("message {i}")).await.unwrap();
    }
    ws.ping("").unwrap();
    ws.start_close(CloseCode::NORMAL, "").unwrap();
    ws.flush().await.unwrap();
    drop(ws);

    let heard = listen(&mut theirs).await;
    let (mut rest, mut keys) = (&heard.bytes[..], Vec::new());
    while let Some((frame, behind)) = next_frame(rest).unwrap() {
        rest = behind;
        keys.push(frame.mask.unwrap());
    }
    assert_eq!(keys.len(), 1002);
    // Two equal keys in a thousand come up once in some 8,500 runs, three pairs hardly ever.
    let distinct: BTreeSet<_> = keys.iter().collect();
    assert!(
        distinct.len() >= 1000,
        "{} of 1002 keys are distinct",
        distinct.len()
    );
    assert!(keys.iter().filter(|key| **key == [0; 4]).count() < 2);
    // Each byte of a key takes many values: none is fixed.
    for at in 0..4 {
        let values: BTreeSet<u8> = keys.iter().map(|key| key[at]).collect();
        assert!(
            values.len() > 200,
            "byte {at} takes {} values",
            values.len()
        );
    }
}
