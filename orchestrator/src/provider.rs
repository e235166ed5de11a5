//! What OpenCode is to know of a project's model servers, as the config file that it reads first: the project's own
//! `opencode.jsonc` goes over it, so what a person wrote there counts. No key is ever in it: keys are variables of the box.
//! Asks the model servers (`llm`); starts nothing, decides nothing.
//! Clauses: O6, O9, P10.
use std::path::Path;

use policies::{Config, LlmEndpoint};
use serde_json::{Map, Value, json};

use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::image::{self, kit};
use crate::launch::warn;
use crate::llm::{self, Probed};
use crate::mcp_servers::Servers;
use crate::world::World;

/// Who answers what the agent would ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// A person: whatever the tool's own rules are.
    Attended,
    /// Nobody: the box is what holds the agent, and its own questions would only stop it (COMPATIBILITY W44).
    Unattended,
}

/// A server that is known by its usual port.
struct Known {
    port: u16,
    id: &'static str,
    name: &'static str,
    /// Names of variables: which model, and its key in the box.
    model: &'static str,
    key: &'static str,
}

/// The defaults of COMPATIBILITY 1.4 and 2.6.
const KNOWN: [Known; 4] = [
    Known {
        port: 1234,
        id: "lmstudio",
        name: "LM Studio",
        model: "LM_STUDIO_MODEL",
        key: "LM_STUDIO_API_KEY",
    },
    Known {
        port: 52625,
        id: "fastflow",
        name: "FastFlowLM",
        model: "FASTFLOW_MODEL",
        key: "FASTFLOW_API_KEY",
    },
    Known {
        port: 11434,
        id: "ollama",
        name: "Ollama",
        model: "OLLAMA_MODEL",
        key: "OLLAMA_API_KEY",
    },
    Known {
        port: 8000,
        id: "vllm",
        name: "vLLM",
        model: "VLLM_MODEL",
        key: "VLLM_API_KEY",
    },
];

/// Any other.
const OTHER: Known = Known {
    port: 0,
    id: "llm",
    name: "Model server",
    model: "LLM_MODEL",
    key: "LLM_API_KEY",
};

/// The most tokens of one answer, where only the whole context is known.
const OUTPUT_MAX: u64 = 8192;

/// The config as JSON text.
///
/// # Errors
/// It cannot be put into JSON.
pub(crate) fn render(
    config: &Config,
    permission: Permission,
    servers: &Servers,
    skills: &Path,
    world: &World,
    console: &mut Console<'_>,
) -> Result<String, Failure> {
    let probed = llm::probe(config.llm_endpoints());
    for silent in probed.iter().filter(|probed| probed.models().is_empty()) {
        warn(&format!("model server {silent}"), console);
    }
    let mut document = document(config, &probed, permission, &|name| {
        world
            .variable(name)
            .and_then(|value| value.into_string().ok())
    });
    let more = [
        ("command", kit::commands()),
        ("skills", json!({"paths": [skills]})),
        ("mcp", json!(servers)),
    ];
    document.extend(more.map(|(key, value)| (key.to_owned(), value)));
    serde_json::to_string_pretty(&document)
        .map_err(|error| Failure::new(Exit::No, "write the tool's config").because(error))
}

fn document(
    config: &Config,
    probed: &[Probed],
    permission: Permission,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Map<String, Value> {
    let mut document = Map::new();
    let mut set = |key: &str, value: Value| drop(document.insert(key.to_owned(), value));
    set("$schema", json!("https://opencode.ai/config.json"));
    set("autoupdate", json!(false));
    set("share", json!("disabled"));
    if permission == Permission::Unattended {
        for (key, value) in image::unattended() {
            set(&key, value);
        }
    }
    let mut providers: Map<String, Value> = Map::new();
    let mut first = None;
    for (endpoint, probed) in config.llm_endpoints().iter().zip(probed) {
        let known = known(endpoint);
        let id = free(known.id, &providers);
        let models = models(known, probed, variable);
        if let (None, Some(model)) = (&first, models.first()) {
            first = Some(format!("{id}/{}", model.0));
        }
        providers.insert(id, provider(endpoint, known, models, config));
    }
    if !providers.is_empty() {
        set("provider", Value::Object(providers));
    }
    if let Some(model) = first {
        set("small_model", json!(model));
        set("model", json!(model));
    }
    document
}

fn known(endpoint: &LlmEndpoint) -> &'static Known {
    let port = endpoint.destination.port.get();
    KNOWN
        .iter()
        .find(|known| known.port == port)
        .unwrap_or(&OTHER)
}

/// `id`, or `id-2`, `id-3` and so on.
fn free(id: &str, taken: &Map<String, Value>) -> String {
    let later = (2..).map(|number: u32| format!("{id}-{number}"));
    std::iter::once(id.to_owned())
        .chain(later)
        .find(|id| !taken.contains_key(id))
        .unwrap_or_default()
}

/// The models that a server serves, with their context; the one that a variable names comes first, served or not.
fn models(
    known: &Known,
    probed: &Probed,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<(String, Option<u64>)> {
    let mut models: Vec<(String, Option<u64>)> = probed
        .models()
        .iter()
        .map(|model| (model.id.clone(), model.context))
        .collect();
    if let Some(wanted) = variable(known.model).filter(|wanted| !wanted.is_empty()) {
        let at = models.iter().position(|(id, _)| *id == wanted);
        let model = at.map_or((wanted, None), |at| models.remove(at));
        models.insert(0, model);
    }
    models
}

fn provider(
    endpoint: &LlmEndpoint,
    known: &Known,
    models: Vec<(String, Option<u64>)>,
    config: &Config,
) -> Value {
    let mut options = Map::new();
    options.insert("baseURL".to_owned(), json!(llm::base_url(endpoint)));
    if has_variable(config, known.key) {
        // OpenCode reads the variable itself, in the box.
        options.insert("apiKey".to_owned(), json!(format!("{{env:{}}}", known.key)));
    }
    let models: Map<String, Value> = models
        .into_iter()
        .map(|(id, context)| {
            let limit = context
                .map(|context| json!({"context": context, "output": OUTPUT_MAX.min(context / 2)}));
            let model = match limit {
                Some(limit) => json!({"name": id, "limit": limit}),
                None => json!({"name": id}),
            };
            (id, model)
        })
        .collect();
    json!({"npm": "@ai-sdk/openai-compatible", "name": known.name, "options": options, "models": models})
}

fn has_variable(config: &Config, name: &str) -> bool {
    config
        .env()
        .iter()
        .any(|(inside, _)| inside.as_str() == name)
        || config
            .env_passthrough()
            .iter()
            .any(|passed| passed.inside.as_str() == name)
}

#[cfg(test)]
mod tests;
