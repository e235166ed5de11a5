//! Real clients, each without any proxy variable and then with all of them, allowed and refused: `docs/clients.md`.
//! Judged at the origins, at the DNS server, by the kernel's count of what left, and by the record.
//! Needs `make clients-packages`.
//! Clauses: N3, N4, P4, P5, W1, W5, R1.

use anyhow::Result;
use harness::client::Origin::{Grpc, Http2, Packages, Postgres, Redis, Ssh, WebSocket};
use harness::client::{Client, Timed};

/// Captured without variables, and with them by CONNECT.
const HONOURS: [&str; 2] = ["captured-tls", "connect"];
/// Captured whatever the variables say.
const IGNORES: [&str; 2] = ["captured-tls", "captured-tls"];
/// A protocol of its own, to a listed endpoint.
const RAW: [&str; 2] = ["captured-tcp", "captured-tcp"];

/// What most of them are.
const WEB: Client = Client {
    name: "",
    version: "",
    line: "",
    timed: Timed::Call,
    host: "ok.test",
    port: 443,
    expects: "hello from ok.test",
    via: HONOURS,
    asides: &[],
};

#[test]
fn curl() -> Result<()> {
    Client {
        name: "curl",
        version: "curl --version",
        line: "curl -sSf https://NAME:PORT/",
        timed: Timed::Sockets,
        ..WEB
    }
    .tried(&[])
}

#[test]
fn wget() -> Result<()> {
    let line = "wget -nv --ca-certificate=$SSL_CERT_FILE -O - https://NAME:PORT/";
    Client {
        name: "wget",
        version: "wget --version",
        line,
        timed: Timed::Sockets,
        ..WEB
    }
    .tried(&[])
}

#[test]
fn git_over_https() -> Result<()> {
    let line = "rm -rf /tmp/clone; git clone -q https://NAME:PORT/static/repo.git /tmp/clone && cat /tmp/clone/file";
    Client {
        name: "git over https",
        version: "git --version",
        line,
        timed: Timed::Sockets,
        expects: "hello from git",
        ..WEB
    }
    .tried(&[Packages])
}

#[test]
fn git_over_ssh() -> Result<()> {
    let line = "rm -rf /tmp/clone; install -m 600 key /tmp/key; export GIT_SSH_COMMAND='ssh -F none -i /tmp/key \
                -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes'; \
                git clone -q ssh://alice@NAME:PORT/home/static/repo.git /tmp/clone && cat /tmp/clone/file";
    Client {
        name: "git over ssh",
        version: "git --version; ssh -V",
        line,
        timed: Timed::Sockets,
        host: "git.w.test",
        port: 2222,
        expects: "hello from git",
        via: RAW,
        ..WEB
    }
    .tried(&[Ssh])
}

#[test]
fn node_fetch() -> Result<()> {
    let line = "node /home/suite/scripts/fetch.mjs fetch https://NAME:PORT/ COUNT";
    Client {
        name: "Node fetch",
        version: "node --version",
        line,
        via: IGNORES,
        ..WEB
    }
    .tried(&[])
}

#[test]
fn node_http2() -> Result<()> {
    let line = "node /home/suite/scripts/fetch.mjs http2 https://NAME:PORT/ COUNT";
    Client {
        name: "Node http2",
        version: "node --version",
        line,
        host: "h2.w.test",
        port: 9445,
        expects: "hello from HTTP/2.0",
        via: IGNORES,
        ..WEB
    }
    .tried(&[Http2])
}

fn python(name: &'static str, package: &'static str, line: &'static str) -> Client {
    Client {
        name,
        version: package,
        line,
        ..WEB
    }
}

#[test]
fn python_requests() -> Result<()> {
    let line = "python3 /home/suite/scripts/fetch.py requests https://NAME:PORT/ COUNT";
    python(
        "Python requests",
        "python3 -c 'import requests; print(requests.__version__)'",
        line,
    )
    .tried(&[])
}

#[test]
fn python_httpx() -> Result<()> {
    let line = "python3 /home/suite/scripts/fetch.py httpx https://NAME:PORT/ COUNT";
    python(
        "Python httpx",
        "python3 -c 'import httpx; print(httpx.__version__)'",
        line,
    )
    .tried(&[])
}

#[test]
fn python_aiohttp() -> Result<()> {
    let line = "python3 /home/suite/scripts/fetch.py aiohttp https://NAME:PORT/ COUNT";
    python(
        "Python aiohttp",
        "python3 -c 'import aiohttp; print(aiohttp.__version__)'",
        line,
    )
    .tried(&[])
}

#[test]
fn pip() -> Result<()> {
    let line = "rm -rf /tmp/got; PYTHONPATH= python3 -m pip download --no-deps --no-cache-dir --disable-pip-version-check \
                --retries 0 -d /tmp/got --index-url https://NAME:PORT/static/simple tiny && \
                PYTHONPATH=/tmp/got/tiny-1.0-py3-none-any.whl python3 -c 'import tiny; print(tiny.WORDS)'";
    Client {
        name: "pip",
        version: "PYTHONPATH= python3 -m pip --version",
        line,
        timed: Timed::Sockets,
        expects: "hello from pip",
        ..WEB
    }
    .tried(&[Packages])
}

#[test]
fn npm() -> Result<()> {
    let line = "rm -rf /tmp/got; mkdir /tmp/got; npm install --prefix /tmp/got --cache /tmp/npm --registry https://NAME:PORT/static/npm/ \
                --no-audit --no-fund --no-update-notifier --logs-max 0 --fetch-retries 0 tiny && cat /tmp/got/node_modules/tiny/file";
    Client {
        name: "npm",
        version: "npm --version",
        line,
        timed: Timed::Sockets,
        expects: "hello from npm",
        ..WEB
    }
    .tried(&[Packages])
}

#[test]
fn cargo() -> Result<()> {
    let line = "sh /home/suite/scripts/cargo.sh NAME:PORT";
    Client {
        name: "cargo",
        version: "cargo --version",
        line,
        timed: Timed::Sockets,
        expects: "hello from cargo",
        ..WEB
    }
    .tried(&[Packages])
}

#[test]
fn go_net_http() -> Result<()> {
    let line = "fetch-go https://NAME:PORT/ COUNT";
    Client {
        name: "Go net/http",
        version: "go version fetch-go || go version",
        line,
        ..WEB
    }
    .tried(&[])
}

#[test]
fn java_http_client() -> Result<()> {
    let line = "$(ls -d /usr/lib/jvm/java-*-openjdk-*/bin/java | sort | tail -n 1) -cp /home/suite/clients/java Fetch https://NAME:PORT/ COUNT";
    let version = "$(ls -d /usr/lib/jvm/java-*-openjdk-*/bin/java | sort | tail -n 1) --version";
    Client {
        name: "Java HttpClient",
        version,
        line,
        ..WEB
    }
    .tried(&[])
}

#[test]
fn openssl_s_client() -> Result<()> {
    let line = "printf 'GET / HTTP/1.0\\r\\nHost: NAME\\r\\n\\r\\n' | \
                openssl s_client -quiet -CAfile $SSL_CERT_FILE -verify_return_error -connect NAME:PORT -servername NAME";
    Client {
        name: "openssl s_client",
        version: "openssl version",
        line,
        timed: Timed::Sockets,
        via: IGNORES,
        ..WEB
    }
    .tried(&[])
}

#[test]
fn psql() -> Result<()> {
    let line = "psql=$(ls -d /usr/lib/postgresql/*/bin/psql | tail -n 1); \
                $psql -h NAME -p PORT -U alice -d postgres -Atc \"select 'hello from ' || 'postgres'\"";
    Client {
        name: "psql",
        version: "$(ls -d /usr/lib/postgresql/*/bin/psql | tail -n 1) --version",
        line,
        timed: Timed::Sockets,
        host: "pg.w.test",
        port: 5433,
        expects: "hello from postgres",
        via: RAW,
        ..WEB
    }
    .tried(&[Postgres])
}

#[test]
fn redis_cli() -> Result<()> {
    // The server says which port it listens on; redis-cli ends with 0 whatever it was told.
    let line = "redis-cli -h NAME -p PORT info server >/tmp/redis; cat /tmp/redis | grep -aE '^tcp_port|^Error|rror:' ; grep -q tcp_port /tmp/redis";
    Client {
        name: "redis-cli",
        version: "redis-cli --version",
        line,
        timed: Timed::Sockets,
        host: "redis.w.test",
        port: 6379,
        expects: "tcp_port:6379",
        via: RAW,
        ..WEB
    }
    .tried(&[Redis])
}

#[test]
fn apt() -> Result<()> {
    let line = "sh /home/suite/scripts/apt.sh NAME:PORT";
    Client {
        name: "apt",
        version: "apt-get --version",
        line,
        timed: Timed::Sockets,
        expects: "hello from apt",
        asides: &["_https._tcp.NAME"],
        ..WEB
    }
    .tried(&[Packages])
}

#[test]
fn grpc_of_python() -> Result<()> {
    let line = "python3 /home/suite/scripts/fetch.py grpc https://NAME:PORT/ COUNT";
    Client {
        name: "gRPC (Python)",
        version: "python3 -c 'import grpc; print(grpc.__version__)'",
        line,
        host: "grpc.w.test",
        port: 9444,
        expects: "hello from grpc",
        ..WEB
    }
    .tried(&[Grpc])
}

#[test]
fn grpc_of_node() -> Result<()> {
    let line = "node /home/suite/scripts/fetch.mjs grpc https://NAME:PORT/ COUNT";
    Client {
        name: "gRPC (Node)",
        version: "node -p 'require(\"/home/suite/clients/node_modules/@grpc/grpc-js/package.json\").version'",
        line,
        host: "grpc.w.test",
        port: 9444,
        expects: "hello from grpc",
        asides: &["NAME"],
        ..WEB
    }
    .tried(&[Grpc])
}

#[test]
fn websocket_of_python() -> Result<()> {
    let line = "python3 /home/suite/scripts/fetch.py websockets wss://NAME:PORT/ COUNT";
    Client {
        name: "WebSocket (Python websockets)",
        version: "python3 -c 'import websockets; print(websockets.__version__)'",
        line,
        host: "ws.w.test",
        port: 9443,
        expects: "hello from a socket",
        ..WEB
    }
    .tried(&[WebSocket])
}

#[test]
fn websocket_of_node() -> Result<()> {
    let line = "node /home/suite/scripts/fetch.mjs ws wss://NAME:PORT/ COUNT";
    Client {
        name: "WebSocket (Node ws)",
        version: "node -p 'require(\"/home/suite/clients/node_modules/ws/package.json\").version'",
        line,
        host: "ws.w.test",
        port: 9443,
        expects: "hello from a socket",
        via: IGNORES,
        ..WEB
    }
    .tried(&[WebSocket])
}

#[test]
fn a_stream_of_events() -> Result<()> {
    let line = "python3 /home/suite/scripts/fetch.py sse https://NAME:PORT/events COUNT";
    Client {
        name: "SSE (httpx-sse)",
        version: "python3 -c 'from importlib.metadata import version; print(version(\"httpx-sse\"), \"over httpx\", version(\"httpx\"))'",
        line,
        host: "h2.w.test",
        port: 9445,
        expects: "hello from a stream",
        ..WEB
    }
    .tried(&[Http2])
}
