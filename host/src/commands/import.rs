//! `host import`: weights of another program as a model of a net, as if a learner had trained and
//! saved it.

mod table;

use crate::cli::ImportFlags;
use crate::errors;
use crate::layers::Layers;
use crate::outputs::Outputs;
use crate::report::numbers::grouped;
use crate::run::Program;
use crate::select::{self, Imported};
use crate::signals::AtOnce;
use pocketflow::dataset::options::DatasetOptions;
use pocketflow::error::Context;
use pocketflow::graph::Graph;
use pocketflow::model::{Model, ModelMeta};
use pocketflow::names;
use pocketflow::option::{HostOptions, Key, Value};
use pocketflow::quant::QuantPlan;
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use pocketflow_weights::map::{Assigned, ImportReport, NameMap, match_file, match_in_order};
use serde_json::json;
use std::collections::BTreeMap;

/// Reads the file, gives each parameter its tensor, saves the model, prints what became of every
/// tensor.
///
/// # Errors
/// A file that is missing, damaged or of no known format; parameters for which it has nothing (the
/// report is printed all the same, and nothing is saved); what the disk says.
pub fn import(program: &Program, layers: &Layers, flags: &ImportFlags) -> Result<()> {
    let at_once = AtOnce::watch()?;
    let file = pocketflow_weights::read(&flags.weights, flags.key.as_deref())?;
    if !file.others.is_empty() && flags.key.is_none() {
        let keys = names::list(file.others.iter().map(String::as_str));
        tracing::warn!("{} holds other state dictionaries, too: {keys}; --key chooses one", flags.weights.display());
    }
    let map = match &flags.map {
        Some(path) => NameMap::read(path)?,
        None => NameMap::default(),
    };
    let imported = select::for_weights(&program.registry, layers, &file.weights(), file.image)?;
    let Imported { selection, settings, net, .. } = &imported;
    at_once.whole(|| check_file(program, settings, flags))?;
    let graph = net.graph().with_context(|| format!("net `{}`", selection.net.name))?;
    graph.validate()?;
    let shown = flags.weights.display().to_string();
    let matched = match flags.in_order {
        true => match_in_order(&graph, file, &map),
        false => match_file(&graph, file, &map),
    };
    let Assigned { tensors, report } = matched.with_context(|| format!("cannot match the tensors of {shown}"))?;
    let net_flags = selection.net_flags(settings);
    if let Err(error) = report.check() {
        let head = format!("{shown} is not of {}", described(&graph, &net_flags));
        errors::print_result(&match program.json {
            true => text_of(&json!({ "file": shown, "graph": graph.name, "complete": false, "report": report })),
            false => format!("{head}\n\n{}", table::text(&graph, &report)),
        })?;
        return Err(error.context(format!("{head}; nothing was saved")));
    }
    let meta = meta(&imported, &graph)?;
    let values = tensors.into_iter().map(|(name, tensor)| (name, tensor.values)).collect();
    let model = Model::new(graph, QuantPlan::default(), meta, values)
        .with_context(|| format!("the weights of {shown} make no model; nothing was saved"))?;
    let path = settings.get(HostOptions::save_path())?;
    let bytes = at_once.writing(|| model.save(&path))?;
    let saved = path.display().to_string();
    if program.json {
        let options = selection.net.options.iter().map(|spec| spec.key.as_str());
        let options = options.chain([DatasetOptions::nb_classes().name()]);
        let options = options.filter_map(|key| Some((key, settings.entry(key)?.value.as_ref()?)));
        let options: BTreeMap<&str, &Value> = options.collect();
        return errors::print_result(&text_of(&json!({
            "file": shown, "graph": model.graph.name, "complete": true, "options": options, "dataset": model.meta.dataset,
            "mean": model.meta.mean, "std": model.meta.std, "model": saved, "bytes": bytes, "report": report,
        })));
    }
    let mut text = format!("{shown} is of {}\n\n", described(&model.graph, &net_flags));
    text += &table::text(&model.graph, &report);
    text += &closing(&model, is_own(&imported), &report);
    text += &format!("model   {saved}, {} bytes\n", grouped(bytes));
    errors::print_result(&text)?;
    let mut words = vec![format!("--net={}", selection.net.name)];
    words.extend(net_flags);
    if is_own(&imported) {
        words.push(HostOptions::normalised_by(&model.meta.mean, &model.meta.std));
    }
    errors::print_plain(&format!(
        "evaluate it   host eval {saved}\nquantize it   host --learner=uniform {} --save_path={saved}\n",
        words.join(" ")
    ));
    Ok(())
}

/// That the model can be saved, before anything is computed.
fn check_file(program: &Program, settings: &Settings, flags: &ImportFlags) -> Result<()> {
    let path = settings.get(HostOptions::save_path())?;
    let mut outputs = Outputs::default();
    outputs.read("the file of weights", &flags.weights);
    if let Some(map) = &flags.map {
        outputs.read("the file of --map", map);
    }
    outputs.read_program(settings, &program.registry);
    if let Some(setting) = settings.entry(&HostOptions::save_path()) {
        outputs.write(format!("`save_path` = {}", path.display()), setting.origin.clone(), &path);
    }
    outputs.check()?;
    match path.exists() && !flags.overwrite {
        true => Err(settings.invalid(&HostOptions::save_path(), "there is a file already; --overwrite replaces it")),
        false => Ok(()),
    }
}

fn described(graph: &Graph, flags: &[String]) -> String {
    match flags.is_empty() {
        true => graph.name.clone(),
        false => format!("{} ({})", graph.name, flags.join(" ")),
    }
}

/// Whether the normalisation is another than a run would take of itself.
fn is_own(imported: &Imported) -> bool {
    let chosen = |key: &str| imported.settings.entry(key).is_some_and(|setting| setting.value.is_some());
    chosen(&HostOptions::input_mean()) || chosen(&HostOptions::input_std())
}

/// Where the model comes from, and what its input and output mean.
fn meta(imported: &Imported, graph: &Graph) -> Result<ModelMeta> {
    let Imported { selection, settings, info, .. } = imported;
    let own = |key: Key<Option<Vec<f64>>>| -> Result<Option<Vec<f32>>> {
        let numbers = settings.get(key)?;
        Ok(numbers.map(|numbers| numbers.into_iter().map(|number| number as f32).collect()))
    };
    let (mean, std) = match info {
        Some(info) => (info.mean.clone(), info.std.clone()),
        None => match (own(HostOptions::input_mean())?, own(HostOptions::input_std())?) {
            (Some(mean), Some(std)) => (mean, std),
            _ => return Err(unknown_input(settings, &selection.dataset.name)),
        },
    };
    let outputs = graph.shapes()?.last().map_or(0, |shape| shape[0]);
    let labels = info.as_ref().map(|info| info.labels.clone()).unwrap_or_default();
    let stand_in = info.as_ref().is_some_and(|info| info.stand_in);
    if labels.len() != outputs {
        tracing::warn!("the {outputs} classes stay without names: {} has {}", selection.dataset.name, labels.len());
    }
    Ok(ModelMeta {
        changed_graph: false,
        net: selection.net.name.clone(),
        learner: selection.learner.name.clone(),
        dataset: selection.dataset.name.clone(),
        stand_in,
        labels: if labels.len() == outputs { labels } else { Vec::new() },
        mean,
        std,
        top1: None,
        choices: ModelMeta::choices(settings, &selection.net.name),
    })
}

fn unknown_input(settings: &Settings, dataset: &str) -> Error {
    let place = settings.entry(&HostOptions::data_dir()).and_then(|setting| setting.value.as_ref());
    let place = place.map(|place| format!(" in {place}")).unwrap_or_default();
    Error::config(format!(
        "how the images are normalised is not known: there is no `{dataset}`{place}; give --data-dir, or --input-mean and \
         --input-std, a number for each channel in units of 0 to 255"
    ))
}

/// How the input is normalised, since a file of weights does not say it.
fn closing(model: &Model, own: bool, report: &ImportReport) -> String {
    let list = |numbers: &[f32]| numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(", ");
    let ModelMeta { mean, std, dataset, .. } = &model.meta;
    let mut text = String::new();
    if report.background_added {
        text +=
            "\nThe file knows one class less: class 0, the background, was put before them, scored as their mean.\n";
    }
    let source = match own {
        true => "as given".to_owned(),
        false => format!("assumed, as `{dataset}` has it; --input-mean and --input-std for another"),
    };
    text += &format!("\ninput   (pixel - mean) / std, mean {}, std {}, {source}\n", list(mean), list(std));
    text
}

fn text_of(json: &serde_json::Value) -> String {
    format!("{json:#}\n")
}
