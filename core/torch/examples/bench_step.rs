//! Times a training step (forward, backward, optimizer) of ResNet-20 on CIFAR-10-shaped images, or
//! of ResNet-18 on photographs: full precision against `uniform` with 4-bit weights and
//! activations, the same with channel buckets, `uniform-tf` with 8 bits for int8 and uint8,
//! `uniform` with learned steps, and PyTorch. They take turns, so that what else the machine does
//! falls on all alike. Prints a table, writes JSON with `--json FILE`.
//!
//! `cargo xtask bench step [--net resnet20|resnet18] [--batch 128, of resnet18 32] [--rounds 8]
//! [--steps 5] [--threads N] [--pytorch PYTHON] [--json FILE] [--only TEXT] [--allocator malloc]`;
//! `--only` leaves those whose name holds the text, for a profiler; `malloc` is libtorch's own
//! allocator, to see what ours is worth

use pocketflow::graph::Graph;
use pocketflow::integer::Target;
use pocketflow::quant::{Buckets, QuantPlan};
use pocketflow_resnet_cifar10::{self as resnet_cifar10, Shortcut};
use pocketflow_resnet_ilsvrc12::{self as resnet_ilsvrc12, Size};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::network::{Integers, Mode, Network, Weights};
use pocketflow_torch::optimizer::{Optimizer, Rule};
use pocketflow_torch::quantizer::{BINS, LearnedValues, LearnedWeights, Spread};
use pocketflow_torch::{kernels, loss};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// One who takes training steps.
struct Contender {
    name: &'static str,
    runner: Runner,
    milliseconds: Vec<f64>,
}

enum Runner {
    Ours(Box<Network>, Optimizer),
    PyTorch(PyTorch),
}

impl Contender {
    fn ours(name: &'static str, network: Network) -> Self {
        let optimizer = Optimizer::new(Rule::Sgd { momentum: 0.9, nesterov: true }, 5e-4, &network);
        Self { name, runner: Runner::Ours(Box::new(network), optimizer), milliseconds: Vec::new() }
    }

    fn run(&mut self, steps: usize, images: &Tensor, labels: &Tensor) -> Result<(), Box<dyn Error>> {
        match &mut self.runner {
            Runner::PyTorch(pytorch) => self.milliseconds.extend(pytorch.run(steps)?),
            Runner::Ours(network, optimizer) => {
                for _ in 0..steps {
                    let start = Instant::now();
                    let logits = network.forward(images, Mode::Train)?;
                    let loss = loss::cross_entropy(&logits, labels)?;
                    loss.backward();
                    optimizer.step(network, 0.01)?;
                    self.milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        Ok(())
    }

    fn median(&self) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// The same step in PyTorch: a Python that waits to be asked for steps.
struct PyTorch {
    python: String,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl PyTorch {
    fn start(python: &str, net: &str, batch: usize, threads: usize) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(python);
        command
            .arg("-c")
            .arg(include_str!("bench_step.py"))
            .arg(net)
            .args([batch, threads].map(|number| number.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (ask, answers) = pipes.ok_or("a child without pipes")?;
        Ok(Self { python: python.into(), child, ask, answers: BufReader::new(answers) })
    }

    fn run(&mut self, steps: usize) -> Result<Vec<f64>, Box<dyn Error>> {
        let mut line = String::new();
        // A Python without PyTorch has closed its end; what it has to say is on stderr.
        let asked = writeln!(self.ask, "{steps}").and_then(|()| self.ask.flush());
        if asked.is_err() || self.answers.read_line(&mut line)? == 0 {
            return Err(format!("{} ended early: {}", self.python, self.child.wait()?).into());
        }
        line.split_whitespace().map(|number| Ok(number.parse()?)).collect()
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // It waits for the next line; there is nothing to lose, and nobody to tell if it is gone.
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Puts learned steps in the place of a plan's quantizers. Values are spread as behind a
/// normalisation.
fn learn(network: &mut Network, plan: &QuantPlan) -> pocketflow::Result<()> {
    for (layer, quant) in &plan.weights {
        let missing = || pocketflow::Error::failed(format!("no weights of `{layer}`"));
        let weights = network.tensor(&format!("{layer}.weight")).ok_or_else(missing)?;
        let quantizer = LearnedWeights::new(weights, *quant, 1.0)?;
        network.set_weight_quantizer(layer, Box::new(quantizer))?;
    }
    let shapes = network.graph().shapes()?;
    let counts: Vec<(String, usize)> = network
        .graph()
        .nodes
        .iter()
        .zip(&shapes)
        .map(|(node, shape)| (node.name.clone(), shape.iter().product()))
        .collect();
    for (node, count) in counts {
        if let Some(quant) = plan.activations.get(&node) {
            let mut seen = Spread::over([0.0, 3.0]);
            seen.add(&[1.0; BINS]);
            let quantizer = LearnedValues::new(quant.bits, &seen, count, 1.0, Device::Cpu)?;
            network.set_value_quantizer(&node, Box::new(quantizer))?;
        }
    }
    Ok(())
}

/// Those of ours, full precision first.
fn contenders(graph: &Graph) -> pocketflow::Result<Vec<Contender>> {
    let values = Network::initialised(&Engine::cpu(), graph, 0)?.values()?;
    let uniform = |plan: QuantPlan| Network::new(&Engine::cpu(), graph, &plan, &values, Weights::FullPrecision);
    let integers = |target| {
        let integers = Integers { target, weight_bits: 8, activation_bits: 8, range_decay: 0.99 };
        Network::for_integers(&Engine::cpu(), graph, integers, [&[127.5; 3], &[63.0; 3]], &values)
    };
    let bits = |buckets| QuantPlan::uniform(graph, 4, 4, buckets, false);
    let learned = |buckets| {
        let plan = bits(buckets);
        let mut network = uniform(plan.clone())?;
        learn(&mut network, &plan)?;
        Ok::<_, pocketflow::Error>(network)
    };
    Ok(vec![
        Contender::ours("full precision", uniform(QuantPlan::default())?),
        Contender::ours("uniform 4/4", uniform(bits(Buckets::Layer))?),
        Contender::ours("uniform 4/4, channel buckets", uniform(bits(Buckets::Channel))?),
        Contender::ours("uniform-tf int8", integers(Target::Int8)?),
        Contender::ours("uniform-tf uint8", integers(Target::Uint8)?),
        Contender::ours("learned 4/4", learned(Buckets::Layer)?),
        Contender::ours("learned 4/4, channel buckets", learned(Buckets::Channel)?),
    ])
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, default: usize| option(name).map_or(Ok(default), |text| text.parse::<usize>());
    let net = option("--net").unwrap_or_else(|| "resnet20".to_owned());
    // Name, graph, images in a batch, height and width.
    let (name, graph, batch, size) = match net.as_str() {
        "resnet20" => ("ResNet-20", resnet_cifar10::resnet(20, Shortcut::Pad, 10)?, 128, 32),
        "resnet18" => ("ResNet-18", resnet_ilsvrc12::resnet(Size::R18, 224, 1000)?, 32, 224),
        other => return Err(format!("--net is resnet20 or resnet18, not {other}").into()),
    };
    let (batch, rounds, steps) = (number("--batch", batch)?, number("--rounds", 8)?, number("--steps", 5)?);
    let threads = number("--threads", std::thread::available_parallelism()?.get())?;
    tch::set_num_threads(threads as i32);
    if option("--allocator").as_deref() != Some("malloc") {
        kernels::keep_memory()?;
    }

    let mut contenders = contenders(&graph)?;
    if let Some(python) = option("--pytorch") {
        let runner = Runner::PyTorch(PyTorch::start(&python, &net, batch, threads)?);
        contenders.push(Contender { name: "PyTorch eager channels_last", runner, milliseconds: Vec::new() });
    }
    if let Some(text) = option("--only") {
        contenders.retain(|contender| contender.name.contains(&text));
    }
    let size = [batch as i64, 3, size, size];
    let images = Tensor::randn(size, (Kind::Float, Device::Cpu));
    let images = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let labels = Tensor::randint(10, [batch as i64], (Kind::Int64, Device::Cpu));

    for round in 0..=rounds {
        for contender in &mut contenders {
            contender.run(steps, &images, &labels)?;
            if round == 0 {
                contender.milliseconds.clear(); // warm-up
            }
        }
    }
    let medians: Vec<f64> = contenders.iter().map(Contender::median).collect();
    println!("{name}, batch {batch}, {threads} threads, median of {} steps each, in turns", rounds * steps);
    println!("{:<28} {:>10} {:>8}", "step", "ms", "ratio");
    for (contender, median) in contenders.iter().zip(&medians) {
        println!("{:<28} {median:>10.1} {:>8.3}", contender.name, median / medians[0]);
    }
    if let Some(path) = option("--json") {
        let [full, quantized, buckets, int8, uint8, learned, learned_buckets] =
            [0, 1, 2, 3, 4, 5, 6].map(|index: usize| medians[index]);
        let figures = serde_json::json!({
            "full_precision_ms": full, "quantized_ms": quantized, "ratio": quantized / full,
            "channel_buckets_ms": buckets, "channel_buckets_ratio": buckets / full,
            "uniform_tf_ms": int8, "uniform_tf_ratio": int8 / full,
            "uniform_tf_uint8_ms": uint8, "uniform_tf_uint8_ratio": uint8 / full,
            "learned_ms": learned, "learned_ratio": learned / full,
            "learned_channel_buckets_ms": learned_buckets, "learned_channel_buckets_ratio": learned_buckets / full,
            "pytorch_ms": medians.get(7), "batch": batch, "threads": threads, "steps": rounds * steps,
        });
        std::fs::write(path, format!("{figures:#}\n"))?;
    }
    Ok(())
}
