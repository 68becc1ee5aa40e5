//! Small good files to begin from: `seeds CORPUS` writes them below that folder, a folder for each
//! target.

use pocketflow::Result;
use pocketflow::graph::{GlobalAvgPool, GraphBuilder, Linear, Relu6};
use pocketflow::integer::Target;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::quant::{Buckets, FULL_PRECISION_BITS, QuantPlan};
use pocketflow_export::deployed::{lower, without_range};
use pocketflow_export::tflite::{build, write};
use std::collections::BTreeMap;
use std::path::Path;

fn main() -> Result<()> {
    let corpus = std::env::args().nth(1).unwrap_or_else(|| "corpus".into());
    let corpus = Path::new(&corpus);
    let mut builder = GraphBuilder::new("small", [3, 4, 4]);
    let conv = builder.conv("conv", 0, 2, 3, 1, 1);
    let norm = builder.batch_norm("bn", conv, 1e-3);
    let relu = builder.add("relu", Relu6, &[norm]);
    let pool = builder.add("pool", GlobalAvgPool, &[relu]);
    builder.add("fc", Linear { out: 3, bias: true }, &[pool]);
    let graph = builder.finish()?;
    let values = graph.params()?.into_iter().map(|param| {
        let count = param.shape.iter().product::<usize>();
        (param.name, (0..count).map(|index| 0.5 + (index % 7) as f32 / 7.0).collect())
    });
    let values: BTreeMap<String, Vec<f32>> = values.collect();
    let meta = ModelMeta { mean: vec![127.5; 3], std: vec![127.5; 3], ..ModelMeta::default() };
    let model = Model::new(graph, QuantPlan::default(), meta, values)?;
    for target in ["model", "weights", "exported", "tfrecord", "cifar10"] {
        std::fs::create_dir_all(corpus.join(target))?;
    }
    model.save(&corpus.join("model/small.ckpt"))?;
    let open = without_range(&model, Target::Int8)?;
    let ranges = open.into_iter().map(|name| (name, [-3.0, 3.0])).collect();
    let lowered = lower(&model, Target::Int8, &ranges, true)?;
    let float = write(&build::from_model(&model)?)?;
    let integer = write(&build::from_net(&lowered.net)?)?;
    // Weights alone as codes: a file that decodes constants.
    let plan = QuantPlan::uniform(&model.graph, 6, FULL_PRECISION_BITS, Buckets::Channel, true);
    let coded = Model::new(model.graph.clone(), plan, model.meta.clone(), model.all_values()?)?;
    let coded = write(&build::from_net(&lower(&coded, Target::Int8, &BTreeMap::new(), false)?.net)?)?;
    for target in ["weights", "exported"] {
        for (name, bytes) in [("float.tflite", &float), ("integer.tflite", &integer), ("coded.tflite", &coded)] {
            std::fs::write(corpus.join(target).join(name), bytes)?;
        }
    }
    // Two whole records for each of two files.
    std::fs::write(corpus.join("cifar10/records"), vec![7; 4 * 3073])?;
    Ok(())
}
