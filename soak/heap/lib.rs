//! How much of its heap a process uses, told to who watches it from outside.
//!
//! Loaded before the C library (`LD_PRELOAD`), it stands between a program and the allocator, and
//! counts the blocks that are in use and their bytes, and of these the small ones. The counts stand
//! in the file that `HYBI_HEAP` names, as four numbers of 8 bytes; the file must not exist before, so
//! that a child of the program does not count into it. The program knows nothing of this: it is the one that is shipped.
//!
//! Linux with glibc, whose allocator has a second name for each of its functions. The sizes are
//! those that it gives, up to 24 bytes more than was asked for.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

/// Blocks below this are small: none of them is a buffer that a thread keeps for large payloads.
const LARGE: i64 = 32 << 10;

const ENOMEM: c_int = 12;
const EINVAL: c_int = 22;
const PROT_READ_WRITE: c_int = 3;
const MAP_SHARED: c_int = 1;

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
    fn malloc_usable_size(block: *mut c_void) -> usize;
    fn mmap(
        at: *mut c_void,
        len: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
}

#[repr(C)]
struct Counts {
    all: Count,
    small: Count,
}

#[repr(C)]
struct Count {
    blocks: AtomicI64,
    bytes: AtomicI64,
}

static BEFORE: Counts = Counts {
    all: Count::none(),
    small: Count::none(),
};

/// Where it is counted: in the file, once that is there.
static COUNTS: AtomicPtr<Counts> = AtomicPtr::new((&raw const BEFORE).cast_mut());

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

/// Runs before the program, while there is one thread.
extern "C" fn start() {
    let Some(path) = std::env::var_os("HYBI_HEAP") else {
        return;
    };
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path);
    let Ok(file) = file else { return };
    let len = size_of::<Counts>();
    if file.set_len(len as u64).is_err() {
        return;
    }
    // SAFETY: a new mapping of a file of that length, where there is room.
    let shared = unsafe {
        let flags = (PROT_READ_WRITE, MAP_SHARED);
        mmap(ptr::null_mut(), len, flags.0, flags.1, file.as_raw_fd(), 0)
    };
    if shared as isize != -1 {
        let shared: *mut Counts = shared.cast();
        // SAFETY: it is mapped for ever, begins on a page, and zeros are a value of it.
        let counts = unsafe { &*shared };
        counts.all.add(&BEFORE.all);
        counts.small.add(&BEFORE.small);
        COUNTS.store(shared, Ordering::Relaxed);
    }
}

impl Count {
    const fn none() -> Self {
        Self {
            blocks: AtomicI64::new(0),
            bytes: AtomicI64::new(0),
        }
    }

    fn change(&self, blocks: i64, bytes: i64) {
        self.blocks.fetch_add(blocks, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn add(&self, other: &Self) {
        let of = |count: &AtomicI64| count.load(Ordering::Relaxed);
        self.change(of(&other.blocks), of(&other.bytes));
    }
}

/// A block of this size has come, or with -1 has gone.
fn change(blocks: i64, size: i64) {
    // SAFETY: it points to a static or to what is mapped for ever.
    let counts = unsafe { &*COUNTS.load(Ordering::Relaxed) };
    counts.all.change(blocks, blocks * size);
    if size < LARGE {
        counts.small.change(blocks, blocks * size);
    }
}

/// The bytes of a block of the allocator's, none for null.
fn size(block: *mut c_void) -> i64 {
    // SAFETY: the callers have it from the allocator, or from who has it from there.
    unsafe { malloc_usable_size(block) as i64 }
}

fn taken(block: *mut c_void) -> *mut c_void {
    if !block.is_null() {
        change(1, size(block));
    }
    block
}

/// # Safety
///
/// As the function of the C library, as all below.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    taken(unsafe { __libc_malloc(bytes) })
}

/// # Safety
///
/// See [`malloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    taken(unsafe { __libc_calloc(count, bytes) })
}

/// # Safety
///
/// See [`malloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: *mut c_void, bytes: usize) -> *mut c_void {
    if block.is_null() {
        // SAFETY: the caller's.
        return taken(unsafe { __libc_malloc(bytes) });
    }
    let before = size(block);
    // SAFETY: the caller's.
    let after = unsafe { __libc_realloc(block, bytes) };
    if !after.is_null() {
        change(-1, before);
        change(1, size(after));
    } else if bytes == 0 {
        // glibc has freed it.
        change(-1, before);
    }
    after
}

/// # Safety
///
/// See [`malloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(align: usize, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    taken(unsafe { __libc_memalign(align, bytes) })
}

/// # Safety
///
/// See [`malloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aligned_alloc(align: usize, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { memalign(align, bytes) }
}

/// # Safety
///
/// See [`malloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(to: *mut *mut c_void, align: usize, bytes: usize) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<usize>()) {
        return EINVAL;
    }
    // SAFETY: the caller's.
    let block = unsafe { memalign(align, bytes) };
    if block.is_null() {
        return ENOMEM;
    }
    // SAFETY: the caller's.
    unsafe { to.write(block) };
    0
}

/// # Safety
///
/// See [`malloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    change(-1, size(block));
    // SAFETY: the caller's.
    unsafe { __libc_free(block) };
}
