//! A plugin's log lines in the host's log.

use crate::fixtures::{settings, toy};
use crate::job::job;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, registry};

/// Keeps `LEVEL target: text`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let metadata = event.metadata();
        let line = format!("{} {}: {}", metadata.level(), metadata.target(), message.0);
        self.0.lock().unwrap().push(line);
    }
}

fn logged(filter: &str) -> Vec<String> {
    let lines = Lines::default();
    let subscriber = registry().with(lines.clone().with_filter(EnvFilter::new(filter)));
    let registry = toy();
    let settings = settings(&registry, &[("toy_mode", "log")]);
    let mut learner = registry.learner("toy", &settings).unwrap();
    let job = job(&registry, settings, Arc::default());
    tracing::subscriber::with_default(subscriber, || learner.train(&job).unwrap());
    lines.0.lock().unwrap().iter().filter(|line| line.contains(" toy::")).cloned().collect()
}

#[test]
fn events_carry_the_plugins_name_and_obey_the_hosts_filter() {
    let warning = "WARN toy::elsewhere::deep: from afar bits=4";
    let info = r#"INFO toy::learner: it is so layer="fc" error=NaN"#;
    let debug = "DEBUG toy::learner: only with debug";
    let error = "ERROR toy::learner: code=3";
    assert_eq!(logged("off,toy=debug"), [warning, info, debug, error]);
    assert_eq!(logged("info"), [warning, info, error]);
    assert_eq!(logged("debug,toy=error"), [error]);
    assert_eq!(logged("off,toy::elsewhere=trace"), [warning]);
    assert!(logged("off").is_empty());
}
