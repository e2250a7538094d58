//! Denormals are flushed to zero while generated code runs, and the caller's setting comes back afterwards.
//!
//! A weight that decays or an activation that vanishes becomes a denormal, on which a multiplication takes a hundred
//! cycles instead of four.

/// Restores the thread's floating-point control register when dropped.
pub(super) struct Flush {
    before: Control,
}

impl Flush {
    /// Sets flush-to-zero, of results and of operands, on this thread.
    pub(super) fn to_zero() -> Flush {
        let before = read();
        write(before | FLUSH);
        Flush { before }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        write(self.before);
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    /// MXCSR.
    pub(super) type Control = u32;
    /// Flush to zero (bit 15) and denormals are zero (bit 6).
    pub(super) const FLUSH: Control = 1 << 15 | 1 << 6;

    pub(super) fn read() -> Control {
        let mut control: Control = 0;
        // SAFETY: stores MXCSR, which every x86-64 CPU has, to a local.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
        };
        control
    }

    pub(super) fn write(control: Control) {
        // SAFETY: `control` is a value read from MXCSR, perhaps with two documented bits set: no reserved bit is.
        // Rust code on this thread runs meanwhile only inside `CodeMemory::call`, around the call itself.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags));
        };
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    /// FPCR.
    pub(super) type Control = u64;
    /// Flush to zero (bit 24).
    pub(super) const FLUSH: Control = 1 << 24;

    pub(super) fn read() -> Control {
        let control: Control;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
        control
    }

    pub(super) fn write(control: Control) {
        // SAFETY: `control` is a value read from FPCR, perhaps with one documented bit set. Rust code on this thread
        // runs meanwhile only inside `CodeMemory::call`, around the call itself.
        unsafe { asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    /// Nothing is known of this CPU's setting: it stays as it is.
    pub(super) type Control = u32;
    pub(super) const FLUSH: Control = 0;

    pub(super) fn read() -> Control {
        0
    }

    pub(super) fn write(_: Control) {}
}

use control::{Control, FLUSH, read, write};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_comes_back() {
        let tiny = std::hint::black_box(f32::MIN_POSITIVE);
        let before = read();
        {
            let _flushing = Flush::to_zero();
            assert_eq!(std::hint::black_box(tiny) * std::hint::black_box(0.5), 0.0);
        }
        assert_eq!(read(), before);
        assert!(std::hint::black_box(tiny) * std::hint::black_box(0.5) > 0.0);
    }
}
