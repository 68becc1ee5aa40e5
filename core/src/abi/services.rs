//! [`Host`] across the boundary: provided by the host, consumed by learners.

use super::agent::{self, AgentBox};
use super::call::Callee;
use super::guard::{Owner, carry};
use super::wire::{Bytes, Outcome, inward, outward, pack, unpack};
use crate::agent::Agent;
use crate::error::Result;
use crate::job::{Event, Host};
use crate::report::Report;
use abi_stable::sabi_trait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RSlice, RStr};
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

pub type HostBox = HostObject_TO<'static, RBox<()>>;

struct Provided(Arc<dyn Host>);

impl HostObject for Provided {
    fn event(&self, event: RSlice<'_, u8>) -> Outcome<()> {
        outward(Owner::host().guard("event", || {
            self.0.event(unpack("an event", &event)?);
            Ok(())
        }))
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
        carry(sent);
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
