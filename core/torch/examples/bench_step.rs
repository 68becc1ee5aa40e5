//! Times a training step (forward, backward, optimizer) of ResNet-20 on CIFAR-10-shaped images: full precision against 4-bit weights
//! and activations, against the same with channel buckets, in turns in one process. Prints a table, writes JSON with `--json FILE`.
//!
//! `cargo xtask bench step [--batch 128] [--rounds 8] [--steps 5] [--threads N] [--json FILE] [--pytorch PYTHON]`

use pocketflow::graph::Graph;
use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow_resnet_cifar10::{Shortcut, resnet};
use pocketflow_torch::loss;
use pocketflow_torch::network::{Mode, Network, Weights};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use std::error::Error;
use std::process::Command;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

struct Contender {
    name: &'static str,
    network: Network,
    optimizer: Optimizer,
    milliseconds: Vec<f64>,
}

impl Contender {
    fn new(name: &'static str, graph: &Graph, plan: &QuantPlan) -> pocketflow::Result<Self> {
        let values = Network::initialised(graph, 0)?.values()?;
        let network = Network::new(graph, plan, &values, Weights::FullPrecision)?;
        let optimizer = Optimizer::new(Rule::Sgd { momentum: 0.9, nesterov: true }, 5e-4, &network);
        Ok(Self { name, network, optimizer, milliseconds: Vec::new() })
    }

    fn step(&mut self, images: &Tensor, labels: &Tensor) -> pocketflow::Result<()> {
        let start = Instant::now();
        let logits = self.network.forward(images, Mode::Train)?;
        let loss = loss::cross_entropy(&logits, labels)?;
        loss.backward();
        self.optimizer.step(&mut self.network, 0.01)?;
        self.milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }

    fn median(&self) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, default: usize| option(name).map_or(Ok(default), |text| text.parse::<usize>());
    let (batch, rounds, steps) = (number("--batch", 128)?, number("--rounds", 8)?, number("--steps", 5)?);
    let threads = number("--threads", std::thread::available_parallelism()?.get())?;
    tch::set_num_threads(threads as i32);

    let graph = resnet(20, Shortcut::Pad, 10)?;
    let bits = |buckets| QuantPlan::uniform(&graph, 4, 4, buckets, false);
    let mut contenders = vec![
        Contender::new("full precision", &graph, &QuantPlan::default())?,
        Contender::new("4/4 bits", &graph, &bits(Buckets::Layer))?,
        Contender::new("4/4 bits, channel buckets", &graph, &bits(Buckets::Channel))?,
    ];
    let size = [batch as i64, 3, 32, 32];
    let images = Tensor::randn(size, (Kind::Float, Device::Cpu));
    let images = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let labels = Tensor::randint(10, [batch as i64], (Kind::Int64, Device::Cpu));

    for round in 0..=rounds {
        for contender in &mut contenders {
            for _ in 0..steps {
                contender.step(&images, &labels)?;
            }
            if round == 0 {
                contender.milliseconds.clear(); // warm-up
            }
        }
    }
    let full = contenders[0].median();
    println!("ResNet-20, batch {batch}, {threads} threads, median of {} steps each, in turns", rounds * steps);
    println!("{:<28} {:>10} {:>8}", "step", "ms", "ratio");
    for contender in &contenders {
        println!("{:<28} {:>10.1} {:>8.3}", contender.name, contender.median(), contender.median() / full);
    }
    let pytorch = match option("--pytorch") {
        Some(python) => Some(pytorch(&python, batch, rounds * steps, threads)?),
        None => None,
    };
    if let Some(milliseconds) = pytorch {
        println!("{:<28} {milliseconds:>10.1} {:>8.3}", "PyTorch eager channels_last", milliseconds / full);
    }
    if let Some(path) = option("--json") {
        let [_, quantized, buckets] = [0, 1, 2].map(|index: usize| contenders[index].median());
        let figures = serde_json::json!({
            "full_precision_ms": full, "quantized_ms": quantized, "ratio": quantized / full,
            "channel_buckets_ms": buckets, "channel_buckets_ratio": buckets / full,
            "pytorch_ms": pytorch, "batch": batch, "threads": threads, "steps": rounds * steps,
        });
        std::fs::write(path, format!("{figures:#}\n"))?;
    }
    Ok(())
}

/// The same step in PyTorch, by a Python that has it.
fn pytorch(python: &str, batch: usize, steps: usize, threads: usize) -> Result<f64, Box<dyn Error>> {
    let script = include_str!("bench_step.py");
    let numbers = [batch, steps, threads].map(|number| number.to_string());
    let output = Command::new(python).arg("-c").arg(script).args(numbers).output()?;
    if !output.status.success() {
        return Err(format!("{python}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
