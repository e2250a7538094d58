//! Reading the fields of the [`Context`](crate::abi::Context) an entry is called with.

use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::emitter::Emitter;

/// Loads the field at a byte offset.
pub(super) fn load(e: &mut Emitter<'_>, ty: Type, context: Value, offset: usize) -> Value {
    let offset = i32::try_from(offset).expect("the context is small");
    // Fields do not change during a call: loads of the same one are one load.
    let flags = Emitter::mem().with_readonly().with_can_move().with_aligned();
    e.b.ins().load(ty, flags, context, offset)
}
