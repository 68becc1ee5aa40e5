//! Logging across the boundary. `tracing`'s dispatcher is per library, so a plugin library gets a
//! subscriber that hands its events to the host's, under targets that begin with the plugin's name:
//! `RUST_LOG=uniform=debug` works.

use abi_stable::StableAbi;
use abi_stable::std_types::RStr;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing::callsite::{Callsite, Identifier};
use tracing::field::{Field, FieldSet, Visit};
use tracing::level_filters::LevelFilter;
use tracing::metadata::Kind;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// The host's end: 1 is error, 5 is trace.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct LogSink {
    /// The finest level that the host logs at the moment; 0 for nothing.
    max_level: extern "C" fn() -> u8,
    /// Level, target, text.
    event: extern "C" fn(u8, RStr<'_>, RStr<'_>),
}

const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

fn number(level: Level) -> u8 {
    LEVELS.iter().position(|known| *known == level).map_or(5, |index| index as u8 + 1)
}

/// A plugin library's end: whose events get which name.
pub struct Forward {
    pub sink: LogSink,
    /// Root module of a crate that registers plugins → name of its plugin.
    pub names: HashMap<&'static str, &'static str>,
    /// For the events of all other crates.
    pub library: &'static str,
}

impl Forward {
    /// `pocketflow_uniform::tune` → `uniform::tune`; `pocketflow_torch::train` →
    /// `uniform::pocketflow_torch::train`.
    fn target(&self, target: &str) -> String {
        let root = target.split("::").next().unwrap_or(target);
        match self.names.get(root) {
            Some(name) => format!("{name}{}", &target[root.len()..]),
            None => format!("{}::{target}", self.library),
        }
    }
}

impl Subscriber for Forward {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The host may change its mind about levels at any time.
        match metadata.is_span() {
            true => Interest::never(),
            false => Interest::sometimes(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span() && number(*metadata.level()) <= (self.sink.max_level)()
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let target = self.target(metadata.target());
        (self.sink.event)(number(*metadata.level()), target.as_str().into(), text.finish().as_str().into());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// `message key=value key=value`, as `tracing_subscriber` writes it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(self) -> String {
        match self.message.is_empty() {
            true => self.fields.trim_start().to_owned(),
            false => self.message + &self.fields,
        }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail, and a value that fails to print is not worth more.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// The sink for libraries that this program loads.
pub fn sink() -> LogSink {
    LogSink { max_level, event }
}

extern "C" fn max_level() -> u8 {
    LevelFilter::current().into_level().map_or(0, number)
}

extern "C" fn event(level: u8, target: RStr<'_>, text: RStr<'_>) {
    // A subscriber that panics is the host's own trouble, told by its panic hook; the plugin must
    // not end for it.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let level = LEVELS[usize::from(level.clamp(1, 5)) - 1];
        emit(level, target.as_str(), text.as_str());
    }));
}

/// The origin of events of one level and target. `tracing` wants these to live forever; a plugin
/// has few.
struct Site(OnceLock<Metadata<'static>>);

impl Callsite for Site {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.0.get().expect("set before anybody sees the site")
    }
}

fn site(level: Level, target: &str) -> &'static Metadata<'static> {
    type Sites = Mutex<HashMap<(Level, String), &'static Metadata<'static>>>;
    static SITES: OnceLock<Sites> = OnceLock::new();
    let mut sites = SITES.get_or_init(Sites::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(metadata) = sites.get(&(level, target.to_owned())) {
        return metadata;
    }
    let site: &'static Site = Box::leak(Box::new(Site(OnceLock::new())));
    let name: &'static str = String::leak(target.to_owned());
    let fields = FieldSet::new(&["message"], Identifier(site));
    let metadata =
        site.0.get_or_init(|| Metadata::new("plugin event", name, level, None, None, Some(name), fields, Kind::EVENT));
    tracing::callsite::register(site);
    sites.insert((level, target.to_owned()), metadata);
    metadata
}

fn emit(level: Level, target: &str, text: &str) {
    if level > LevelFilter::current() {
        return;
    }
    let metadata = site(level, target);
    tracing::dispatcher::get_default(|dispatch| {
        if dispatch.enabled(metadata) {
            let fields = metadata.fields();
            if let Some(message) = fields.field("message") {
                let values = [(&message, Some(&format_args!("{text}") as &dyn tracing::Value))];
                dispatch.event(&Event::new(metadata, &fields.value_set(&values)));
            }
        }
    });
}
