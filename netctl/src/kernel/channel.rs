//! A netlink socket: sends requests and reads what the kernel answers, all of it.
//!
//! Not here: what requests mean (`transaction`, `live`, `link`).
//!
//! Clauses: N10 (every acknowledgement is read).

use std::time::Duration;

use mnl::Bus;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer,
};
use rustix::net::sockopt::{self, Timeout};

use super::netlink::descriptor;
use super::{KernelError, sockets};

/// One socket of one netlink family.
pub(super) struct Channel {
    socket: mnl::Socket,
    buffer: Box<Aligned>,
}

/// Room for one datagram of answers, aligned as netlink's headers are.
#[repr(C, align(8))]
struct Aligned([u8; DATAGRAM_MAX]);

/// The kernel fills at most 32 KiB of a dump at once (netlink.c `netlink_dump`), whatever the reader offers.
const DATAGRAM_MAX: usize = 65_536;
/// Answers are queued before the request returns; a kernel that does not answer in this time is broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// A batch of the longest spec is under 400 KiB, its acknowledgements under 1 MiB as sockets count them.
const QUEUE: usize = 4 << 20;
/// Another process changes what is being read: so often it is read anew.
const ATTEMPTS: u32 = 16;

/// A message of a dump.
pub(super) struct Answer {
    /// netlink's message type.
    pub(super) kind: u16,
    /// What follows netlink's header.
    pub(super) payload: Vec<u8>,
}

impl Channel {
    pub(super) fn open(bus: Bus) -> Result<Self, KernelError> {
        let open = || -> std::io::Result<mnl::Socket> {
            let socket = mnl::Socket::new(bus)?;
            let fd = descriptor(&socket);
            sockopt::set_socket_timeout(fd, Timeout::Recv, Some(PATIENCE))?;
            sockopt::set_socket_timeout(fd, Timeout::Send, Some(PATIENCE))?;
            sockets::queue(fd, QUEUE)?; // a batch whose acknowledgements do not fit fails
            sockopt::set_socket_send_buffer_size(fd, QUEUE)?;
            Ok(socket)
        };
        let socket = open()
            .map_err(|error| KernelError::of(format!("a netlink socket ({bus:?})"), error))?;
        Ok(Self {
            socket,
            buffer: Box::new(Aligned([0; DATAGRAM_MAX])),
        })
    }

    /// Sends messages as one datagram and reads the acknowledgement of each that asks for one. `about` says what each
    /// message is about.
    pub(super) fn request(&mut self, bytes: &[u8], about: &[&str]) -> Result<(), KernelError> {
        let mut pending = Vec::new();
        for (message, about) in split(bytes)?.iter().zip(about) {
            if message.flags() & NLM_F_ACK == NLM_F_ACK {
                pending.push((message.sequence_number(), *about));
            }
        }
        self.send(bytes)?;
        while !pending.is_empty() {
            for answer in split(self.receive()?)? {
                let sequence = answer.sequence_number();
                let about = pending
                    .iter()
                    .find(|(number, _)| *number == sequence)
                    .map(|(_, about)| *about);
                if answer.message_type() == NLMSG_ERROR {
                    verdict(answer.payload(), about.unwrap_or("the request"))?;
                    pending.retain(|(number, _)| *number != sequence);
                }
            }
        }
        Ok(())
    }

    /// Sends a request that asks for a dump and reads all of it.
    pub(super) fn dump(&mut self, bytes: &[u8], about: &str) -> Result<Vec<Answer>, KernelError> {
        for _ in 0..ATTEMPTS {
            self.send(bytes)?;
            if let Some(answers) = self.whole_dump(about)? {
                return Ok(answers);
            }
        }
        Err(KernelError::Unreadable {
            what: format!("{about}: it changes faster than it can be read"),
        })
    }

    /// A dump, or nothing where it was changed underneath.
    fn whole_dump(&mut self, about: &str) -> Result<Option<Vec<Answer>>, KernelError> {
        let mut answers = Vec::new();
        let mut whole = true;
        loop {
            for answer in split(self.receive()?)? {
                whole &= answer.flags() & NLM_F_DUMP_INTR == 0;
                match answer.message_type() {
                    NLMSG_NOOP => {}
                    NLMSG_ERROR => {
                        verdict(answer.payload(), about)?;
                    }
                    NLMSG_DONE => {
                        verdict(answer.payload(), about)?;
                        return Ok(whole.then_some(answers));
                    }
                    kind => answers.push(Answer {
                        kind,
                        payload: answer.payload().to_vec(),
                    }),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), KernelError> {
        self.socket
            .send_all([bytes])
            .map_err(|error| KernelError::of("send a netlink request", error))
    }

    fn receive(&mut self) -> Result<&[u8], KernelError> {
        let length = self
            .socket
            .recv_raw(&mut self.buffer.0)
            .map_err(|error| KernelError::of("receive a netlink answer", error))?;
        self.buffer.0.get(..length).ok_or_else(cut)
    }
}

/// The error number that an acknowledgement or the end of a dump begins with; 0 is success.
fn verdict(payload: &[u8], about: &str) -> Result<(), KernelError> {
    let number = payload
        .first_chunk()
        .copied()
        .map(i32::from_ne_bytes)
        .ok_or_else(cut)?;
    match number {
        0.. => Ok(()),
        number => Err(KernelError::of(
            about,
            std::io::Error::from_raw_os_error(number.saturating_neg()),
        )),
    }
}

/// The messages of a datagram.
fn split(mut bytes: &[u8]) -> Result<Vec<NetlinkBuffer<&[u8]>>, KernelError> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes).map_err(|_| cut())?;
        let length = usize::try_from(message.length()).map_err(|_| cut())?;
        let (message, _) = bytes.split_at_checked(length).ok_or_else(cut)?;
        messages.push(NetlinkBuffer::new_checked(message).map_err(|_| cut())?);
        // Each begins on four bytes; the last may end where it ends.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(messages)
}

fn cut() -> KernelError {
    KernelError::Unreadable {
        what: "a netlink message was cut".to_owned(),
    }
}
