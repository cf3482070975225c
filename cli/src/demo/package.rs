//! The component of the demo: a small HTTP server, packed like any other component.

use crate::error::CliError;
use muster_model::component::RECIPE_FILE;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes the folder of one version. An unhealthy one starts and answers, but its health probe fails.
pub fn write(root: &Path, greeter: &Path, version: &str, healthy: bool) -> Result<PathBuf, CliError> {
    let dir = root.join("packages").join(format!("greeter-{version}"));
    let written = fs::create_dir_all(dir.join("bin"))
        .and_then(|()| fs::copy(greeter, dir.join("bin/greeter")))
        .and_then(|_| fs::write(dir.join(RECIPE_FILE), recipe(version, healthy)));
    written
        .map_err(|error| CliError::local_because(format!("cannot write the component in {}", dir.display()), error))?;
    Ok(dir)
}

fn recipe(version: &str, healthy: bool) -> String {
    // A busy machine may take long to start a healthy one; an unhealthy one shall be found out soon.
    let (flag, timeout_s, start_timeout_s) = if healthy { ("", 10, 60) } else { (", \"--unhealthy\"", 2, 3) };
    format!(
        "name = \"greeter\"\n\
         version = \"{version}\"\n\
         description = \"Answers with its version\"\n\
         soak_s = 1\n\n\
         [start]\n\
         command = [\"bin/greeter\", \"serve\", \"--version\", \"{{version}}\", \"--port-file\", \"{{data}}/port\"{flag}]\n\n\
         [stop]\n\
         timeout_s = 5\n\n\
         [health]\n\
         http = \"/health\"\n\
         port_file = \"port\"\n\
         interval_s = 0.2\n\
         timeout_s = {timeout_s}\n\
         start_timeout_s = {start_timeout_s}\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_model::component::Recipe;

    #[test]
    fn the_recipes_of_the_demo_are_valid() {
        let good = Recipe::parse(&recipe("1.0", true)).unwrap();
        let bad = Recipe::parse(&recipe("1.2", false)).unwrap();
        assert_eq!(bad.start.argv.len(), good.start.argv.len() + 1);
        assert_eq!((bad.version.as_str(), bad.soak_s), ("1.2", 1));
    }
}
