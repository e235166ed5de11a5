use super::*;
use crate::llm::{Answer, Model};

fn config(text: &str) -> Config {
    let text = format!("sandbox-name: x\n{text}");
    let source = policies::Source {
        name: "x",
        text: &text,
    };
    Config::parse(&source).unwrap().0
}

fn serving(models: &[(&str, Option<u64>)]) -> Probed {
    let model = |(id, context): &(&str, Option<u64>)| Model {
        id: (*id).to_owned(),
        context: *context,
    };
    Probed {
        url: String::new(),
        answer: Answer::Models(models.iter().map(model).collect()),
    }
}

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn each_model_server_becomes_a_provider_with_its_models_and_their_context() {
    let config = config(
        "llm-endpoints:\n  - http://docker.host:1234/v1\n  - http://10.0.0.13:8000\nenv: {VLLM_API_KEY: sk-local}\n",
    );
    let probed = [
        serving(&[("small", None)]),
        serving(&[("large", Some(32768))]),
    ];
    let expected = json!({
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": false,
        "share": "disabled",
        "provider": {
            "lmstudio": {
                "npm": "@ai-sdk/openai-compatible", "name": "LM Studio",
                "options": {"baseURL": "http://docker.host:1234/v1"},
                "models": {"small": {"name": "small"}},
            },
            "vllm": {
                "npm": "@ai-sdk/openai-compatible", "name": "vLLM",
                "options": {"baseURL": "http://10.0.0.13:8000/v1", "apiKey": "{env:VLLM_API_KEY}"},
                "models": {"large": {"name": "large", "limit": {"context": 32768, "output": 8192}}},
            },
        },
        "model": "lmstudio/small",
        "small_model": "lmstudio/small",
    });
    assert_eq!(
        Value::Object(document(&config, &probed, Permission::Attended, &nothing)),
        expected
    );
}

#[test]
fn a_key_is_named_and_never_written() {
    let config = config("llm-endpoints: [http://10.0.0.13:8000]\nenv: {VLLM_API_KEY: sk-secret}\n");
    let text = json!(document(
        &config,
        &[serving(&[])],
        Permission::Unattended,
        &nothing
    ))
    .to_string();
    assert!(
        !text.contains("sk-secret") && text.contains("{env:VLLM_API_KEY}"),
        "{text}"
    );
}

#[test]
fn a_variable_names_the_model_whether_it_is_served_or_not() {
    let config = config("llm-endpoints: [http://docker.host:11434]\n");
    let wanted = |name: &str| (name == "OLLAMA_MODEL").then(|| "b".to_owned());
    let served = document(
        &config,
        &[serving(&[("a", None), ("b", None)])],
        Permission::Attended,
        &wanted,
    );
    assert_eq!(served.get("model"), Some(&json!("ollama/b")));
    let silent = document(&config, &[serving(&[])], Permission::Attended, &wanted);
    assert_eq!(silent.get("model"), Some(&json!("ollama/b")));
}

#[test]
fn two_servers_of_one_kind_have_two_names() {
    let config =
        config("llm-endpoints: [http://10.0.0.1:8000, http://10.0.0.2:8000, http://10.0.0.3:9]\n");
    let probed = [serving(&[]), serving(&[]), serving(&[])];
    let document = document(&config, &probed, Permission::Attended, &nothing);
    let names: Vec<&String> = document
        .get("provider")
        .unwrap()
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(names, ["llm", "vllm", "vllm-2"]);
    assert_eq!(document.get("model"), None);
}

#[test]
fn only_an_unattended_agent_is_not_to_ask() {
    let config = config("");
    let of = |permission| document(&config, &[], permission, &nothing);
    assert_eq!(
        of(Permission::Unattended).get("permission"),
        Some(&json!({"*": "allow"}))
    );
    assert_eq!(of(Permission::Attended).get("permission"), None);
}
