//! With the plugins linked in, the program links libtorch too and must find it at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Set only where pocketflow-torch is among the dependencies: with the feature `static`.
    println!("cargo::rerun-if-env-changed=DEP_POCKETFLOW_TORCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_POCKETFLOW_TORCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
