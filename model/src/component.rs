//! Component packages: the recipe `component.toml`, and which paths a package may hold.
//!
//! A package is a `tar.zst` with a recipe at its top and the files of one version beside it. Nothing here touches a
//! file: the publisher and the agent read the bytes and ask these functions, so that both refuse the same packages.

pub mod path;
pub mod probe;
pub mod recipe;

mod reader;

pub use path::PathError;
pub use probe::{Health, PortSource, Probe};
pub use recipe::{ExitMeaning, Lifecycle, Places, Prechecks, Problem, Recipe, RecipeError, Start, Stop};

/// Name of the recipe inside a package, at its top.
pub const RECIPE_FILE: &str = "component.toml";
/// Longest recipe that is read; a real one has a few hundred bytes.
pub const RECIPE_BYTES_MAX: usize = 64 * 1024;
/// Versions that nobody can publish: the folder of a component has other things under these names.
pub const RESERVED_VERSIONS: [&str; 4] = ["current", "data", "log", "run.json"];
/// A file of the agent's own at the top of an unpacked version; a package may not bring one.
pub const INSTALLED_FILE: &str = ".muster.json";
