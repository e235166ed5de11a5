//! Serves what was passed from the agent's namespace: the capture listeners, the DNS stub and the log of packets.
//!
//! Not here: receiving the sockets (`sockets`), and what each of them serves (`listener`, `dns_serve`, `packets`).
//!
//! Clauses: N3, N4, R6, W8.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use policies::DnsName;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::app::App;
use crate::capture::Capture;
use crate::dns_stub::{Judge, Stub};
use crate::listener::{self, Door};
use crate::live::Phase;
use crate::sockets::Passed;
use crate::synthetic::Synthetic;
use crate::{dns_serve, packets};

/// Serves `passed` but for its explicit listeners. `own_names` are the sandbox's own names.
///
/// What it gives ends when the proxy does, once all that was counted is handed to the record: to be waited for.
///
/// # Errors
/// A socket cannot be watched.
pub(crate) fn serve(
    app: &Arc<App>,
    passed: Passed,
    own_names: Vec<DnsName>,
) -> io::Result<JoinSet<()>> {
    let synthetic = Synthetic::default();
    let alone = passed.capture.is_empty();
    for listener in passed.capture {
        listener.set_nonblocking(true)?;
        let door = Door::Capture(Capture::new(synthetic.clone()));
        drop(tokio::spawn(listener::serve(
            TcpListener::from_std(listener)?,
            door,
            Arc::clone(app),
        )));
    }
    let judge = Arc::clone(app);
    let judge: Judge = Box::new(move |name| judge.live.policy().allows_name(name));
    let stub = Stub::new(judge, synthetic, own_names);
    answer((passed.dns_udp, passed.dns_tcp), &stub, app)?;
    let mut reports = JoinSet::new();
    reports.spawn(queries(Arc::clone(app), stub));
    match passed.nflog {
        Some(nflog) => drop(reports.spawn(refused(Arc::clone(app), nflog))),
        None if alone => {} // there is no sandbox
        None => tracing::warn!(
            "this kernel does not log packets: those that it refuses are not in the record"
        ),
    }
    Ok(reports)
}

/// Serves the stub on a thread of its own, which ends when the proxy does.
fn answer(
    (datagrams, listeners): (Vec<std::net::UdpSocket>, Vec<std::net::TcpListener>),
    stub: &Arc<Stub>,
    app: &Arc<App>,
) -> io::Result<()> {
    if datagrams.is_empty() && listeners.is_empty() {
        return Ok(()); // there is no sandbox; a runtime that nobody took along could not be dropped here
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut tasks = JoinSet::new();
    let within = runtime.enter();
    for socket in datagrams {
        socket.set_nonblocking(true)?;
        let (socket, stub, app) = (
            UdpSocket::from_std(socket)?,
            Arc::clone(stub),
            Arc::clone(app),
        );
        tasks.spawn(async move { dns_serve::udp(socket, stub, ending(&app)).await });
    }
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let (listener, stub, app) = (
            TcpListener::from_std(listener)?,
            Arc::clone(stub),
            Arc::clone(app),
        );
        tasks.spawn(async move { dns_serve::tcp(listener, stub, ending(&app)).await });
    }
    drop(within);
    let served = move || drop(runtime.block_on(tasks.join_all()));
    std::thread::Builder::new()
        .name("dns".to_owned())
        .spawn(served)
        .map(drop)
}

/// Until what is open is cut: while it drains, it may still ask for names.
async fn ending(app: &App) {
    app.live.reached(Phase::Ending).await;
}

async fn queries(app: Arc<App>, stub: Arc<Stub>) {
    stub.report(|event| app.sink.owe(event), ending(&app)).await;
}

async fn refused(app: Arc<App>, nflog: OwnedFd) {
    let read = packets::run(nflog, |event| app.sink.owe(event), ending(&app));
    if let Err(error) = read.await {
        tracing::error!(%error, "the kernel's log of packets cannot be read");
    }
}
