//! Compiles the kernels against the libtorch that torch-sys found, and gives executables of this
//! crate and its dependents a run path to it.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let lib = PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys tells where libtorch is"));
    let root = lib.parent().expect("libtorch's lib folder has a parent");
    let include = root.join("include");
    println!("cargo::metadata=libtorch_lib={}", lib.display());
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo::rustc-env=POCKETFLOW_LIBTORCH_VERSION={}", version(&include));
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=kernels");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .includes([include.clone(), include.join("torch/csrc/api/include"), PathBuf::from("kernels/gloo")])
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .warnings(false)
        .opt_level(3)
        // Kernels use at::parallel_for, which is OpenMP underneath, and share libtorch's threads.
        .flag("-fopenmp")
        // Q(x) is defined with every operation rounded on its own.
        .flag("-ffp-contract=off")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        .flag_if_supported("-mprefer-vector-width=512")
        .files(
            ["norm_act", "weights", "steps", "optimizers", "operators", "images", "memory", "random", "group"]
                .map(|name| format!("kernels/{name}.cpp")),
        )
        .compile("pocketflow_kernels");
    // libtorch ships this very library; by its name the one already loaded is used.
    println!("cargo::rustc-link-lib=dylib=gomp");
}

/// `2.11.0`, from libtorch's own header.
fn version(include: &std::path::Path) -> String {
    let header = include.join("torch/headeronly/version.h");
    println!("cargo::rerun-if-changed={}", header.display());
    let text = fs::read_to_string(&header).unwrap_or_else(|error| panic!("{}: {error}", header.display()));
    let number = |part: &str| {
        let line = text.lines().find(|line| line.contains(&format!("define TORCH_VERSION_{part} ")));
        line.and_then(|line| line.split_whitespace().last()).unwrap_or("0").to_owned()
    };
    format!("{}.{}.{}", number("MAJOR"), number("MINOR"), number("PATCH"))
}
