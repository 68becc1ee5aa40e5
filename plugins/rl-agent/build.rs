//! Lets executables of this crate (its tests) find libtorch at run time.

fn main() {
    let lib = std::env::var("DEP_POCKETFLOW_TORCH_LIBTORCH_LIB").expect("pocketflow-torch tells where libtorch is");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}
