//! The features that are built and tested: all but those that compile the client of a database.

use std::process::Stdio;

use serde_json::Value;

pub(crate) const USAGE: &str = "\
cargo xtask features         print the features of all packages for `cargo --workspace --features`; not those
                             that compile the client of a database, which takes minutes, cmake and libssl-dev
";

/// How the features end that compile a client.
const FROM_SOURCE: &str = "-bundled";

/// Features of all packages of the workspace, as cargo takes them.
pub(crate) fn features() -> Result<String, String> {
    let mut metadata = crate::cargo();
    metadata.args(["metadata", "--no-deps", "--format-version=1", "--locked"]).stderr(Stdio::inherit());
    let told = metadata.output().map_err(|error| format!("{metadata:?} could not be started: {error}"))?;
    let told: Value = serde_json::from_slice(&told.stdout)
        .map_err(|error| format!("{metadata:?} said what is no JSON: {error}"))?;
    let mut features = Vec::new();
    for package in told["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let own = package["features"].as_object().into_iter().flat_map(|features| features.keys());
        let tested = own.filter(|feature| !feature.ends_with(FROM_SOURCE));
        features.extend(tested.map(|feature| format!("{name}/{feature}")));
    }
    match features.is_empty() {
        true => Err(format!("{metadata:?} named no features")),
        false => Ok(features.join(",")),
    }
}
