//! `component.toml`: comes inside of a signed package, and is read before anything of it is run.

#![no_main]

use muster_model::component::{Places, Recipe};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let places = Places { version: "1.0.0", dir: "/opt/c", data: "/var/c" };
    assert!(text.contains('{') || places.fill(text) == text);
    if let Ok(recipe) = Recipe::parse(text) {
        let _ = (recipe.programs().count(), recipe.port());
    }
});
