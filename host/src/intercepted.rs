//! The functions of the C library that end a process, as plugins see them: the system's loader
//! finds those of the program first. Here they say whose doing it is; see [`host::ending`].
//!
//! The linker is told to export them (`build.rs`), else only this program would use them.

use host::ending;
use std::ffi::{c_char, c_int};

/// # Safety
/// As the function of that name in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn exit(status: c_int) -> ! {
    type Exit = unsafe extern "C" fn(c_int) -> !;
    const NAME: &[u8] = b"exit\0";
    let status = ending::status("exit", status);
    // SAFETY: the name ends with 0, and a function of that name in the C library is of this type.
    unsafe {
        let next = libc::dlsym(libc::RTLD_NEXT, NAME.as_ptr().cast::<c_char>());
        if next.is_null() {
            end(status)
        }
        std::mem::transmute::<*mut libc::c_void, Exit>(next)(status)
    }
}

/// # Safety
/// As the function of that name in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _exit(status: c_int) -> ! {
    end(ending::status("_exit", status))
}

/// # Safety
/// As the function of that name in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Exit(status: c_int) -> ! {
    end(ending::status("_Exit", status))
}

/// Ends the process at once, without what was registered for it: nothing of this program is.
///
/// # Safety
/// As the function of that name in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quick_exit(status: c_int) -> ! {
    end(ending::status("quick_exit", status))
}

fn end(status: c_int) -> ! {
    loop {
        // SAFETY: a system call that does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}
