//! Tensors in memory that is kept: used again, never shared by two that live, and freed from any
//! thread.

use pocketflow_torch::kernels;
use tch::{Device, Kind, Tensor};

const FLOATS: (Kind, Device) = (Kind::Float, Device::Cpu);

/// One after the other: what waits to be used again is one store for the whole process.
#[test]
fn memory_is_kept_and_used_again() {
    a_freed_block_serves_the_next_tensor_of_its_size();
    living_tensors_keep_their_values_whatever_other_threads_do();
}

fn a_freed_block_serves_the_next_tensor_of_its_size() {
    kernels::keep_memory().unwrap();
    kernels::keep_memory().unwrap();
    for numel in [100_000i64, 3_000_001] {
        let first = Tensor::zeros([numel], FLOATS);
        let address = first.data_ptr();
        assert_eq!(address as usize % 64, 0);
        let beside = Tensor::ones([numel], FLOATS);
        assert_ne!(beside.data_ptr(), address);
        drop(first);
        // Sizes within an eighth of each other share blocks.
        let again = Tensor::full([numel - 100], 3.0, FLOATS);
        assert_eq!(again.data_ptr(), address);
        assert_eq!(beside.sum(Kind::Double).double_value(&[]), numel as f64);
    }
    assert_eq!(Tensor::zeros([0], FLOATS).numel(), 0);
}

fn living_tensors_keep_their_values_whatever_other_threads_do() {
    kernels::keep_memory().unwrap();
    let worker = |seed: i64| {
        let mut kept: Vec<(i64, Tensor)> = Vec::new();
        for turn in 0..400i64 {
            let numel = 1 + (turn * 7919 + seed * 104_729) % 700_000;
            kept.push((turn, Tensor::full([numel], turn as f64, FLOATS)));
            if kept.len() > 8 {
                let (value, tensor) = kept.swap_remove((turn % 8) as usize);
                assert_eq!(tensor.min().double_value(&[]), value as f64);
                assert_eq!(tensor.max().double_value(&[]), value as f64);
            }
        }
        kept
    };
    let handles: Vec<_> = (0..3).map(|seed| std::thread::spawn(move || worker(seed))).collect();
    for handle in handles {
        // Freed here, by another thread than made them.
        for (value, tensor) in handle.join().unwrap() {
            assert_eq!(tensor.max().double_value(&[]), value as f64);
        }
    }
}
