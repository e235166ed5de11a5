//! Asks each of `llm-endpoints` for its models before a start, from the host's side, as `ocs-proxy` will reach it: directly.
//! An answer is news for people and the list for the agent's provider section; it decides nothing and blocks no start.
//! Not responsible for what may be reached: `policies` is.
use std::fmt;
use std::time::Duration;

use policies::LlmEndpoint;

use crate::curl::{self, ANSWER_MAX_BYTES};
use crate::engine::spawn::SpawnError;

/// Names that mean the host to an agent, and nothing to the host itself (docs/policy-file.md, `host-ports`).
const HOST_NAMES: [&str; 3] = [
    "docker.host",
    "host.docker.internal",
    "host.containers.internal",
];
/// How long a server may take to answer, all in all.
const ANSWER_SECONDS: &str = "3";
/// When curl itself is given up.
const CURL_LIMIT: Duration = Duration::from_secs(5);

/// What one model server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    /// The entry, as the agent writes it.
    pub(crate) url: String,
    /// Its answer.
    pub(crate) answer: Answer,
}

/// One model of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// Its id.
    pub(crate) id: String,
    /// How many tokens it reads at once, where the server says it (`max_model_len` of vLLM, and what others call it).
    pub(crate) context: Option<u64>,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// An answer to `GET /v1/models`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It serves these, by their ids.
    Models(Vec<Model>),
    /// It is there, and answers something else: it may want a key, or be no model server.
    Other(String),
    /// Nobody answered in time.
    Silent(String),
    /// Nobody asked, because something is missing here.
    Unasked(String),
}

impl Probed {
    /// Its models, none where it gave none.
    pub(crate) fn models(&self) -> &[Model] {
        match &self.answer {
            Answer::Models(models) => models,
            Answer::Other(_) | Answer::Silent(_) | Answer::Unasked(_) => &[],
        }
    }
}

impl fmt::Display for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.url;
        match &self.answer {
            Answer::Models(models) if models.is_empty() => write!(f, "{url} serves no model"),
            Answer::Models(models) => {
                let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
                write!(f, "{url} serves {}", ids.join(", "))
            }
            Answer::Other(what) => write!(f, "{url} answers, but {what}"),
            Answer::Silent(why) => write!(f, "{url} does not answer: {why}"),
            Answer::Unasked(why) => write!(f, "{url} was not asked: {why}"),
        }
    }
}

/// The base of an endpoint's interface, as the agent is to use it: the entry itself, `/v1` where it has no path.
pub(crate) fn base_url(endpoint: &LlmEndpoint) -> String {
    let (scheme, path) = (endpoint.scheme.code(), endpoint.path.trim_end_matches('/'));
    let path = if path.is_empty() { "/v1" } else { path };
    format!("{scheme}://{}{path}", endpoint.destination)
}

/// Asks every endpoint at once; takes no longer than the slowest may.
pub(crate) fn probe(endpoints: &[LlmEndpoint]) -> Vec<Probed> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = endpoints
            .iter()
            .map(|endpoint| (endpoint, scope.spawn(|| ask(&question(endpoint)))))
            .collect();
        let answered = asked.into_iter().map(|(endpoint, asked)| Probed {
            url: endpoint.to_string(),
            answer: asked
                .join()
                .unwrap_or_else(|_| Answer::Unasked("asking failed".to_owned())),
        });
        answered.collect()
    })
}

/// The URL to ask from here.
fn question(endpoint: &LlmEndpoint) -> String {
    let base = base_url(endpoint);
    let here = HOST_NAMES.iter().find_map(|name| {
        let (scheme, rest) = base.split_once("://")?;
        let rest = rest.strip_prefix(name)?;
        rest.starts_with([':', '/'])
            .then(|| format!("{scheme}://127.0.0.1{rest}"))
    });
    format!("{}/models", here.unwrap_or(base))
}

fn ask(url: &str) -> Answer {
    let curl = curl::call(
        url,
        ANSWER_SECONDS,
        &["--header", "Accept: application/json"],
    );
    match curl.run(CURL_LIMIT) {
        Ok(ended) => match ended.status.code() {
            Some(0) => understood(&String::from_utf8_lossy(&ended.output)),
            code => Answer::Silent(curl_says(code)),
        },
        Err(SpawnError::Start { .. }) => {
            Answer::Unasked("there is no curl on this host".to_owned())
        }
        Err(error @ (SpawnError::Slow { .. } | SpawnError::Read { .. })) => {
            Answer::Silent(error.to_string())
        }
    }
}

/// curl(1), "EXIT CODES".
fn curl_says(code: Option<i32>) -> String {
    match code {
        Some(6) => "this host does not know the name".to_owned(),
        Some(7) => "nothing listens there".to_owned(),
        Some(28) => format!("nothing within {ANSWER_SECONDS} s"),
        Some(35) => "no TLS there".to_owned(),
        Some(52 | 56) => "it closed the connection".to_owned(),
        Some(60) => "this host does not trust its certificate".to_owned(),
        Some(63) => format!("its list is beyond {ANSWER_MAX_BYTES} bytes"),
        Some(code) => format!("curl ended with {code}"),
        None => "curl was killed".to_owned(),
    }
}

/// `{"data": [{"id": ..}, ..]}`, and the status behind it on a line of its own.
fn understood(output: &str) -> Answer {
    let (body, status) = curl::answer(output);
    match status {
        "200" => {}
        "401" | "403" => return Answer::Other(format!("it wants a key (status {status})")),
        status => return Answer::Other(format!("with status {status}")),
    }
    let list = serde_json::from_str::<serde_json::Value>(body).ok();
    let list = list.as_ref().and_then(|list| list.get("data")?.as_array());
    match list {
        Some(models) => Answer::Models(models.iter().filter_map(model).collect()),
        None => Answer::Other("not with a list of models".to_owned()),
    }
}

/// `context_window`: as several hosts say it; `max_context_length`: as LM Studio does.
const CONTEXT: [&str; 4] = [
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
];

fn model(listed: &serde_json::Value) -> Option<Model> {
    let context = CONTEXT.iter().find_map(|key| listed.get(key)?.as_u64());
    Some(Model {
        id: listed.get("id")?.as_str()?.to_owned(),
        context: context.filter(|context| *context > 0),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn endpoints(urls: &[&str]) -> Vec<LlmEndpoint> {
        let list: String = urls.iter().map(|url| format!("  - {url}\n")).collect();
        let text = format!("sandbox-name: x\nllm-endpoints:\n{list}");
        let source = policies::Source {
            name: "x",
            text: &text,
        };
        let (config, _) = policies::Config::parse(&source).unwrap();
        config.llm_endpoints().to_vec()
    }

    /// Answers one request with `response`; gives the port, and the request's first line at the end.
    fn server(response: &'static str) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            stream.write_all(response.as_bytes()).unwrap();
            let head = String::from_utf8(head).unwrap();
            head.lines().next().unwrap().to_owned()
        });
        (port, served)
    }

    #[test]
    fn a_server_on_the_host_is_asked_for_its_models_by_the_agent_s_name_for_the_host() {
        let (port, served) = server(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":[{\"id\":\"a/b\",\"max_model_len\":32768},{\"id\":\"c\"},{}]}",
        );
        let url = format!("http://docker.host:{port}/v1");
        let probed = probe(&endpoints(&[&url]));
        let model = |id: &str, context| Model {
            id: id.to_owned(),
            context,
        };
        let models = vec![model("a/b", Some(32768)), model("c", None)];
        assert_eq!(
            probed,
            [Probed {
                url: url.clone(),
                answer: Answer::Models(models.clone())
            }]
        );
        assert_eq!(probed[0].models(), models);
        assert_eq!(served.join().unwrap(), "GET /v1/models HTTP/1.1");
        assert_eq!(probed[0].to_string(), format!("{url} serves a/b, c"));
    }

    #[test]
    fn what_answers_otherwise_is_told_apart_from_what_does_not_answer() {
        let (wants_key, key) = server("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        let (no_list, page) = server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html></html>");
        let (moved, elsewhere) = server(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        );
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = nobody.local_addr().unwrap().port();
        drop(nobody);
        let urls =
            [wants_key, no_list, moved, closed].map(|port| format!("http://docker.host:{port}"));
        let probed = probe(&endpoints(&urls.each_ref().map(String::as_str)));
        let answers: Vec<Answer> = probed.into_iter().map(|probed| probed.answer).collect();
        let other = |text: &str| Answer::Other(text.to_owned());
        assert_eq!(
            answers,
            [
                other("it wants a key (status 401)"),
                other("not with a list of models"),
                other("with status 302"),
                Answer::Silent("nothing listens there".to_owned()),
            ]
        );
        for served in [key, page, elsewhere] {
            served.join().unwrap();
        }
    }

    #[test]
    fn the_base_is_the_entry_and_v1_where_it_has_no_path() {
        let urls = [
            "http://10.0.0.13:8000/v1",
            "http://docker.host:1234",
            "https://models.example.org/openai/v1/",
        ];
        let endpoints = endpoints(&urls);
        let bases: Vec<String> = endpoints.iter().map(base_url).collect();
        assert_eq!(
            bases,
            [
                "http://10.0.0.13:8000/v1",
                "http://docker.host:1234/v1",
                "https://models.example.org:443/openai/v1"
            ]
        );
        let questions: Vec<String> = endpoints.iter().map(question).collect();
        assert_eq!(
            questions,
            [
                "http://10.0.0.13:8000/v1/models",
                "http://127.0.0.1:1234/v1/models",
                "https://models.example.org:443/openai/v1/models"
            ]
        );
    }
}
