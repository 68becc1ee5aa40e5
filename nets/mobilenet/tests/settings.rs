//! The net as the host makes it: from settings.

use pocketflow::ErrorKind;
use pocketflow::net::{Net, Schedule};
use pocketflow::option::Value;
use pocketflow::plugin::Plugin;
use pocketflow::settings::Settings;
use pocketflow_mobilenet::MobilenetAtIlsvrc12;

/// The net's defaults, what it reads of the data set's options, and `changed`.
fn settings(changed: &[(&str, Value)]) -> Settings {
    let mut settings = Settings::default();
    for spec in MobilenetAtIlsvrc12::options() {
        settings.derive(&spec.key, spec.default.unwrap(), "test");
    }
    settings.derive("nb_classes", Value::Int(1001), "test");
    settings.derive("batch_size", Value::Int(48), "test");
    for (key, value) in changed {
        settings.derive(key, value.clone(), "test");
    }
    settings
}

#[test]
fn defaults() {
    let net = MobilenetAtIlsvrc12::configure(&settings(&[])).unwrap();
    let graph = net.graph().unwrap();
    assert_eq!(graph.name, "mobilenet_v1_1.0_224_at_ilsvrc12");
    assert_eq!(graph.input_shape(), [3, 224, 224]);
    let recipe = net.recipe(1_281_167);
    let Schedule::Piecewise { init, .. } = recipe.schedule else { panic!("{:?}", recipe.schedule) };
    assert!((init - 0.0225).abs() < 1e-12, "{init}");
    assert_eq!((recipe.epochs, recipe.lrn_rate), (100.0, init));
}

#[test]
fn options_reach_the_graph() {
    let changed = [
        ("mobilenet_version", Value::Int(2)),
        ("mobilenet_depth_mult", Value::Float(1.4)),
        ("mobilenet_style", Value::Text("torchvision".into())),
        ("image_size", Value::Int(100)),
        ("nb_classes", Value::Int(7)),
    ];
    let net = MobilenetAtIlsvrc12::configure(&settings(&changed)).unwrap();
    let graph = net.graph().unwrap();
    assert_eq!(graph.name, "mobilenet_v2_1.4_100_at_ilsvrc12");
    assert_eq!(graph.shapes().unwrap().last(), Some(&[7, 1, 1]));
    assert!(serde_json::to_string(&graph).unwrap().contains("\"eps\":0.00001"));
    assert_eq!(net.recipe(1).epochs, 412.0);
}

#[test]
fn options_take_their_own_defaults() {
    for spec in MobilenetAtIlsvrc12::options() {
        assert!(spec.kind.check(spec.default.unwrap()).is_ok(), "{}", spec.key);
    }
}

#[test]
fn a_multiplier_that_gives_no_channels_is_refused() {
    for factor in [0.0, 0.0001] {
        let changed = [("mobilenet_depth_mult", Value::Float(factor))];
        let error = MobilenetAtIlsvrc12::configure(&settings(&changed)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        let message = error.to_string();
        assert!(message.contains("mobilenet_depth_mult") && message.contains("no channels"), "{message}");
    }
}
