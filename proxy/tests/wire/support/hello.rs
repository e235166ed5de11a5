//! ClientHello messages, written by hand: RFC 8446 section 4.1.2.

fn sized(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_be_bytes();
    [&length[8 - width..], bytes].concat()
}

fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, bytes)].concat()
}

/// The handshake message of a usual client.
pub fn handshake(sni: Option<&str>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = sni {
        let entry = [&[0][..], &sized(2, name.as_bytes())].concat();
        extensions.extend(extension(0, &sized(2, &entry)));
    }
    // GREASE, supported groups, signature algorithms, ALPN, supported versions, a key share.
    extensions.extend(extension(0x0a0a, &[]));
    extensions.extend(extension(10, &sized(2, &[0, 29, 0, 23])));
    extensions.extend(extension(13, &sized(2, &[4, 3, 8, 4, 4, 1])));
    let protocols = [sized(1, b"h2"), sized(1, b"http/1.1")].concat();
    extensions.extend(extension(16, &sized(2, &protocols)));
    extensions.extend(extension(43, &sized(1, &[3, 4, 3, 3])));
    let share = [&[0, 29][..], &sized(2, &[7; 32])].concat();
    extensions.extend(extension(51, &sized(2, &share)));
    let body = [
        &[3, 3][..],
        &[9; 32],
        &sized(1, &[5; 32]),
        &sized(2, &[0x13, 1, 0x13, 2, 0xc0, 0x2f]),
        &sized(1, &[0]),
        &sized(2, &extensions),
    ]
    .concat();
    [&[1][..], &sized(3, &body)].concat()
}

/// One TLS record of a handshake message, or of a piece of one.
pub fn record(piece: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &sized(2, piece)].concat()
}

/// A whole ClientHello in one record.
pub fn hello(sni: Option<&str>) -> Vec<u8> {
    record(&handshake(sni))
}
