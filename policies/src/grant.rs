//! What one entry lets through: which port, by which way, and what the connection must then carry.
//!
//! Clauses: P5.

use crate::pattern::Extent;
use crate::verdict::{Reach, RuleId};
use crate::{Carries, Port, Reason, Scheme, Via};

/// An entry that allows, compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    pub(crate) kind: Kind,
    pub(crate) rule: RuleId,
}

/// The list that an entry stands in, with what it says there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `host-ports`.
    Host(Port),
    /// `http-domain-whitelist` or a preset.
    List(Extent, Option<Port>),
    /// `llm-endpoints`.
    Llm(Scheme, Port),
    /// `tcp-endpoints`.
    Tcp(Port),
}

/// Whether an entry that covers the host lets a request through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Yes, if this is what it carries.
    Lets(Carries),
    /// No, because of the port or the way.
    Misses(Reason),
}

impl Kind {
    /// The section of the file.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Host(_) => "host-ports",
            Self::List(..) => "http-domain-whitelist",
            Self::Llm(..) => "llm-endpoints",
            Self::Tcp(_) => "tcp-endpoints",
        }
    }

    /// Which addresses a name may then lead to.
    pub(crate) const fn reach(self) -> Reach {
        match self {
            Self::Llm(..) => Reach::Lan,
            Self::Host(_) | Self::List(..) | Self::Tcp(_) => Reach::Public,
        }
    }

    /// The ports that the entry opens.
    pub(crate) fn ports(self) -> impl Iterator<Item = Port> {
        let (first, second) = match self {
            Self::Host(port) | Self::List(_, Some(port)) | Self::Llm(_, port) | Self::Tcp(port) => {
                (port, None)
            }
            Self::List(_, None) => (Port::HTTP, Some(Port::HTTPS)),
        };
        std::iter::once(first).chain(second)
    }

    /// Judges port and way; the host is covered already.
    pub(crate) fn fit(self, port: Port, via: Via) -> Fit {
        match self {
            Self::List(_, None) => usual(port, via),
            Self::Host(listed)
            | Self::List(_, Some(listed))
            | Self::Llm(_, listed)
            | Self::Tcp(listed)
                if listed != port =>
            {
                Fit::Misses(Reason::Port)
            }
            Self::Host(_) | Self::Tcp(_) => raw(via),
            Self::List(_, Some(_)) => http_or_tls(via),
            Self::Llm(scheme, _) => model_server(scheme, via),
        }
    }
}

/// An entry without a port: plain HTTP on 80, TLS on 443.
fn usual(port: Port, via: Via) -> Fit {
    match via {
        Via::Connect | Via::CapturedTls if port == Port::HTTPS => Fit::Lets(Carries::Tls),
        Via::Http | Via::CapturedHttp if port == Port::HTTP => Fit::Lets(Carries::Http),
        Via::CapturedHttp if port == Port::HTTPS => Fit::Misses(Reason::NotTls),
        Via::CapturedTcp if port == Port::HTTP || port == Port::HTTPS => {
            Fit::Misses(Reason::NotTls)
        }
        Via::Connect | Via::Http | Via::CapturedHttp | Via::CapturedTcp | Via::CapturedTls => {
            Fit::Misses(Reason::Port)
        }
    }
}

/// `name:port`: either, as the client chooses; CONNECT is for TLS.
const fn http_or_tls(via: Via) -> Fit {
    match via {
        Via::Connect | Via::CapturedTls => Fit::Lets(Carries::Tls),
        Via::Http | Via::CapturedHttp => Fit::Lets(Carries::Http),
        Via::CapturedTcp => Fit::Misses(Reason::NotTls),
    }
}

/// Anything; an absolute-form request is HTTP by its form.
const fn raw(via: Via) -> Fit {
    match via {
        Via::Http => Fit::Lets(Carries::Http),
        Via::Connect | Via::CapturedHttp | Via::CapturedTcp | Via::CapturedTls => {
            Fit::Lets(Carries::Raw)
        }
    }
}

/// Exactly what the scheme says, also inside CONNECT: some clients tunnel plain HTTP.
const fn model_server(scheme: Scheme, via: Via) -> Fit {
    match (scheme, via) {
        (Scheme::Http, Via::Connect | Via::Http | Via::CapturedHttp) => Fit::Lets(Carries::Http),
        (Scheme::Http, Via::CapturedTls) => Fit::Misses(Reason::Port),
        (Scheme::Https, Via::Connect | Via::CapturedTls) => Fit::Lets(Carries::Tls),
        (Scheme::Https, Via::Http | Via::CapturedHttp)
        | (Scheme::Http | Scheme::Https, Via::CapturedTcp) => Fit::Misses(Reason::NotTls),
    }
}

impl Carries {
    /// What may be inside when two entries let the same request through. One more entry never takes anything away.
    #[must_use]
    pub(crate) const fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Raw, _) | (_, Self::Raw) => Self::Raw,
            (Self::Tls, Self::Tls) => Self::Tls,
            (Self::Http, Self::Http) => Self::Http,
            (Self::Tls | Self::TlsOrHttp, Self::Http | Self::TlsOrHttp)
            | (Self::Http | Self::TlsOrHttp, Self::Tls | Self::TlsOrHttp) => Self::TlsOrHttp,
        }
    }
}
