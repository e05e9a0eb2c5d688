//! Nothing to build: cargo wants a script where `links` is set.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
