//! Safe wrappers of `kernels/group.cpp`: processes that train together.

use super::check;
use crate::workers::Reduction;
use pocketflow::workers::Group;
use pocketflow::{Error, Result};
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Mutex;
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn pf_group(
        host: *const c_char,
        port: c_int,
        serves: c_int,
        rank: c_int,
        size: c_int,
        join_ms: i64,
        timeout_ms: i64,
        interface: *const c_char,
        prefix: *const c_char,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn pf_group_free(group: *mut c_void);
    fn pf_group_reduce(group: *mut c_void, tensors: *const *mut C_tensor, count: i64, how: c_int) -> *mut c_char;
    fn pf_group_broadcast(group: *mut c_void, tensors: *const *mut C_tensor, count: i64) -> *mut c_char;
}

/// A group that this process is in.
pub struct Processes {
    /// Held while a call is made: the group needs them one after the other.
    group: Mutex<*mut c_void>,
}

// SAFETY: the object belongs to no thread, and the mutex lets one thread use it at a time.
unsafe impl Send for Processes {}
// SAFETY: as above.
unsafe impl Sync for Processes {}

impl Processes {
    /// Joins the group, from the address of this machine at which the others reach it.
    ///
    /// # Errors
    /// What libtorch says where the group does not come together.
    pub fn join(group: &Group, address: &str) -> Result<Self> {
        let text = |text: &str| CString::new(text).map_err(|_| Error::config(format!("`{text}` is no address")));
        let (host, address) = (text(&group.host)?, text(address)?);
        let prefix = text(&format!("pocketflow/{}", group.job))?;
        let mut out = std::ptr::null_mut();
        // SAFETY: NUL-terminated texts that live through the call; `out` receives a new group.
        let message = unsafe {
            pf_group(
                host.as_ptr(),
                group.port.into(),
                group.serves.into(),
                group.rank as c_int,
                group.size as c_int,
                1000 * i64::from(group.join_seconds()),
                1000 * i64::from(group.timeout),
                address.as_ptr(),
                prefix.as_ptr(),
                &mut out,
            )
        };
        check("group", message)?;
        Ok(Self { group: Mutex::new(out) })
    }

    /// Replaces each tensor by what it becomes with the other workers'. They are of one type.
    ///
    /// # Errors
    /// A worker that is gone, or does not answer in time.
    pub fn reduce(&self, tensors: &mut [Tensor], how: Reduction) -> Result<()> {
        let how = match how {
            Reduction::Sum => 0,
            Reduction::Min => 1,
            Reduction::Max => 2,
        };
        let pointers: Vec<*mut C_tensor> = tensors.iter_mut().map(Tensor::as_mut_ptr).collect();
        let group = self.group.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: live tensors that nobody else uses meanwhile, and a group that lives as long as
        // `self`.
        check("group_reduce", unsafe { pf_group_reduce(*group, pointers.as_ptr(), pointers.len() as i64, how) })
    }

    /// Replaces each tensor by worker 0's.
    ///
    /// # Errors
    /// As [`Processes::reduce`].
    pub fn broadcast(&self, tensors: &mut [Tensor]) -> Result<()> {
        let pointers: Vec<*mut C_tensor> = tensors.iter_mut().map(Tensor::as_mut_ptr).collect();
        let group = self.group.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: as in `reduce`.
        check("group_broadcast", unsafe { pf_group_broadcast(*group, pointers.as_ptr(), pointers.len() as i64) })
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let group = self.group.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: made by `pf_group`, and freed once.
        unsafe { pf_group_free(*group) };
    }
}
