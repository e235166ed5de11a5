//! The channel for published ports, with a namespace's side played by the test.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SocketFlags, sendmsg, socketpair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// The other side, as `ocs-netctl` plays it.
struct Inside(OwnedFd);

impl Inside {
    /// The next request, as text.
    fn read(&self) -> String {
        let (bytes, descriptors) = read_message(self.0.as_fd(), RecvFlags::empty()).unwrap();
        assert_eq!(descriptors.len(), 0);
        String::from_utf8(bytes).unwrap()
    }

    fn say(&self, text: &str, descriptors: &[OwnedFd]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        if !borrowed.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        }
        sendmsg(
            &self.0,
            &[IoSlice::new(text.as_bytes())],
            &mut control,
            SendFlags::empty(),
        )
        .unwrap();
    }
}

fn start() -> (Arc<DialIn>, Inside, tokio::task::JoinHandle<()>) {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let dial_in = DialIn::new(ours).unwrap();
    let reader = tokio::spawn({
        let dial_in = Arc::clone(&dial_in);
        async move { dial_in.run().await }
    });
    (dial_in, Inside(theirs), reader)
}

/// Both ends of a TCP connection on loopback.
fn connection_pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the test plays ocs-netctl, which connects"
    )]
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_nonblocking(true).unwrap();
    (near.into(), TcpStream::from_std(far).unwrap())
}

async fn answered(text: &'static str, descriptors: Vec<OwnedFd>) -> Result<TcpStream, DialInError> {
    let (dial_in, inside, _reader) = start();
    let side = tokio::task::spawn_blocking(move || {
        assert_eq!(inside.read(), r#"{"v":1,"kind":"dial","id":1,"port":4096}"#);
        inside.say(text, &descriptors);
        inside
    });
    let outcome = dial_in.connect(4096, LIMIT).await;
    drop(side.await.unwrap());
    outcome
}

#[tokio::test]
async fn the_connection_of_the_answer_carries_bytes() {
    let (near, mut far) = connection_pair();
    let mut stream = answered(r#"{"v":1,"kind":"dialled","id":1}"#, vec![near])
        .await
        .unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut read = [0; 4];
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"ping");
}

#[tokio::test]
async fn a_refusal_inside_is_told_with_its_reason() {
    let text = r#"{"v":1,"kind":"refused","id":1,"error":"connection refused"}"#;
    let refused = answered(text, Vec::new()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "refused inside the sandbox: connection refused"
    );
}

#[tokio::test]
async fn an_answer_without_a_descriptor_is_not_a_connection() {
    let refused = answered(r#"{"v":1,"kind":"dialled","id":1}"#, Vec::new()).await;
    assert!(matches!(refused, Err(DialInError::NotAConnection)));
}

#[tokio::test]
async fn an_answer_with_a_listener_is_not_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap().into();
    let refused = answered(r#"{"v":1,"kind":"dialled","id":1}"#, vec![listener]).await;
    assert!(matches!(refused, Err(DialInError::NotAConnection)));
}

#[tokio::test]
async fn an_answer_with_a_datagram_socket_is_not_a_connection() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap().into();
    let refused = answered(r#"{"v":1,"kind":"dialled","id":1}"#, vec![socket]).await;
    assert!(matches!(refused, Err(DialInError::NotAConnection)));
}

#[tokio::test]
async fn answers_in_another_order_reach_their_askers() {
    let (dial_in, inside, _reader) = start();
    let ((near1, _far1), (near2, _far2)) = (connection_pair(), connection_pair());
    let peer = |fd: &OwnedFd| {
        std::net::SocketAddr::try_from(rustix::net::getpeername(fd).unwrap().unwrap()).unwrap()
    };
    let (peer1, peer2) = (peer(&near1), peer(&near2));
    let side = tokio::task::spawn_blocking(move || {
        let mut asked = [inside.read(), inside.read()];
        asked.sort();
        inside.say(r#"{"v":1,"kind":"dialled","id":2}"#, &[near2]);
        inside.say(r#"{"v":1,"kind":"dialled","id":1}"#, &[near1]);
        (asked, inside)
    });
    let (first, second) = tokio::join!(dial_in.connect(1, LIMIT), dial_in.connect(2, LIMIT));
    assert_eq!(
        (
            first.unwrap().peer_addr().unwrap(),
            second.unwrap().peer_addr().unwrap()
        ),
        (peer1, peer2)
    );
    assert_eq!(
        side.await.unwrap().0,
        [
            r#"{"v":1,"kind":"dial","id":1,"port":1}"#,
            r#"{"v":1,"kind":"dial","id":2,"port":2}"#
        ]
    );
}

#[tokio::test]
async fn a_message_that_is_not_understood_disturbs_no_one() {
    let (dial_in, inside, _reader) = start();
    let (near, _far) = connection_pair();
    let side = tokio::task::spawn_blocking(move || {
        inside.read();
        inside.say("not json", &[]);
        inside.say(r#"{"v":2,"kind":"dialled","id":1}"#, &[]);
        inside.say(r#"{"v":1,"kind":"dialled","id":99}"#, &[]);
        inside.say(r#"{"v":1,"kind":"dialled","id":1}"#, &[near]);
        inside
    });
    dial_in.connect(4096, LIMIT).await.unwrap();
    side.await.unwrap();
}

#[tokio::test]
async fn when_the_channel_ends_all_who_wait_and_all_who_come_later_are_told() {
    let (dial_in, inside, reader) = start();
    let side = tokio::task::spawn_blocking(move || drop((inside.read(), inside)));
    assert!(matches!(
        dial_in.connect(1, LIMIT).await,
        Err(DialInError::Gone)
    ));
    side.await.unwrap();
    reader.await.unwrap();
    assert!(matches!(
        dial_in.connect(2, LIMIT).await,
        Err(DialInError::Gone)
    ));
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_a_timeout_and_leaves_nothing_behind() {
    let (dial_in, _inside, _reader) = start();
    assert!(matches!(
        dial_in.connect(1, LIMIT).await,
        Err(DialInError::Timeout)
    ));
    assert_eq!(dial_in.waiting().answers.len(), 0);
}
