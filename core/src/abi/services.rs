//! [`Host`] across the boundary: provided by the host, consumed by learners.

use super::agent::{self, AgentBox};
use super::call::Callee;
use super::guard::{Owner, carry};
use super::wire::{Bytes, Outcome, inward, outward, pack, unpack};
use crate::agent::Agent;
use crate::error::{Error, Result};
use crate::job::{Event, Host};
use crate::names;
use crate::report::Report;
use abi_stable::sabi_trait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RResult, RSlice, RStr};
use serde::Deserialize;
use std::sync::Arc;

#[sabi_trait]
pub trait HostObject: Send + Sync {
    /// `event` is an [`Event`].
    fn event(&self, event: RSlice<'_, u8>) -> Outcome<()>;

    fn interrupted(&self) -> Outcome<bool>;

    /// `replaced` is a list of pairs of text; gives a [`Report`].
    fn run_learner(&self, learner: RStr<'_>, replaced: RSlice<'_, u8>) -> Outcome<Bytes>;

    #[sabi(last_prefix_field)]
    fn agent(&self, name: RStr<'_>) -> Outcome<AgentBox>;
}

/// What a newer version calls an event.
fn name(event: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Tag {
        event: String,
    }
    unpack::<Tag>("an event", event).map_or_else(|_| "an event".into(), |tag| names::shown(&tag.event).into_owned())
}

pub type HostBox = HostObject_TO<'static, RBox<()>>;

struct Provided(Arc<dyn Host>);

impl HostObject for Provided {
    fn event(&self, event: RSlice<'_, u8>) -> Outcome<()> {
        // Never an error, which would end a training for a line of progress.
        let shown = Owner::host().guard("event", || {
            match unpack("an event", &event)? {
                Event::Unknown => return Err(Error::failed(format!("`{}` is of a newer version", name(&event)))),
                known => self.0.event(known),
            }
            Ok(())
        });
        if let Err(error) = shown {
            tracing::debug!("an event is dropped: {error}");
        }
        RResult::ROk(())
    }

    fn interrupted(&self) -> Outcome<bool> {
        outward(Owner::host().guard("interrupted", || Ok(self.0.interrupted())))
    }

    fn run_learner(&self, learner: RStr<'_>, replaced: RSlice<'_, u8>) -> Outcome<Bytes> {
        outward(Owner::host().guard("run_learner", || {
            let replaced: Vec<(String, String)> = unpack("replaced settings", &replaced)?;
            pack("a report", &self.0.run_learner(learner.as_str(), &replaced)?)
        }))
    }

    fn agent(&self, name: RStr<'_>) -> Outcome<AgentBox> {
        let owner = Owner::host();
        outward(owner.guard("agent", || Ok(agent::provide(owner.clone(), self.0.agent(name.as_str())?))))
    }
}

pub fn provide(host: Arc<dyn Host>) -> HostBox {
    HostObject_TO::from_value(Provided(host), TD_Opaque)
}

struct Foreign(HostBox);

impl Host for Foreign {
    fn event(&self, event: Event) {
        let sent = pack("an event", &event).and_then(|bytes| inward(self.0.event(bytes.as_rslice())));
        // A host of an older version refuses what it does not know.
        if let Err(error) = sent {
            tracing::debug!("an event is dropped: {error}");
        }
    }

    fn interrupted(&self) -> bool {
        carry(inward(self.0.interrupted()))
    }

    fn run_learner(&self, learner: &str, replaced: &[(String, String)]) -> Result<Report> {
        let replaced = pack("replaced settings", &replaced)?;
        unpack("a report", &inward(self.0.run_learner(learner.into(), replaced.as_rslice()))?)
    }

    fn agent(&self, name: &str) -> Result<Box<dyn Agent>> {
        let callee = Callee::new(format!("agent `{name}`"));
        inward(self.0.agent(name.into())).map(|object| agent::consume(callee, object))
    }
}

pub fn consume(object: HostBox) -> Arc<dyn Host> {
    Arc::new(Foreign(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::wire::golden::bytes;
    use std::sync::Mutex;

    /// Keeps events; panics at notes.
    #[derive(Default)]
    struct Kept(Mutex<Vec<Event>>);

    impl Host for Kept {
        fn event(&self, event: Event) {
            assert!(!matches!(event, Event::Note { .. }), "no luck");
            self.0.lock().unwrap().push(event);
        }

        fn interrupted(&self) -> bool {
            false
        }

        fn run_learner(&self, _: &str, _: &[(String, String)]) -> Result<Report> {
            Err(Error::failed("there is none"))
        }

        fn agent(&self, _: &str) -> Result<Box<dyn Agent>> {
            Err(Error::failed("there is none"))
        }
    }

    /// A host of another version, which refuses every event.
    struct Older(HostBox);

    impl HostObject for Older {
        fn event(&self, _: RSlice<'_, u8>) -> Outcome<()> {
            outward(Err(Error::failed("unknown variant")))
        }

        fn interrupted(&self) -> Outcome<bool> {
            self.0.interrupted()
        }

        fn run_learner(&self, learner: RStr<'_>, replaced: RSlice<'_, u8>) -> Outcome<Bytes> {
            self.0.run_learner(learner, replaced)
        }

        fn agent(&self, name: RStr<'_>) -> Outcome<AgentBox> {
            self.0.agent(name)
        }
    }

    fn step() -> Event {
        Event::Progress { phase: "search".into(), step: 1, text: "a layer".into() }
    }

    #[test]
    fn an_event_never_ends_a_training() {
        let kept = Arc::new(Kept::default());
        let host = provide(kept.clone());
        let newer = pack("an event", &serde_json::json!({ "event": "saved", "path": "a.ckpt" })).unwrap();
        let unreadable = pack("an event", &serde_json::json!({ "event": "step", "phase": 7 })).unwrap();
        let panics = pack("an event", &Event::Note { text: String::new(), warning: false }).unwrap();
        for event in [newer, unreadable, panics, bytes("settings.1").into(), Bytes::new()] {
            assert_eq!(inward(host.event(event.as_rslice())), Ok(()));
        }
        let plugin = consume(host);
        plugin.event(step());
        plugin.event(Event::Note { text: String::new(), warning: true });
        consume(HostObject_TO::from_value(Older(provide(kept.clone())), TD_Opaque)).event(step());
        assert_eq!(*kept.0.lock().unwrap(), [step()]);
    }
}
