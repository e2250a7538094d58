//! The pages that code lies on: written first, executable then, and never both.
//!
//! Hardened systems refuse to make pages executable that were writable before (Linux's `PR_SET_MDWE`, a service's
//! `MemoryDenyWriteExecute`, SELinux without `execmem`). Executable pages that are mapped from a file they allow, and take the
//! place of the written ones, at the same addresses.

use std::io;

use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider};
use cranelift_module::{ModuleError, ModuleResult};
use region::{Allocation, Protection};
use wasmtime_jit_icache_coherence as cache;

/// One reservation for all functions of a program, so that they are within reach of each other.
pub(super) struct Pages {
    /// `None` once it is given back.
    memory: Option<Allocation>,
    /// Bytes that functions take.
    taken: usize,
}

// SAFETY: an allocation is addresses that it alone owns, of memory that belongs to no thread.
unsafe impl Send for Pages {}

impl Pages {
    /// Pages for so many bytes, to be written.
    pub(super) fn reserve(bytes: usize) -> Result<Pages, region::Error> {
        Ok(Pages { memory: Some(region::alloc(bytes, Protection::READ_WRITE)?), taken: 0 })
    }

    fn memory(&mut self) -> &mut Allocation {
        self.memory.as_mut().expect("the pages are not given back (a bug in nin)")
    }
}

impl JITMemoryProvider for Pages {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        assert!(
            matches!(kind, JITMemoryKind::Executable),
            "a program consists of functions alone (a bug in nin)"
        );
        let align = usize::try_from(align).expect("alignments are small");
        assert!(align <= region::page::size(), "alignments are within a page (a bug in nin)");
        let begin = self.taken.next_multiple_of(align);
        if begin + size > self.memory().len() {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        }
        self.taken = begin + size;
        Ok(self.memory().as_mut_ptr::<u8>().wrapping_add(begin))
    }

    unsafe fn free_memory(&mut self) {
        self.memory = None;
    }

    fn finalize(&mut self, protection: BranchProtection) -> ModuleResult<()> {
        assert_eq!(
            protection,
            BranchProtection::None,
            "code is translated without landing pads (a bug in nin)"
        );
        let refused = |err: io::Error| ModuleError::Allocation { err };
        make_executable(self.memory()).map_err(refused)?;
        let (first, bytes) = (self.memory().as_ptr::<std::ffi::c_void>(), self.memory().len());
        // SAFETY: the range is that of the allocation, which is readable.
        unsafe { cache::clear_cache(first, bytes) }.map_err(refused)?;
        cache::pipeline_flush_mt().map_err(refused)
    }
}

/// Makes written pages executable and no longer writable, or puts executable ones that hold the same in their place.
fn make_executable(memory: &mut Allocation) -> io::Result<()> {
    // SAFETY: the range is that of the allocation. Nobody writes to it any more, and nobody calls into it before this returns.
    let changed =
        unsafe { region::protect(memory.as_ptr::<u8>(), memory.len(), Protection::READ_EXECUTE) };
    changed.or_else(|error| mapped_anew(memory).map_err(|_| system(error)))
}

/// Puts executable pages of a file without a name, which holds the same, in the place of written ones.
#[cfg(target_os = "linux")]
fn mapped_anew(memory: &mut Allocation) -> io::Result<()> {
    use std::io::Write;

    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::mm::{MapFlags, ProtFlags, mmap};

    // A system may want every such file to say that it is no program, or not know that it can say so.
    let sealed = memfd_create("nin", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL);
    let file = sealed.or_else(|_| memfd_create("nin", MemfdFlags::CLOEXEC))?;
    let mut file = std::fs::File::from(file);
    // SAFETY: the allocation is readable, its bytes are zeros or were written, and nobody writes to it meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(memory.as_ptr::<u8>(), memory.len()) };
    file.write_all(bytes)?;
    let (place, len) = (memory.as_mut_ptr(), memory.len());
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: what is replaced is the allocation's own pages and no others, and `bytes` is not used any more. If it fails, the
    // pages that were there may be gone, and the caller only gives them back.
    unsafe { mmap(place, len, ProtFlags::READ | ProtFlags::EXEC, flags, &file, 0) }?;
    Ok(())
}

/// Other systems have no such files, or no such rules.
#[cfg(not(target_os = "linux"))]
fn mapped_anew(_: &mut Allocation) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// What the system said.
fn system(error: region::Error) -> io::Error {
    match error {
        region::Error::SystemCall(error) => error,
        other => io::Error::other(other.to_string()),
    }
}
