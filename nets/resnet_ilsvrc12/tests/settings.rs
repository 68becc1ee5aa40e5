//! The net as the host makes it: from settings.

use pocketflow::ErrorKind;
use pocketflow::net::{Net, Schedule};
use pocketflow::option::Value;
use pocketflow::plugin::Plugin;
use pocketflow::settings::Settings;
use pocketflow_resnet_ilsvrc12::ResnetAtIlsvrc12;

/// The net's defaults, what it reads of the data set's options, and `changed`.
fn settings(changed: &[(&str, Value)]) -> Settings {
    let mut settings = Settings::default();
    for spec in ResnetAtIlsvrc12::options() {
        settings.derive(&spec.key, spec.default.unwrap(), "test");
    }
    settings.derive("nb_classes", Value::Int(1001), "test");
    settings.derive("batch_size", Value::Int(64), "test");
    for (key, value) in changed {
        settings.derive(key, value.clone(), "test");
    }
    settings
}

#[test]
fn defaults() {
    let net = ResnetAtIlsvrc12::configure(&settings(&[])).unwrap();
    let graph = net.graph().unwrap();
    assert_eq!(graph.name, "resnet18_at_ilsvrc12");
    assert_eq!(graph.input_shape(), [3, 224, 224]);
    assert_eq!(graph.shapes().unwrap().last(), Some(&[1001, 1, 1]));
    let recipe = net.recipe(1_281_167);
    let Schedule::Piecewise { init, .. } = recipe.schedule else { panic!("{:?}", recipe.schedule) };
    assert_eq!(init, 0.025);
    assert_eq!(recipe.lrn_rate, init);
}

#[test]
fn options_take_their_own_defaults() {
    for spec in ResnetAtIlsvrc12::options() {
        assert!(spec.kind.check(spec.default.unwrap()).is_ok(), "{}", spec.key);
    }
}

#[test]
fn other_sizes_are_refused_with_a_list() {
    for size in [1, 20, 110, 1001] {
        let error = ResnetAtIlsvrc12::configure(&settings(&[("resnet_size", Value::Int(size))])).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        let message = error.to_string();
        assert!(message.contains(&size.to_string()) && message.contains("18, 34, 50, 101, 152"), "{message}");
    }
    let net = ResnetAtIlsvrc12::configure(&settings(&[("resnet_size", Value::Int(50))])).unwrap();
    assert_eq!(net.graph().unwrap().name, "resnet50_at_ilsvrc12");
}
