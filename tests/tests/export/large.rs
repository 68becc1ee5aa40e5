//! A network of a hundred thousand nodes: each step of an export, as a process, takes time that
//! grows with their number and not with its square (`core/export/tests/long` measures the steps).

use pocketflow::graph::{GlobalAvgPool, GraphBuilder, Linear, Role};
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::QuantPlan;
use pocketflow_tests::place::Place;

const NODES: usize = 100_000;

/// Convolutions and activation functions behind each other, each of which keeps what is positive.
fn chain() -> Model {
    let mut builder = GraphBuilder::new("chain", [3, 32, 32]);
    let mut last = builder.input();
    for layer in 0..NODES / 2 {
        let conv = builder.conv(format!("conv{layer}"), last, 1, 1, 1, 0);
        last = builder.relu(format!("relu{layer}"), conv);
    }
    let pool = builder.add("pool", GlobalAvgPool, &[last]);
    builder.add("fc", Linear { out: 3, bias: true }, &[pool]);
    let graph = builder.finish().unwrap();
    let value = |role| if role == Role::Weight { 1.0 } else { 0.0 };
    let params = graph.params().unwrap().into_iter();
    let values = params.map(|param| (param.name, vec![value(param.role); param.shape.iter().product()]));
    let values = values.collect();
    // The net whose options are asked for; the graph is the model's own.
    let net = "resnet_at_cifar10".to_owned();
    let meta = ModelMeta { net, mean: vec![0.0; 3], std: vec![255.0; 3], ..ModelMeta::default() };
    Model::new(graph, QuantPlan::default(), meta, values).unwrap()
}

#[test]
fn a_hundred_thousand_nodes() {
    let place = Place::new();
    std::fs::create_dir(place.path("models")).unwrap();
    chain().save(&place.path("models/model.ckpt")).unwrap();
    place
        .host(
            "export --model_dir=models --format=tflite,onnx,pb --verify_images=0 --threads=1 \
                --enbl_post_quant --default_ranges_min=0 --default_ranges_max=6",
        )
        .expect(0);
    for file in ["model_original.tflite", "model_quantized.tflite", "model_quantized.onnx"] {
        assert!(place.bytes(&format!("models/{file}")).len() > 50 * NODES, "{file}");
    }
}
