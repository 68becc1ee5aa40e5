//! The host's own options, declared where plugins see them too: a learner reads the seed, a data
//! set the folder of its images.

use std::path::PathBuf;

crate::choice! {
    /// What a run does.
    pub enum ExecMode {
        /// Trains, and evaluates what comes of it.
        Train = "train",
        /// Evaluates what a training saved.
        Eval = "eval",
    }
}

crate::choice! {
    /// The images that accuracy is measured on.
    pub enum EvalSplit {
        /// Those that the data set keeps for it.
        Eval = "eval",
        /// Those held out of the training images.
        Val = "val",
    }
}

const COUNT: std::ops::RangeInclusive<i64> = 1..=i64::MAX;

crate::options! {
    /// The options of the host, as its help lists them.
    pub struct HostOptions(full_precision: &str) {
        /// The compression method, by the name of its plugin.
        pub learner: String = text("learner", full_precision),
        /// The network to train or compress, by the name of its plugin.
        pub net: Option<String> = text("net", "").optional(),
        /// The images, by the name of a plugin; auto: the net's own, or its stand-in where the data
        /// are not found.
        pub dataset: String = text("dataset", "auto"),
        /// Train a model, or only evaluate the one that was saved.
        pub exec_mode: ExecMode = one_of("exec_mode", ExecMode::Train),
        /// Where the images lie; unset: ./data/ and the name of the data set.
        pub data_dir: Option<PathBuf> = path("data_dir", "").optional(),
        /// What computes: auto, cpu, or cuda:N for the GPU number N; auto prefers a GPU.
        pub device: String = text("device", "auto"),
        /// Mixed precision on a GPU: convolutions in bfloat16, what needs more in 32 bits.
        pub amp: bool = switch("amp", false),
        /// Threads for computing; 0: as many as there are cores.
        pub threads: usize = int("threads", 0, 0..=4096),
        /// Where all random numbers start: the same seed gives the same run.
        pub seed: u64 = int("seed", 0, 0..=i64::MAX),
        /// Where the run leaves its files; unset: a new directory under ./runs.
        pub run_dir: Option<PathBuf> = path("run_dir", "").optional(),
        /// Workers that train together, each with batches of its own; started here unless another
        /// program starts them.
        pub n: u32 = int("n", 1, 1..=1024),
        /// Seconds that a worker waits for another one before the run ends.
        pub worker_timeout: u32 = int("worker_timeout", 25, 1..=86_400),
        /// The full-precision model: where it goes and is looked for.
        pub save_path: PathBuf = path("save_path", "./models/model.ckpt").made_if_missing(),
        /// Start training from the model at save_path.
        pub enbl_warm_start: bool = switch("enbl_warm_start", false),
        /// Distillation: learn from the full-precision model's answers too.
        pub enbl_dst: bool = switch("enbl_dst", false),
        /// Weight of the distillation loss.
        pub loss_w_dst: f64 = float("loss_w_dst", 4.0, 0.0..=f64::INFINITY),
        /// Temperature that softens the answers in distillation.
        pub tempr_dst: f64 = float("tempr_dst", 4.0, 0.01..=1000.0),
        /// The model that distillation learns from; where there is none, the one at save_path is
        /// saved there.
        pub save_path_dst: PathBuf = path("save_path_dst", "./models_dst/model.ckpt").made_if_missing(),
        /// The learner that trains the model at save_path where there is none.
        pub parent_learner: String = text("parent_learner", full_precision),
        /// Training steps between two entries of the metrics.
        pub summ_step: u64 = int("summ_step", 100, COUNT),
        /// Training steps between two checkpoints.
        pub save_step: u64 = int("save_step", 10_000, COUNT),
        /// Go on from the last checkpoint of the run directory.
        pub resume: bool = switch("resume", false),
        /// The data set whose place a stand-in takes; set by the program when it falls back to one.
        pub stand_in_for: Option<String> = text("stand_in_for", "").optional(),
        /// The images that accuracy is measured on: eval, the test images; val, validation images
        /// that are held out of training, for choosing settings without the test images.
        pub eval_split: EvalSplit = one_of("eval_split", EvalSplit::Eval),
        /// Mean of the pixels (0 to 255) of each channel: the network's input is (pixel - mean) /
        /// std. Unset: the model's that is evaluated, else the data set's.
        pub input_mean: Option<Vec<f64>> = floats("input_mean", -1000.0..=1000.0),
        /// Standard deviation of the pixels of each channel, as input_mean.
        pub input_std: Option<Vec<f64>> = floats("input_std", 0.001..=1000.0),
    }
}

impl HostOptions {
    /// Returns the flags that make a run normalise its images by this mean and standard deviation
    /// of each channel.
    pub fn normalised_by(mean: &[f32], std: &[f32]) -> String {
        let list = |numbers: &[f32]| numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        format!("{} {}", Self::input_mean().typed(&list(mean)), Self::input_std().typed(&list(std)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisation_as_flags() {
        let flags = HostOptions::normalised_by(&[125.3, 123.0], &[63.0, 62.1]);
        assert_eq!(flags, "--input-mean=125.3,123 --input-std=63,62.1");
    }
}
