use std::fs;
use std::path::Path;

use super::*;
use crate::pattern::Extent;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn all() -> Vec<Preset> {
    names().map(|name| get(name).unwrap().unwrap()).collect()
}

#[test]
fn the_bundle_is_the_directory_sorted() {
    let mut files: Vec<String> = fs::read_dir(repository().join("policies/presets"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    files.sort();
    let mut bundled: Vec<String> = names().map(|name| format!("{name}.yaml")).collect();
    assert!(names().is_sorted());
    bundled.sort();
    assert_eq!(bundled, files);
}

#[test]
fn every_preset_is_read_and_says_where_it_got_its_hosts() {
    for name in names() {
        let preset = get(name).unwrap();
        assert!(preset.is_ok(), "{name}: {preset:?}");
        let file = repository().join(format!("policies/presets/{name}.yaml"));
        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with("# source: "), "{name}");
        assert!(text.is_ascii(), "{name}");
    }
    assert!(names().count() >= 18);
}

#[test]
fn a_preset_opens_no_port_but_the_usual_ones() {
    for preset in all() {
        for host in preset.hosts {
            assert_eq!(host.pattern.port(), None, "{}", preset.name);
        }
    }
}

#[test]
fn a_suffix_says_why_it_is_one() {
    for preset in all() {
        for host in preset.hosts {
            let explained = host.reason.contains("vary") || host.reason.contains("suffix");
            let exact = host.pattern.extent == Extent::Exact;
            assert!(exact || explained, "{}: {}", preset.name, host.pattern);
        }
    }
}

#[test]
fn a_host_that_anybody_can_write_to_is_called_a_way_out() {
    const WRITABLE: [&str; 9] = [
        "bitbucket.org",
        "codeberg.org",
        "ghcr.io",
        "github.com",
        "gitlab.com",
        "huggingface.co",
        "quay.io",
        "registry-1.docker.io",
        "registry.npmjs.org",
    ];
    for preset in all() {
        let covers = |name: &str| {
            let name = crate::DnsName::parse(name).unwrap();
            preset.hosts.iter().any(|host| host.pattern.covers(&name))
        };
        if WRITABLE.into_iter().any(covers) {
            let words = preset.description.to_lowercase();
            let said = words.contains("way out") || words.contains("of the preset ghcr holds");
            assert!(said, "{}: {}", preset.name, preset.description);
        }
    }
}

#[test]
fn no_preset_takes_what_only_receives() {
    let receivers = [
        "api.anaconda.org",
        "central.sonatype.com",
        "crates.io",
        "hex.pm",
        "pause.perl.org",
        "trunk.cocoapods.org",
        "upload.pypi.org",
        "www.nuget.org",
    ];
    for preset in all() {
        for name in receivers {
            let name = crate::DnsName::parse(name).unwrap();
            let taken = preset.hosts.iter().any(|host| host.pattern.covers(&name));
            assert!(!taken, "{}: {name}", preset.name);
        }
    }
}

#[test]
fn the_old_template_is_kept_entry_for_entry() {
    let preset = get("opencode-sandbox-default").unwrap().unwrap();
    let hosts: Vec<String> = preset
        .hosts
        .iter()
        .map(|host| host.pattern.to_string())
        .collect();
    // COMPATIBILITY 4.10
    let template = [
        ".githubusercontent.com",
        ".githubassets.com",
        ".github.com",
        ".githubcopilot.com",
        "mise.run",
        ".npmjs.org",
        ".maven.org",
    ];
    assert_eq!(hosts, template);
}

#[test]
fn the_document_lists_every_preset_with_its_hosts() {
    let document = fs::read_to_string(repository().join("docs/presets.md")).unwrap();
    let (_, table) = document
        .split_once("| preset | hosts |\n|---|---|\n")
        .unwrap();
    let expected: String = all()
        .iter()
        .map(|preset| {
            let hosts: Vec<String> = preset
                .hosts
                .iter()
                .map(|host| format!("`{}`", host.pattern))
                .collect();
            format!("| `{}` | {} |\n", preset.name, hosts.join(" "))
        })
        .collect();
    assert_eq!(table, expected);
}
