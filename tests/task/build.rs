//! Tells the task runner which machine it was built for: the fuzz targets are built for the same one.

#![allow(clippy::disallowed_methods, reason = "a build script is told by its environment")]

fn main() {
    let target = std::env::var("TARGET").expect("cargo names the target to a build script");
    println!("cargo::rustc-env=MUSTER_TASK_HOST={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
