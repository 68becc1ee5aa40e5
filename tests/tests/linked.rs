//! Plugins that are part of the program go the same way as those from files: same registry, same
//! guards.

use host::discover::PluginDirs;
use host::registry::{Registry, Reserved, Source};
use pocketflow::plugin::PluginKind;
use pocketflow::settings::Settings;
// Named, or the linker drops it with its registrations.
use pocketflow_fixture_panics as _;

#[test]
fn linked_plugins_are_listed_made_and_guarded() {
    let registry = Registry::discover(&PluginDirs::default(), &Reserved::default());
    let entry = registry.find(PluginKind::Net, "panics").unwrap();
    assert_eq!(entry.source, Source::Linked);
    assert_eq!(registry.entries().len(), 4);
    let failure = &registry.failures()[0];
    assert_eq!(failure.path, std::env::current_exe().unwrap());
    assert!(failure.reason.contains("panicked in `options`: boom in options"), "{}", failure.reason);

    let mut settings = Settings::defaults([("panics", entry.declaration.options.clone())]);
    assert_eq!(registry.net("panics", &settings).unwrap().graph().unwrap().name, "panics");
    settings.derive("panic_in_net", pocketflow::option::Value::Text("graph".into()), "the test wants it");
    let error = registry.net("panics", &settings).unwrap().graph().unwrap_err().to_string();
    assert!(error.starts_with("plugin `panics` panicked in `graph`: boom in graph ("), "{error}");
}
