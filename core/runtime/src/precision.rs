//! How ONNX Runtime adds products of integers. On x86-64 processors without VNNI instructions its
//! default kernels add two products of uint8 values and int8 weights in 16 bits and saturate, so
//! that a file decides otherwise there than elsewhere. A session option makes the sums exact on
//! every processor; it changes nothing on processors with VNNI.

/// The session option of ONNX Runtime that makes its integer kernels exact, and the value to give
/// it.
pub const EXACT_OPTION: (&str, &str) = ("session.x64quantprecision", "1");

/// Whether a session is opened with [`EXACT_OPTION`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// With it: sums of products are exact.
    #[default]
    Exact,
    /// Without it, as most programs open their sessions.
    Default,
}

/// Whether ONNX Runtime's default kernels are exact on this processor.
pub fn default_is_exact() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        // As ONNX Runtime chooses: the kernels of AVX-512 where all of these are there, else those
        // of AVX2.
        let avx512 = std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl");
        if avx512 {
            std::arch::is_x86_feature_detected!("avx512vnni")
        } else {
            std::arch::is_x86_feature_detected!("avxvnni")
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
    true
}
