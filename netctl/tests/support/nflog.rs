//! What the kernel logged, as a reader of NFLOG sees it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::sockopt::{self, Timeout};

/// One logged packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) sequence: u32,
    pub(crate) prefix: String,
    /// The head of the packet, from the IP header on.
    pub(crate) head: Vec<u8>,
}

impl Logged {
    /// Protocol, destination address and destination port of an IPv4 packet.
    pub(crate) fn v4(&self) -> (u8, [u8; 4], u16) {
        let header = usize::from(self.head[0] & 0xf) * 4;
        let port = [self.head[header + 2], self.head[header + 3]];
        (
            self.head[9],
            self.head[16..20].try_into().unwrap(),
            u16::from_be_bytes(port),
        )
    }

    /// Next header, destination address and destination port of an IPv6 packet.
    pub(crate) fn v6(&self) -> (u8, [u8; 16], u16) {
        let port = [self.head[42], self.head[43]];
        (
            self.head[6],
            self.head[24..40].try_into().unwrap(),
            u16::from_be_bytes(port),
        )
    }
}

/// Makes reads wait, though not for ever.
pub(crate) fn wait(socket: &OwnedFd) {
    rustix::io::ioctl_fionbio(socket, false).unwrap();
    sockopt::set_socket_timeout(socket, Timeout::Recv, Some(Duration::from_secs(10))).unwrap();
}

/// One read: the packets of a batch, or that some were lost.
pub(crate) fn read(socket: &OwnedFd) -> Result<Vec<Logged>, Errno> {
    let mut bytes = vec![0; 65_536];
    let (read, _) = rustix::net::recv(socket, &mut bytes, RecvFlags::empty())?;
    let mut rest = &bytes[..read];
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).unwrap();
        let length = usize::try_from(message.length()).unwrap();
        if message.message_type() == 4 << 8 {
            packets.push(packet(&rest[20..length])); // behind netlink's and nfnetlink's headers
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(packets)
}

/// Reads until `count` packets came.
pub(crate) fn read_packets(socket: &OwnedFd, count: usize) -> Vec<Logged> {
    let mut packets = Vec::new();
    while packets.len() < count {
        packets.extend(read(socket).unwrap());
    }
    packets
}

fn packet(attributes: &[u8]) -> Logged {
    let mut logged = Logged {
        sequence: u32::MAX,
        prefix: String::new(),
        head: Vec::new(),
    };
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.unwrap();
        match attribute.kind() {
            9 => logged.head = attribute.value().to_vec(), // NFULA_PAYLOAD
            10 => {
                // NFULA_PREFIX
                let text = attribute.value().strip_suffix(&[0]).unwrap();
                logged.prefix = String::from_utf8(text.to_vec()).unwrap();
            }
            12 => logged.sequence = u32::from_be_bytes(attribute.value().try_into().unwrap()), // NFULA_SEQ
            _ => {}
        }
    }
    logged
}
