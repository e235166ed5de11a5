use policies::PackageName;

use super::*;

fn wanted() -> Wanted<'static> {
    Wanted {
        base: None,
        python: None,
        packages: &[],
        ca: None,
        mise: None,
        ids: (1000, 100),
        workspace: "/app",
    }
}

fn argument<'a>(inputs: &'a Inputs, name: &str) -> Option<&'a str> {
    inputs.arguments.get(name).map(String::as_str)
}

#[test]
fn every_version_is_pinned_in_one_file() {
    let names: Vec<&str> = versions().into_keys().collect();
    let expected = [
        "BASE_IMAGE",
        "DEBIAN_PACKAGES",
        "MISE_VERSION",
        "NODE_VERSION",
        "OPENCODE_VERSION",
    ];
    assert_eq!(names, expected);
    for (name, value) in versions() {
        assert!(
            !value.is_empty() && !value.contains("latest"),
            "{name}={value}"
        );
    }
    // The Dockerfiles name arguments, never versions.
    for text in [AGENT, SIDECAR] {
        for line in text
            .lines()
            .filter(|line| line.starts_with("FROM ") || line.contains("install "))
        {
            let digits = line
                .split('"')
                .any(|word| word.contains("==1") || word.contains("@1"));
            assert!(!digits && !line.contains("latest"), "{line}");
        }
    }
}

#[test]
fn every_argument_of_the_agent_s_dockerfile_is_given_and_no_other() {
    let inputs = Inputs::agent(&Wanted {
        ca: Some(b"pem"),
        mise: Some(b"[tools]\nnode = \"22\"\n"),
        ..wanted()
    });
    let declared = AGENT.lines().filter_map(|line| line.strip_prefix("ARG "));
    let mut declared: Vec<&str> = declared.map(|line| line.trim_end_matches('=')).collect();
    declared.sort_unstable();
    declared.dedup();
    assert_eq!(
        inputs.arguments.keys().copied().collect::<Vec<_>>(),
        declared
    );
}

#[test]
fn any_change_of_what_goes_in_changes_the_hash_and_nothing_else_does() {
    let packages = ["jq", "g++"].map(|name| PackageName::parse(name).unwrap());
    let turned = ["g++", "jq"].map(|name| PackageName::parse(name).unwrap());
    let hash = |wanted: Wanted<'_>| Inputs::agent(&wanted).hash();
    let mut hashes = vec![
        hash(wanted()),
        hash(Wanted {
            base: Some("debian:trixie"),
            ..wanted()
        }),
        hash(Wanted {
            python: Some("3.11"),
            ..wanted()
        }),
        hash(Wanted {
            packages: &packages,
            ..wanted()
        }),
        hash(Wanted {
            ca: Some(b"pem"),
            ..wanted()
        }),
        hash(Wanted {
            mise: Some(b"[tools]\njq = \"1\"\n"),
            ..wanted()
        }),
        hash(Wanted {
            ids: (1001, 100),
            ..wanted()
        }),
        hash(Wanted {
            workspace: "/other",
            ..wanted()
        }),
    ];
    assert_eq!(
        hashes[3],
        hash(Wanted {
            packages: &turned,
            ..wanted()
        }),
        "the order means nothing"
    );
    assert_eq!(hashes[0], hash(wanted()));
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn the_template_s_mise_toml_asks_for_nothing_that_the_image_lacks() {
    let template = MISE_TEMPLATE.as_bytes();
    assert_eq!(
        Inputs::agent(&Wanted {
            mise: Some(template),
            ..wanted()
        }),
        Inputs::agent(&wanted())
    );
    assert!(!asks_for_more(b"# nothing\n\n"));
    assert!(asks_for_more(
        b"[tools]\n\"github:anomalyco/opencode\" = \"1.0\"\n"
    ));
    let asked = Inputs::agent(&Wanted {
        mise: Some(b"[tools]\njq = \"1\"\n"),
        ..wanted()
    });
    assert_eq!(
        asked.files[Path::new("mise/config.toml")].content,
        b"[tools]\njq = \"1\"\n"
    );
}

#[test]
fn a_context_holds_what_was_named_and_nothing_of_before() {
    let keep = tempfile::tempdir().unwrap();
    let context = keep.path().join("context");
    Inputs::agent(&Wanted {
        ca: Some(b"pem"),
        ..wanted()
    })
    .write(&context)
    .unwrap();
    assert_eq!(fs::read(context.join("ca/ocs-extra.crt")).unwrap(), b"pem");
    let inputs = Inputs::agent(&wanted());
    assert_eq!(argument(&inputs, "NODE_EXTRA_CA_CERTS"), None);
    inputs.write(&context).unwrap();
    let mut names: Vec<_> = fs::read_dir(&context)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["Dockerfile", "ca", "mise"]);
    assert_eq!(fs::read_dir(context.join("ca")).unwrap().count(), 0);
}

#[test]
fn the_sidecar_holds_its_programs_and_their_libraries_at_their_places() {
    let keep = tempfile::tempdir().unwrap();
    let program = keep.path().join("ocs-proxy");
    fs::write(&program, "program").unwrap();
    let inputs = Inputs::sidecar(&[(program.clone(), "/bin/ocs-proxy".into())]).unwrap();
    let context = keep.path().join("context");
    inputs.write(&context).unwrap();
    assert_eq!(
        fs::read(context.join("root/bin/ocs-proxy")).unwrap(),
        b"program"
    );
    let before = inputs.hash();
    fs::write(&program, "another").unwrap();
    let after = Inputs::sidecar(&[(program, "/bin/ocs-proxy".into())]).unwrap();
    assert_ne!(after.hash(), before);
}
