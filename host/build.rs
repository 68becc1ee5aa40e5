//! The program's functions that plugins are to find (`src/intercepted.rs`) are exported. With the
//! plugins linked in, the program links libtorch too and must find it at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        for name in ["exit", "_exit", "_Exit", "quick_exit"] {
            println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={name}");
        }
    }
    // Set only where pocketflow-torch is among the dependencies: with the feature `static`.
    println!("cargo::rerun-if-env-changed=DEP_POCKETFLOW_TORCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_POCKETFLOW_TORCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
