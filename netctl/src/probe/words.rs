//! What attempts send, and how what comes back is read: for the proof of the bring-up, and for `ocs verify`.
//! Not here: which attempts there are, and what their outcomes mean.
//! Clauses: U1.
use std::io;

/// A query of one question, RFC 1035 section 4.1; `name` is plain ASCII of ours.
#[must_use]
pub fn question(id: [u8; 2], name: &str, kind: u16) -> Vec<u8> {
    let mut message = Vec::from(id);
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // RD; one question
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&1u16.to_be_bytes()); // class IN
    message
}

/// RFC 1035 section 4.1.1: the code of the query was refused.
pub const REFUSED: u8 = 5;

/// The code that answers the query of this id; `None` for what is no answer to it.
#[must_use]
pub fn code(id: [u8; 2], answer: &[u8]) -> Option<u8> {
    // RFC 1035 section 4.1.1: the id; QR is the first bit; RCODE the last four.
    match (answer.get(..2), answer.get(2..4)) {
        (Some(answered), Some([flags, code])) if answered == id && flags & 0x80 != 0 => {
            Some(code & 0xf)
        }
        _ => None,
    }
}

/// Whether an error says no; others (no descriptors left, waiting in vain) say nothing about the fence.
#[must_use]
pub fn says_no(error: &io::Error) -> bool {
    let no = [
        libc::EACCES,
        libc::ECONNABORTED,
        libc::ECONNREFUSED,
        libc::ECONNRESET,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::EPERM,
        libc::EPIPE,
    ];
    error.raw_os_error().is_some_and(|code| no.contains(&code))
}

/// Whether an attempt over IPv6 failed for want of it: the kernel has none, or the namespace's is switched off
/// (`disable_ipv6`), and so has no address to send from.
#[must_use]
pub fn without_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}
