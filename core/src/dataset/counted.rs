//! A pass that is counted: as many images as the data set says, each with a label that is a class.
//! Every pass that crosses the plugin boundary is one, so that no figure is of a part of the data.

use super::{Batch, Batches, DatasetInfo, Shard, Split};
use crate::error::{Error, Result};

/// [`Batches`] that are compared with what the data set says of itself.
pub struct CountedPass {
    pass: Box<dyn Batches>,
    dataset: String,
    split: Split,
    classes: usize,
    /// Images of the whole pass: a shard of test images may have one more or one less than another.
    fewest: u64,
    most: u64,
    /// Images given or passed over.
    position: u64,
}

impl CountedPass {
    /// Counts what `open` gives for a shard of a split.
    ///
    /// # Errors
    /// A split without images, with the option that changes it; the errors of `open`.
    pub fn open(
        info: &DatasetInfo,
        split: Split,
        shard: Shard,
        open: impl FnOnce() -> Result<Box<dyn Batches>>,
    ) -> Result<Self> {
        let images = info.samples(split);
        if images == 0 {
            return Err(without_images(info, split));
        }
        let shards = u64::from(shard.count.max(1));
        let whole = images / shards;
        let most = if split.is_training() { whole } else { images.div_ceil(shards) };
        let leaves_out = info.leaves_out && matches!(split, Split::Val | Split::Eval);
        let fewest = if leaves_out { 0 } else { whole };
        let (dataset, classes) = (info.name.clone(), info.labels.len());
        Ok(Self { pass: open()?, dataset, split, classes, fewest, most, position: 0 })
    }

    fn wrong(&self, what: &str) -> Error {
        let (dataset, images) = (&self.dataset, self.split.images());
        Error::failed(format!(
            "the data set `{dataset}` {what} ({images}): its files are incomplete or its plugin is wrong, and figures of \
             these images would mean nothing"
        ))
    }

    /// The pass says that it is over; in training an incomplete batch of less than `capacity`
    /// images is left out.
    fn ended(&self, capacity: usize) -> Result<()> {
        let left_out = if self.split.is_training() { (capacity as u64).saturating_sub(1) } else { 0 };
        match self.position.saturating_add(left_out) < self.fewest {
            true => Err(self.wrong(&format!("says {} images and gave {}", self.fewest, self.position))),
            false => Ok(()),
        }
    }
}

/// The error of a split without images.
pub fn without_images(info: &DatasetInfo, split: Split) -> Error {
    let option = match split {
        Split::Val => "nb_smpls_val",
        Split::Eval => "nb_smpls_eval",
        Split::Train | Split::Fit | Split::Plain => "nb_smpls_train",
    };
    let (name, images) = (&info.name, split.images());
    Error::config(format!("the data set `{name}` has no {images}: raise `{option}`, or select other images"))
}

impl Split {
    /// What its images are called.
    pub fn images(self) -> &'static str {
        match self {
            Self::Train | Self::Plain => "training images",
            Self::Fit => "training images without those for validation",
            Self::Val => "validation images",
            Self::Eval => "test images",
        }
    }

    fn is_training(self) -> bool {
        matches!(self, Self::Train | Self::Fit)
    }
}

impl Batches for CountedPass {
    fn next(&mut self, out: &mut Batch) -> Result<bool> {
        let capacity = out.capacity();
        if !self.pass.next(out)? {
            out.len = 0;
            return self.ended(capacity).map(|()| false);
        }
        if out.len == 0 || out.len > capacity {
            return Err(self.wrong(&format!("gave a batch of {} images in buffers for {capacity}", out.len)));
        }
        if let Some(label) = out.labels[..out.len].iter().find(|label| **label as usize >= self.classes) {
            let classes = self.classes;
            return Err(self.wrong(&format!("gave the label {label} and names {classes} classes, counted from 0")));
        }
        self.position = self.position.saturating_add(out.len as u64);
        if self.position > self.most {
            return Err(self.wrong(&format!("says {} images and gave more", self.most)));
        }
        if self.split.is_training() && out.len < capacity && self.position < self.most {
            let (len, position) = (out.len, self.position);
            return Err(
                self.wrong(&format!("gave a training batch of {len} images instead of {capacity} at {position}"))
            );
        }
        Ok(true)
    }

    fn skip(&mut self, samples: u64) -> Result<()> {
        self.pass.skip(samples)?;
        self.position = self.position.saturating_add(samples).min(self.most);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of these lengths, the label of every image the same.
    struct Lengths(Vec<usize>, u32);

    impl Batches for Lengths {
        fn next(&mut self, out: &mut Batch) -> Result<bool> {
            out.labels.fill(self.1);
            out.len = if self.0.is_empty() { 0 } else { self.0.remove(0) };
            Ok(out.len > 0 || !self.0.is_empty())
        }

        fn skip(&mut self, _: u64) -> Result<()> {
            Ok(())
        }
    }

    fn info(images: u64) -> DatasetInfo {
        DatasetInfo {
            name: "counted".into(),
            shape: [1, 1, 1],
            labels: vec!["zero".into(), "one".into()],
            mean: vec![0.0],
            std: vec![1.0],
            train: images,
            val: images / 2,
            eval: images,
            stand_in: false,
            source: String::new(),
            classes_by_name: false,
            leaves_out: false,
        }
    }

    /// Reads a pass of 10 images in batches of 4 to its end.
    fn read(split: Split, shards: u32, lengths: &[usize], label: u32) -> Result<u64> {
        let shard = Shard { index: 0, count: shards };
        let mut pass =
            CountedPass::open(&info(10), split, shard, || Ok(Box::new(Lengths(lengths.to_vec(), label)) as Box<_>))?;
        let mut batch = Batch::new(4, [1, 1, 1]);
        let mut images = 0;
        while pass.next(&mut batch)? {
            images += batch.len as u64;
        }
        assert_eq!(batch.len, 0);
        Ok(images)
    }

    #[test]
    fn whole_passes_are_left_alone() {
        assert_eq!(read(Split::Eval, 1, &[4, 4, 2], 1).unwrap(), 10);
        assert_eq!(read(Split::Plain, 1, &[4, 2, 4], 0).unwrap(), 10);
        assert_eq!(read(Split::Train, 1, &[4, 4], 0).unwrap(), 8, "the incomplete last batch is left out");
        assert_eq!(read(Split::Train, 1, &[4, 4, 2], 0).unwrap(), 10);
        assert_eq!(read(Split::Val, 1, &[4, 1], 0).unwrap(), 5);
        assert_eq!(read(Split::Fit, 1, &[4], 0).unwrap(), 4);
        for length in [3, 4] {
            assert_eq!(read(Split::Eval, 3, &[length], 0).unwrap(), length as u64, "a shard");
        }
    }

    #[test]
    fn images_that_are_missing_or_too_many_are_an_error_with_both_numbers() {
        let said = |split, lengths: &[usize]| read(split, 1, lengths, 0).unwrap_err().to_string();
        assert!(said(Split::Eval, &[4, 4]).contains("says 10 images and gave 8 (test images)"));
        assert!(said(Split::Plain, &[]).contains("says 10 images and gave 0 (training images)"));
        assert!(said(Split::Val, &[4]).contains("says 5 images and gave 4 (validation images)"));
        assert!(said(Split::Train, &[4]).contains("says 10 images and gave 4"));
        assert!(said(Split::Eval, &[4, 4, 4]).contains("says 10 images and gave more"));
        assert!(said(Split::Train, &[4, 2, 4]).contains("a training batch of 2 images instead of 4"));
        assert!(said(Split::Eval, &[4, 0, 4]).contains("a batch of 0 images"));
        assert!(read(Split::Eval, 3, &[2], 0).is_err());
    }

    #[test]
    fn a_data_set_that_leaves_damaged_images_out_may_give_fewer_but_not_in_training() {
        let read = |split, lengths: &[usize]| {
            let info = info(10).leaves_out(true);
            let open = || Ok(Box::new(Lengths(lengths.to_vec(), 0)) as Box<dyn Batches>);
            let mut pass = CountedPass::open(&info, split, Shard::WHOLE, open).unwrap();
            let mut batch = Batch::new(4, [1, 1, 1]);
            while pass.next(&mut batch)? {}
            Ok::<(), Error>(())
        };
        read(Split::Eval, &[4, 3]).unwrap();
        read(Split::Val, &[4]).unwrap();
        assert!(read(Split::Eval, &[4, 4, 4]).is_err());
        assert!(read(Split::Train, &[4]).is_err() && read(Split::Plain, &[4, 4]).is_err());
    }

    #[test]
    fn a_label_that_is_no_class_is_an_error() {
        let said = read(Split::Eval, 1, &[4, 4, 2], 2).unwrap_err().to_string();
        assert!(said.contains("the label 2 and names 2 classes"), "{said}");
    }

    #[test]
    fn a_split_without_images_names_the_option() {
        let none = || -> Result<Box<dyn Batches>> { panic!("it is not opened") };
        for (split, option) in
            [(Split::Val, "nb_smpls_val"), (Split::Eval, "nb_smpls_eval"), (Split::Plain, "nb_smpls_train")]
        {
            let error = CountedPass::open(&info(0), split, Shard::WHOLE, none).err().unwrap();
            assert_eq!(error.kind(), crate::ErrorKind::Config);
            assert!(error.to_string().contains(option), "{error}");
        }
    }

    #[test]
    fn what_is_passed_over_counts_as_given() {
        let open = || Ok(Box::new(Lengths(vec![4], 0)) as Box<dyn Batches>);
        let mut pass = CountedPass::open(&info(10), Split::Eval, Shard::WHOLE, open).unwrap();
        pass.skip(6).unwrap();
        let mut batch = Batch::new(4, [1, 1, 1]);
        assert!(pass.next(&mut batch).unwrap() && !pass.next(&mut batch).unwrap());
    }
}
