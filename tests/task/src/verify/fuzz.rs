//! The fuzz targets, each for a few seconds: long enough to find what a change broke at once, and that they still build.
//!
//! `cargo fuzz` would do the same with a nightly compiler; coverage alone needs none, so nothing has to be installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::report::Outcome;
use crate::tree::Tree;
use crate::{say, say_aside};

/// The workspace of the targets.
pub const FOLDER: &str = "tests/fuzz";
/// Payloads as they are on the wire: seeds for every target.
const GOLDEN: &str = "wire/tests/golden";
/// How long each target runs when nobody says otherwise.
pub const SECONDS: u32 = 10;

const HOST: &str = env!("MUSTER_TASK_HOST");
/// What `cargo fuzz` passes for coverage, without the sanitizers that only a nightly compiler has.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// A megabyte takes milliseconds in every target, and none keeps anything between two inputs.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256"];

/// Builds the targets and runs each for `seconds`.
pub fn run(tree: &Tree, seconds: u32) -> Result<Outcome, String> {
    let folder = tree.root().join(FOLDER);
    if !folder.is_dir() {
        return Ok(Outcome::Skipped(format!("there is no {FOLDER}")));
    }
    if !HOST.ends_with("-linux-gnu") {
        return Ok(Outcome::Skipped(format!("libFuzzer is not set up for {HOST}")));
    }
    let target = tree.target().join("fuzz");
    let status = tree
        .cargo(&["build", "--release", "--locked", "--target", HOST, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", FLAGS)
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !status.success() {
        return Err(format!("the fuzz targets do not build ({status})"));
    }
    for name in names(&folder)? {
        one(tree, &folder, &target, &name, seconds)?;
    }
    Ok(Outcome::Passed)
}

/// One target, on what it found in earlier runs and on the inputs of the tree.
fn one(tree: &Tree, folder: &Path, target: &Path, name: &str, seconds: u32) -> Result<(), String> {
    let made = |kind: &str| -> Result<PathBuf, String> {
        let path = target.join(kind).join(name);
        fs::create_dir_all(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(path)
    };
    let (corpus, artifacts) = (made("corpus")?, made("artifacts")?);
    let log = target.join(format!("{name}.log"));
    let file = fs::File::create(&log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
    let mut program = tree.program(target.join(HOST).join("release").join(name));
    program.args(LIMITS).arg(format!("-max_total_time={seconds}"));
    program.arg(format!("-artifact_prefix={}/", artifacts.display()));
    program.arg("-print_final_stats=1").arg(&corpus).arg(folder.join("seeds").join(name)).arg(tree.root().join(GOLDEN));
    program.current_dir(tree.root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let status = program.status().map_err(|error| format!("cannot start the fuzz target {name}: {error}"))?;
    let text = fs::read(&log).map_err(|error| format!("cannot read {}: {error}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    if !status.success() {
        let tail: Vec<&str> = text.lines().rev().take(40).collect();
        tail.iter().rev().for_each(|line| say_aside(line));
        let artifacts = artifacts.display();
        return Err(format!("the fuzz target {name} found a fault ({status}); its input is in {artifacts}"));
    }
    match stat(&text, "number_of_executed_units") {
        // A target that ran nothing would pass for ever.
        None | Some(0) => Err(format!("the fuzz target {name} ran no input; see {}", log.display())),
        Some(inputs) => {
            let memory = stat(&text, "peak_rss_mb").unwrap_or(0);
            say(&format!("{name}: {inputs} inputs in {seconds} s, at most {memory} MB"));
            Ok(())
        }
    }
}

fn stat(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("stat::") && line.contains(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// One target for each folder of seeds.
fn names(folder: &Path) -> Result<Vec<String>, String> {
    let seeds = folder.join("seeds");
    let failed = |error| format!("cannot read {}: {error}", seeds.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&seeds).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn figures_are_found_in_the_output_of_a_target() {
        let text = "INFO: Seed: 1\nstat::number_of_executed_units: 1234\nstat::peak_rss_mb:              56\n";
        assert_eq!(stat(text, "number_of_executed_units"), Some(1234));
        assert_eq!(stat(text, "peak_rss_mb"), Some(56));
        assert_eq!(stat("INFO: Seed: 1\n", "peak_rss_mb"), None);
    }

    #[test]
    fn every_target_has_seeds_and_every_folder_of_seeds_a_target() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let mut targets: Vec<String> = fs::read_dir(folder.join("fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        targets.sort();
        assert_eq!(names(&folder).unwrap(), targets);
        assert!(!targets.is_empty());
    }
}
