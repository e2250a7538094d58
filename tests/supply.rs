//! What nin is made of: every dependency's licence and source are among those that `deny.toml` allows, and the oldest Rust
//! that the packages promise is the one that everything is tested with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use spdx::{Expression, ParseMode};

fn toml(file: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).unwrap().parse().unwrap()
}

fn texts(list: &toml::Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The packages of the lock file, with all features and for all platforms.
fn packages() -> Vec<serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--all-features", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn dependencies_have_licences_and_sources_that_are_allowed() {
    let deny = toml("deny.toml");
    let allowed = texts(&deny["licenses"]["allow"]);
    let exceptions = deny["licenses"]["exceptions"].as_array().unwrap();
    let registries: Vec<String> = texts(&deny["sources"]["allow-registry"])
        .iter()
        .map(|registry| format!("registry+{registry}"))
        .collect();
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        if let Some(source) = package["source"].as_str() {
            assert!(
                registries.iter().any(|registry| registry == source),
                "{name} is from {source}"
            );
        }
        let mut allowed = allowed.clone();
        for exception in
            exceptions.iter().filter(|exception| exception["crate"].as_str() == Some(name))
        {
            allowed.extend(texts(&exception["allow"]));
        }
        let text = package["license"].as_str().unwrap_or_else(|| panic!("{name} names no licence"));
        let licence = Expression::parse_mode(text, ParseMode::LAX).unwrap();
        assert!(
            licence.evaluate(|required| allowed.contains(&required.to_string())),
            "{name} is licensed as {text}, which deny.toml does not allow"
        );
    }
}

#[test]
fn the_oldest_rust_is_the_one_that_tests_run_with() {
    let promised = toml("Cargo.toml")["workspace"]["package"]["rust-version"].clone();
    let promised = promised.as_str().unwrap();
    let toolchain = toml("rust-toolchain.toml")["toolchain"]["channel"].clone();
    let toolchain = toolchain.as_str().unwrap();
    assert!(
        toolchain == promised
            || toolchain.strip_prefix(promised).is_some_and(|rest| rest.starts_with('.')),
        "Cargo.toml promises Rust {promised}, and rust-toolchain.toml has {toolchain}"
    );
    for package in packages().iter().filter(|package| package["source"].is_null()) {
        assert_eq!(package["rust_version"].as_str(), Some(promised), "{}", package["name"]);
    }
}
