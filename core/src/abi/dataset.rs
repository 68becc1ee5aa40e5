//! [`Dataset`] and [`Batches`] across the boundary. Pixels and labels cross by moving the caller's
//! buffers there and back.

use super::buffer::Buffer;
use super::call::Callee;
use super::guard::{Held, Owner};
use super::wire::{Bytes, Outcome, inward, outward, pack, unpack};
use crate::dataset::counted::CountedPass;
use crate::dataset::{Batch, Batches, Dataset, DatasetInfo, Shard, Split};
use crate::error::{Error, Result};
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RSlice, RVec};
use abi_stable::{StableAbi, sabi_trait};
use std::mem::take;

/// [`Batch`], lent.
#[repr(C)]
#[derive(StableAbi)]
pub struct WireBatch {
    images: RVec<u8>,
    labels: RVec<u32>,
    len: usize,
}

impl WireBatch {
    fn lend(batch: &mut Batch) -> Self {
        Self {
            images: take(&mut batch.images).into_wire(),
            labels: take(&mut batch.labels).into_wire(),
            len: batch.len,
        }
    }

    fn take_back(self) -> Batch {
        Batch { images: Buffer::from_wire(self.images), labels: Buffer::from_wire(self.labels), len: self.len }
    }
}

#[sabi_trait]
pub trait BatchesObject: Send {
    fn next(&mut self, out: &mut WireBatch) -> Outcome<bool>;

    #[sabi(last_prefix_field)]
    fn skip(&mut self, samples: u64) -> Outcome<()>;
}

pub type BatchesBox = BatchesObject_TO<'static, RBox<()>>;

#[sabi_trait]
pub trait DatasetObject: Send + Sync {
    /// A [`DatasetInfo`].
    fn info(&self) -> Outcome<Bytes>;

    /// `request` is a `(Split, Shard, u64)`.
    #[sabi(last_prefix_field)]
    fn open(&self, request: RSlice<'_, u8>) -> Outcome<BatchesBox>;
}

pub type DatasetBox = DatasetObject_TO<'static, RBox<()>>;

/// The host's end of a check's progress.
#[sabi_trait]
pub trait ProgressObject: Send + Sync {
    #[sabi(last_prefix_field)]
    fn advance(&self, done: u64, total: u64);
}

pub type ProgressBox = ProgressObject_TO<'static, RBox<()>>;

struct Shown<F>(F);

impl<F: Fn(u64, u64) + Send + Sync> ProgressObject for Shown<F> {
    fn advance(&self, done: u64, total: u64) {
        // What shows progress must not end the work.
        let _ = Owner::host().guard("progress", || {
            (self.0)(done, total);
            Ok(())
        });
    }
}

pub fn progress(show: impl Fn(u64, u64) + Send + Sync + 'static) -> ProgressBox {
    ProgressObject_TO::from_value(Shown(show), TD_Opaque)
}

/// That a batch holds no more than fits, in buffers of the sizes that were given: unchecked, this
/// would be an index out of range in somebody else's code.
fn check_buffers(batch: &Batch, sizes: (usize, usize)) -> Result<()> {
    match sizes == (batch.images.len(), batch.labels.len()) && batch.len <= sizes.1 {
        true => Ok(()),
        false => Err(Error::failed(format!(
            "the data set returned a batch of {} images in buffers for {}, of {} bytes where it was given {}",
            batch.len,
            batch.labels.len(),
            batch.images.len(),
            sizes.0,
        ))),
    }
}

struct ProvidedBatches(Held<dyn Batches>);

impl BatchesObject for ProvidedBatches {
    fn next(&mut self, out: &mut WireBatch) -> Outcome<bool> {
        let lent = WireBatch { images: take(&mut out.images), labels: take(&mut out.labels), len: out.len };
        let mut batch = lent.take_back();
        let sizes = (batch.images.len(), batch.labels.len());
        let owner = self.0.owner().clone();
        let result = owner.guard("next", || {
            let more = self.0.next(&mut batch)?;
            check_buffers(&batch, sizes)?;
            Ok(more)
        });
        *out = WireBatch::lend(&mut batch);
        outward(result)
    }

    fn skip(&mut self, samples: u64) -> Outcome<()> {
        let owner = self.0.owner().clone();
        outward(owner.guard("skip", || self.0.skip(samples)))
    }
}

struct Provided(Held<dyn Dataset>);

impl DatasetObject for Provided {
    fn info(&self) -> Outcome<Bytes> {
        outward(self.0.owner().guard("info", || pack("a data set's description", &self.0.info())))
    }

    fn open(&self, request: RSlice<'_, u8>) -> Outcome<BatchesBox> {
        let owner = self.0.owner();
        outward(owner.guard("open", || {
            let (split, shard, seed): (Split, Shard, u64) = unpack("a request for batches", &request)?;
            let batches = Held::new(owner.clone(), self.0.open(split, shard, seed)?);
            Ok(BatchesObject_TO::from_value(ProvidedBatches(batches), TD_Opaque))
        }))
    }
}

pub fn provide(owner: Owner, dataset: Box<dyn Dataset>) -> DatasetBox {
    DatasetObject_TO::from_value(Provided(Held::new(owner, dataset)), TD_Opaque)
}

struct ForeignBatches(Callee, BatchesBox);

impl Batches for ForeignBatches {
    fn next(&mut self, out: &mut Batch) -> Result<bool> {
        let sizes = (out.images.len(), out.labels.len());
        let mut lent = WireBatch::lend(out);
        let result = self.0.call("next", || self.1.next(&mut lent));
        *out = lent.take_back();
        let more = inward(result)?;
        check_buffers(out, sizes)?;
        Ok(more)
    }

    fn skip(&mut self, samples: u64) -> Result<()> {
        inward(self.0.call("skip", || self.1.skip(samples)))
    }
}

struct Foreign {
    callee: Callee,
    object: DatasetBox,
    /// Fetched once, where an error can still be returned.
    info: DatasetInfo,
}

impl Dataset for Foreign {
    fn info(&self) -> DatasetInfo {
        self.info.clone()
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let request = pack("a request for batches", &(split, shard, seed))?;
        let open = || {
            let opened = self.callee.call("open", || self.object.open(request.as_rslice()));
            Ok(Box::new(ForeignBatches(self.callee, inward(opened)?)) as Box<dyn Batches>)
        };
        Ok(Box::new(CountedPass::open(&self.info, split, shard, open)?))
    }
}

/// # Errors
/// The data set does not say what it is, or what it says makes no sense ([`DatasetInfo::check`]).
pub fn consume(callee: Callee, object: DatasetBox) -> Result<Box<dyn Dataset>> {
    let info = described(&inward(callee.call("info", || object.info()))?)?;
    Ok(Box::new(Foreign { callee, object, info }))
}

/// A description that came over the boundary, checked.
///
/// # Errors
/// As [`consume`].
pub fn described(bytes: &[u8]) -> Result<DatasetInfo> {
    let info: DatasetInfo = unpack("a data set's description", bytes)?;
    info.check()?;
    Ok(info)
}
