//! Reading the fields of the [`Context`] an entry is called with, and making one.

use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::emitter::Emitter;
use crate::compiler::abi::Context;

const _: () = assert!(size_of::<Context>().is_multiple_of(size_of::<u64>()));

/// Loads the field at a byte offset.
pub(super) fn load(e: &mut Emitter<'_>, ty: Type, context: Value, offset: usize) -> Value {
    let offset = i32::try_from(offset).expect("the context is small");
    // Fields do not change during a call: loads of the same one are one load.
    let flags = Emitter::mem().with_readonly().with_can_move().with_aligned();
    e.b.ins().load(ty, flags, context, offset)
}

/// A context on the stack that names nothing.
pub(super) fn on_stack(e: &mut Emitter<'_>) -> Value {
    let context = e.stack(size_of::<Context>() / size_of::<f32>());
    let zero = e.int(0);
    for offset in (0..size_of::<Context>()).step_by(size_of::<u64>()) {
        store(e, zero, context, offset);
    }
    context
}

/// Stores the field at a byte offset.
pub(super) fn store(e: &mut Emitter<'_>, value: Value, context: Value, offset: usize) {
    let offset = i32::try_from(offset).expect("the context is small");
    e.b.ins().store(Emitter::mem().with_aligned(), value, context, offset);
}
