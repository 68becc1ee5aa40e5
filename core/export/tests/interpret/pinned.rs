//! What TensorFlow Lite's own reference kernels compute (LiteRT 2.3.0 with `BUILTIN_REF`), bit by
//! bit.

use crate::cases::cases;
use crate::models::inputs;
use pocketflow_export::interpret::{Data, Interpreter, Rounding};

/// The name of every case and its output.
const OUTPUTS: [(&str, &[i32]); 23] = [
    (
        "convolution int8",
        &[
            -34, -100, -100, 127, -100, -21, -100, -64, -85, -68, -100, -63, -100, 68, -100, -100, -100, -100, -100,
            -100, -73, -100, -24, -100, 69, -100, -100, -39, -100, 19,
        ],
    ),
    ("convolution uint8", &[158, 32, 96, 4, 114, 195, 67, 117, 164, 152, 89, 188, 5, 7, 121, 91, 108, 186]),
    (
        "depthwise int8",
        &[
            110, -90, -90, -90, -90, -79, -90, 110, -90, -90, -90, 12, 110, -90, -39, 104, 110, -90, -90, -90, -39,
            110, -90, -63,
        ],
    ),
    ("depthwise uint8", &[233, 137, 234, 172, 62, 110, 112, 132, 60, 128, 137, 172, 91, 120, 52, 203]),
    ("fully connected int8", &[28, -81, 0, 55, -37, 49, -8, 55]),
    ("fully connected uint8", &[120, 54, 29, 33, 32]),
    ("sum int8", &[-20, -20, -20, 41, -20, -20, 78, -20, 86, -20, -20, 74, 4, -20, -20, -20]),
    ("sum uint8", &[43, 76, 122, 181, 30, 113, 208, 94, 214, 125, 48, 205, 153, 113, 86, 71]),
    ("average int8", &[-7, -7, -5, -7, -5, 53, -7, -7, 4, -7, 14, 12, 19, 3, -1, -2, -7, -7]),
    ("average uint8", &[93, 93, 120, 117, 120, 153, 93, 94, 129, 113, 139, 137, 144, 128, 125, 123, 110, 109]),
    ("max int8", &[17, 59, 94, 116, 117, 114, 101, 114]),
    ("max uint8", &[142, 184, 219, 241, 242, 239, 226, 239]),
    ("mean int8", &[-78, 56]),
    ("mean uint8", &[128, 162]),
    ("softmax int8", &[-121, -113, -87, 27, -123, -95, -52, -122, -40, -116, -126, -56]),
    ("softmax uint8", &[2, 4, 11, 44, 1, 9, 84, 6, 97]),
    ("relu int8", &[-90, -90, -87, 20, -90, -90, 70, -90, 81, -82, -90, 65]),
    ("relu6 uint8", &[3, 3, 140, 252, 3, 108, 252, 47, 252, 148, 3, 252]),
    ("quantize", &[-87, -53, -7, 51, -100, -17, 79, -35, 85, -4, -81, 76]),
    ("requantize", &[49, 80, 123, 177, 37, 114, 202, 96, 208, 125, 54, 200]),
    ("strided slice", &[-43, -4, -54, 41, 79, -50, -102, 76]),
    ("pad", &[-7, -7, -7, -7, -7, -7, -7, -7, -108, -70, -18, -7, 48, -123, -29, -7]),
    ("reshape", &[-108, -70, -18, 48, -123, -29]),
];

#[test]
fn outputs_are_those_of_the_reference_kernels() {
    let cases = cases();
    assert_eq!(cases.len(), OUTPUTS.len());
    for ((name, model), (pinned, expected)) in cases.into_iter().zip(OUTPUTS) {
        assert_eq!(name, pinned);
        let output = Interpreter::with_rounding(&model, Rounding::AsReferenceKernels)
            .unwrap()
            .run(&inputs(&model))
            .unwrap()
            .remove(0);
        let codes: Vec<i32> = match output {
            Data::Int8(codes) => codes.into_iter().map(i32::from).collect(),
            Data::Uint8(codes) => codes.into_iter().map(i32::from).collect(),
            other => panic!("{name} gives {:?}", other.dtype()),
        };
        assert_eq!(codes, expected, "{name}");
    }
}
