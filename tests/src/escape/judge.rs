//! How a row must end, and whether it did: at the origins, at the DNS server, in the kernel's count, in the record, and
//! last of all at the client.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::project::{Decided, Record};
use crate::run::Finished;
use crate::spec::{Connection, Readings};

use super::row::Row;

/// All that is known of one attempt.
#[derive(Debug)]
pub struct Evidence {
    /// The client, and what it says.
    pub client: Finished,
    /// What reached the far ends.
    pub readings: Readings,
    /// The record of the run; a peer has none.
    pub record: Option<Record>,
}

/// What `attack.py` prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Said {
    /// Of every HTTP answer, in order.
    pub statuses: Vec<u16>,
    /// All that came, as Latin-1.
    pub text: String,
    /// Whether the other side ended the connection.
    pub closed: bool,
}

/// How a row must end.
#[derive(Debug, Clone)]
pub enum Expect {
    /// 400 and closed.
    Malformed,
    /// The host is reached, and no other.
    Passes {
        /// As recorded, and as the origin was told.
        host: String,
        /// As recorded.
        port: u16,
    },
    /// 403, or the connection ends.
    Refused {
        /// What the record says.
        decided: Decided,
        /// The one name that may be asked for.
        may_ask: Option<String>,
    },
}

impl Expect {
    /// A refused request.
    #[must_use]
    pub fn refused(host: &str, port: u16, reason: &str) -> Self {
        Self::Refused {
            decided: Decided::request(host, port.into(), reason),
            may_ask: None,
        }
    }

    /// The same, where an allowed name is looked up before its address is refused.
    #[must_use]
    pub fn after_asking(self, name: &str) -> Self {
        match self {
            Self::Refused { decided, .. } => Self::Refused {
                decided,
                may_ask: Some(name.to_owned()),
            },
            Self::Malformed | Self::Passes { .. } => self,
        }
    }

    /// Whether several rows may be tried in one run, to be told apart by the order of the record.
    #[must_use]
    pub fn is_refused_request(&self) -> bool {
        match self {
            Self::Malformed => true,
            Self::Passes { .. } => false,
            Self::Refused { decided, .. } => decided.event == "request",
        }
    }

    /// The one name that may be asked for.
    #[must_use]
    pub fn may_ask(&self) -> Option<&str> {
        match self {
            Self::Malformed => None,
            Self::Passes { host, .. } => Some(host),
            Self::Refused { may_ask, .. } => may_ask.as_deref(),
        }
    }

    /// Whether it ended so: by what the client was told, and by what stands on record.
    ///
    /// # Errors
    /// What was wrong.
    pub fn judge(&self, said: &Said, on_record: &[Decided]) -> Result<()> {
        match self {
            Self::Malformed => {
                ensure!(said.statuses == [400], "not one 400: {said:?}");
                ensure!(said.closed, "left open after a 400");
                ensure!(
                    matches!(on_record, [one] if one.verdict == "malformed"),
                    "not one malformed request on record: {on_record:?}"
                );
            }
            Self::Passes { host, port } => {
                let wanted = [Decided::request(host, (*port).into(), "allow")];
                ensure!(on_record == wanted, "the record has {on_record:?}");
            }
            Self::Refused { decided, .. } => {
                ensure!(said.closed, "left open after a refusal: {said:?}");
                let told = said.statuses.iter();
                ensure!(
                    told.clone().all(|status| [200, 403].contains(status)),
                    "the client was told {said:?}"
                );
                let wanted = std::slice::from_ref(decided);
                ensure!(on_record == wanted, "the record has {on_record:?}");
            }
        }
        Ok(())
    }
}

impl Evidence {
    /// What the client says of each attack; one that could not be made is an error, never a refusal.
    ///
    /// # Errors
    /// Not as many reports as attacks.
    pub fn said(&self, count: usize) -> Result<Vec<Said>> {
        let said = self.client.stdout.lines().map(serde_json::from_str);
        let said: Vec<Said> = said
            .collect::<Result<_, _>>()
            .with_context(|| format!("no report: {}", self.client))?;
        ensure!(said.len() == count, "{} reports of {count}", said.len());
        Ok(said)
    }

    /// As far as the outside can tell: what a peer is judged by.
    ///
    /// # Errors
    /// What got out, or did not get through.
    pub fn judge_outside(&self, rows: &[Row]) -> Result<()> {
        match rows {
            [
                Row {
                    expect: Expect::Passes { host, .. },
                    ..
                },
            ] => self.reached_only(host),
            rows => {
                let may_ask: Vec<_> = rows.iter().filter_map(|row| row.expect.may_ask()).collect();
                self.nothing_left(&may_ask)
            }
        }
    }

    /// Everything: outside, at the client, on record.
    ///
    /// # Errors
    /// What was wrong, with the row where it can be told.
    pub fn judge(&self, rows: &[Row]) -> Result<()> {
        self.judge_outside(rows)?;
        let said = self.said(rows.len())?;
        if let [row] = rows {
            let [said] = said.as_slice() else {
                bail!("no report")
            };
            let on_record = if row.expect.is_refused_request() {
                self.requests()?
            } else {
                self.decided()?
            };
            return row.expect.judge(said, &on_record);
        }
        let requests = self.requests()?;
        ensure!(
            requests.len() == rows.len(),
            "{} requests on record for {} attempts: {requests:#?}",
            requests.len(),
            rows.len()
        );
        for ((row, said), request) in rows.iter().zip(&said).zip(&requests) {
            let judged = row.expect.judge(said, std::slice::from_ref(request));
            judged.with_context(|| format!("{row:?}"))?;
        }
        Ok(())
    }

    /// Nothing got out: no connection, no packet, no query but for the one name.
    ///
    /// # Errors
    /// What got out.
    pub fn nothing_left(&self, may_ask: &[&str]) -> Result<()> {
        let Readings {
            queries,
            connections,
            flows,
        } = &self.readings;
        if let Some(Connection {
            side,
            address,
            port,
            ..
        }) = connections.first()
        {
            bail!("reached {address} port {port} of the {side}");
        }
        for query in queries {
            ensure!(
                may_ask.contains(&query.name.as_str()),
                "asked a DNS server for {} {}",
                query.kind,
                query.name
            );
        }
        for flow in flows {
            ensure!(
                !may_ask.is_empty() && flow.port == 53,
                "sent {} to {} port {}",
                flow.protocol,
                flow.address,
                flow.port
            );
        }
        Ok(())
    }

    /// The host was reached, and nothing else was.
    ///
    /// # Errors
    /// What else was, or that it was not.
    pub fn reached_only(&self, host: &str) -> Result<()> {
        let seen = &self.readings.connections;
        ensure!(!seen.is_empty(), "refused what must pass: {}", self.brief());
        for connection in seen {
            let named = connection.sni.iter().map(String::as_str).chain(
                connection
                    .requests
                    .iter()
                    .filter_map(|request| request.header("host")),
            );
            for name in named {
                let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
                ensure!(
                    name.eq_ignore_ascii_case(host),
                    "the origin was told `{name}`, not `{host}`"
                );
            }
            let address = connection.address.to_string();
            ensure!(address != crate::order::EVIL_ADDRESS, "reached evil.test");
        }
        let served = seen
            .iter()
            .flat_map(|connection| &connection.requests)
            .count();
        ensure!(served > 0, "no request arrived: {}", self.brief());
        for query in &self.readings.queries {
            ensure!(query.name == host, "asked for {}", query.name);
        }
        Ok(())
    }

    fn brief(&self) -> String {
        let statuses = self.client.stdout.split(", \"text\"").next();
        format!("{:.80}", statuses.unwrap_or_default())
    }

    /// Every request on record, in order, none left out.
    ///
    /// # Errors
    /// There is no record.
    pub fn requests(&self) -> Result<Vec<Decided>> {
        let record = self.record.as_ref().context("no record")?;
        Ok(record.decided_each("request"))
    }

    /// Every decision on record but the fence's own probes, sorted, each once.
    ///
    /// # Errors
    /// There is no record.
    pub fn decided(&self) -> Result<Vec<Decided>> {
        Ok(self.record.as_ref().context("no record")?.decided())
    }

    /// The one `close` of the one request.
    ///
    /// # Errors
    /// There is none, or another.
    pub fn close(&self) -> Result<Value> {
        let record = self.record.as_ref().context("no record")?;
        match record.of_kind("close").as_slice() {
            [one] => Ok((*one).clone()),
            other => bail!("not one close: {other:?}"),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.client)?;
        writeln!(f, "{:?}", self.readings)?;
        let lines = self.record.as_ref().map(|record| record.lines.as_slice());
        lines
            .unwrap_or_default()
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}
