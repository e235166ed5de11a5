//! A head is whole, unfinished or refused, however its bytes are cut; what is accepted names one destination, and what
//! is sent on names no other.

use policies::{Destination, Host, Port, Reason};
use proxy::fuzz::{At, Body, Read, head_length, request};

/// A head of any bytes; the first byte says where it is read, the second where the network cuts it.
///
/// # Panics
/// Where a promise is broken.
pub fn holds(data: &[u8]) {
    let Some((at, cut, bytes)) = input(data) else {
        return;
    };
    let whole = head_length(bytes, bytes.len());
    assert_eq!(head_length(bytes, cut), whole, "cut at {cut}");
    match whole {
        Err(refusal) => refused(&refusal.answer),
        Ok(None) => {}
        Ok(Some(length)) => {
            let (head, _) = bytes.split_at(length);
            assert!(head.ends_with(b"\r\n\r\n"));
            assert_eq!(
                head_length(&head[..length - 1], 0),
                Ok(None),
                "a head ends once"
            );
            read(head, &at);
        }
    }
}

/// Where, the cut, and the bytes of an input.
pub(crate) fn input(data: &[u8]) -> Option<(At, usize, &[u8])> {
    let (&[place, cut], bytes) = data.split_first_chunk::<2>()?;
    let name = Host::parse("ok.test").expect("a name");
    let at = match place % 4 {
        0 => At::Inside(Some(name), Port::HTTP),
        1 => At::Inside(None, Port::HTTP),
        2 => At::Inside(Some(name), Port::HTTPS),
        _ => At::Explicit,
    };
    Some((at, usize::from(cut), bytes))
}

fn read(head: &[u8], at: &At) {
    match request(head, at) {
        Read::Refused(refusal) => refused(&refusal.answer),
        Read::Tunnel(destination) => {
            assert_eq!(at, &At::Explicit);
            canonical(&destination);
        }
        Read::Forward {
            destination,
            sent,
            body,
        } => {
            canonical(&destination);
            if let At::Inside(host, port) = at {
                assert_eq!(destination.port, *port);
                assert!(host.as_ref().is_none_or(|host| *host == destination.host));
            }
            sent_on(&sent, &destination, body);
        }
    }
}

fn canonical(destination: &Destination) {
    let shown = destination.to_string();
    assert_eq!(
        Destination::parse_authority(&shown, None).as_ref(),
        Ok(destination)
    );
}

/// What the origin gets is one head that names the destination, and that we would read as meant for it.
fn sent_on(sent: &[u8], destination: &Destination, body: Body) {
    assert_eq!(
        head_length(sent, sent.len()),
        Ok(Some(sent.len())),
        "one head and no more"
    );
    let inside = At::Inside(Some(destination.host.clone()), destination.port);
    let again = request(sent, &inside);
    let Read::Forward {
        destination: again,
        body: same,
        sent: twice,
    } = again
    else {
        panic!(
            "not what we would read ourselves: {:?}",
            String::from_utf8_lossy(sent)
        );
    };
    assert_eq!((&again, same), (destination, body));
    let names_host = |line: &[u8]| {
        line.get(..5)
            .is_some_and(|it| it.eq_ignore_ascii_case(b"host:"))
    };
    for head in [sent, twice.as_slice()] {
        assert_eq!(
            head.split(|byte| *byte == b'\n')
                .filter(|line| names_host(line))
                .count(),
            1
        );
    }
}

/// A refusal is a 4xx with a reason that the record knows, and repeats no byte that ends a line or a field.
fn refused(answer: &[u8]) {
    let text = std::str::from_utf8(answer).expect("a refusal is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).expect("a status");
    assert!(status.starts_with('4'), "{status}");
    let (_, details) = head.split_once("; details=\"").expect("a Proxy-Status");
    let (reason, _) = details.split_once('"').expect("a quoted reason");
    assert!(
        Reason::ALL.iter().any(|known| known.code() == reason),
        "{reason}"
    );
    let problem: serde_json::Value = serde_json::from_str(body).expect("a problem document");
    assert_eq!(problem["reason"].as_str(), Some(reason));
}
