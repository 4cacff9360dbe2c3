//! What a message can be made of, and what it can be taken for.

use bytes::Bytes;
use hybi_proto::code::CloseCode;
use hybi_proto::message::{Kind, Message, MessageRef, SendOptions};
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::Item;
use hybi_proto::text::Text;

#[test]
fn what_holds_text_makes_a_text_message_and_what_holds_bytes_a_binary_one() {
    let (string, text) = (String::from("grün"), Text::from("grün"));
    let bytes = Bytes::from_static(b"gr\xfcn");
    let vec = bytes.to_vec();
    for message in [
        Message::from("grün"),
        Message::from(string.clone()),
        Message::from(&string),
        Message::from(text.clone()),
    ] {
        assert_eq!(message, Message::Text(text.clone()));
        assert_eq!(
            (message.kind(), message.as_text()),
            (Kind::Text, Some("grün"))
        );
        assert_eq!((message.len(), message.is_empty()), (5, false));
        assert_eq!(message.into_bytes(), "grün");
    }
    for message in [
        Message::from(bytes.clone()),
        Message::from(vec.clone()),
        Message::from(&vec[..]),
        Message::from(b"gr\xfcn"),
    ] {
        assert_eq!(message, Message::Binary(bytes.clone()));
        assert_eq!((message.kind(), message.as_text()), (Kind::Binary, None));
        assert_eq!(message.into_bytes(), bytes);
    }
    for message in [
        MessageRef::from("grün"),
        MessageRef::from(&string),
        MessageRef::from(&text),
        MessageRef::from(&Message::Text(text.clone())),
    ] {
        assert_eq!(message, MessageRef::Text("grün"));
        assert_eq!(message.kind(), Kind::Text);
        assert_eq!(message.to_message(), Message::Text(text.clone()));
    }
    for message in [
        MessageRef::from(&bytes),
        MessageRef::from(&vec),
        MessageRef::from(&vec[..]),
        MessageRef::from(b"gr\xfcn"),
        MessageRef::from(&Message::Binary(bytes.clone())),
    ] {
        assert_eq!(message, MessageRef::Binary(b"gr\xfcn"));
        assert_eq!(message.kind(), Kind::Binary);
        assert_eq!(message.to_message(), Message::Binary(bytes.clone()));
    }
    assert!(Message::from("").is_empty());
}

#[test]
fn a_prepared_message_and_one_in_a_queue_are_made_of_the_same() {
    let text = Message::from("to everyone");
    let binary = Message::from(b"to everyone");
    for (prepared, message) in [
        (Prepared::text("to everyone"), &text),
        (Prepared::new("to everyone"), &text),
        ("to everyone".into(), &text),
        (Prepared::binary(&b"to everyone"[..]), &binary),
        (b"to everyone".into(), &binary),
    ] {
        assert_eq!(
            (prepared.message(), prepared.kind()),
            (message, message.kind())
        );
        let shared = Prepared::from(&prepared);
        let [a, b] = [&shared, &prepared].map(|one| one.message().as_bytes().as_ptr());
        assert_eq!(a, b);
        for item in [
            Item::from(&prepared),
            Item::from(prepared.clone()),
            Item::from(message.clone()),
            Item::new(message.clone(), SendOptions::new()),
            Item::new(message.clone(), SendOptions::new().compress(false)),
        ] {
            assert_eq!(item.message(), message);
        }
    }
}

#[test]
fn a_text_is_a_string_and_bytes_to_who_wants_them_and_equals_a_string_from_either_side() {
    let text = Text::from("grün");
    let (as_str, as_bytes): (&str, &[u8]) = (text.as_ref(), text.as_ref());
    assert_eq!((as_str, as_bytes), ("grün", "grün".as_bytes()));
    for (other, equal) in [("grün", true), ("gruen", false), ("", false)] {
        let string = String::from(other);
        assert_eq!((text == *other, *other == text), (equal, equal));
        assert_eq!((text == other, other == text), (equal, equal));
        assert_eq!((text == string, string == text), (equal, equal));
    }
}

#[test]
fn a_close_code_is_its_number() {
    for number in [1000, 1006, 3000, 4999] {
        assert_eq!(u16::from(CloseCode::from(number)), number);
    }
}
