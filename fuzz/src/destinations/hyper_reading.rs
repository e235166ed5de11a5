//! hyper's server, given a head and then the end of the connection.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http_body_util::Empty;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::http::uri::Authority;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::{Request, Response};

use super::{Reading, Theirs};
use proxy::fuzz::Body;

/// What hyper reads in `head`; a Host line without a port has `default`.
pub(super) fn read(head: &[u8], default: u16) -> Reading {
    let seen = Rc::new(RefCell::new(None));
    let service = {
        let seen = Rc::clone(&seen);
        hyper::service::service_fn(move |request: Request<Incoming>| {
            seen.borrow_mut()
                .get_or_insert_with(|| theirs(&request, default));
            answer()
        })
    };
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(Wire(head), service);
    let mut connection = pin!(connection);
    let mut context = Context::from_waker(Waker::noop());
    // Nothing of it ever waits, but it yields now and then.
    let ended = (0..64).find_map(|_| match connection.as_mut().poll(&mut context) {
        Poll::Ready(ended) => Some(ended),
        Poll::Pending => None,
    });
    match (seen.take(), ended) {
        (Some(theirs), _) => Reading::Request(theirs),
        (None, Some(Err(error))) if error.is_incomplete_message() => Reading::More,
        (None, _) => Reading::Refused,
    }
}

fn answer() -> Ready<Result<Response<Empty<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Empty::new())))
}

fn theirs(request: &Request<Incoming>, default: u16) -> Theirs {
    let uri = request.uri();
    let hosts = request.headers().get_all("host").iter().count();
    let named = |authority: &Authority, default| {
        (
            authority.host().to_owned(),
            authority.port_u16().unwrap_or(default),
        )
    };
    let of_target = uri.authority().map(|authority| match uri.scheme_str() {
        Some("https") => named(authority, 443),
        _ => named(authority, 80),
    });
    let of_host = || {
        let line = request.headers().get("host")?.to_str().ok()?;
        line.parse::<Authority>()
            .ok()
            .map(|authority| named(&authority, default))
    };
    Theirs {
        method: request.method().to_string(),
        target: uri.to_string(),
        names: of_target.or_else(of_host),
        hosts,
        body: match request.body().size_hint().exact() {
            Some(length) => Some(Body::Length(length)),
            None => Some(Body::Chunked),
        },
    }
}

/// Gives the head, and then the end; takes every answer.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let count = buffer.remaining().min(self.0.len());
        let (now, later) = self.0.split_at(count);
        buffer.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
