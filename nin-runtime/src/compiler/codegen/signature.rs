//! What each kind of function takes and returns.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, Signature, Type};
use cranelift_codegen::isa::CallConv;

use crate::compiler::abi;
use crate::compiler::kernel::{Export, Intrinsic, Kernel, Prepared};

/// The signature of a kernel's function. Tiles and transforms keep to a convention of their own.
pub(super) fn of(kernel: &Kernel, call_conv: CallConv, tile_call_conv: CallConv) -> Signature {
    match kernel {
        Kernel::Tile(_) => abi::pointers(tile_call_conv, 6),
        Kernel::Transform(_) => abi::pointers(tile_call_conv, 5),
        // The context, the first image of the chunk, the images of the chunk, and its offsets.
        Kernel::Block { .. } => abi::pointers(call_conv, 4),
        // The context, the first image of the chunk, the image in the chunk, the first row, the end of the rows, and its offsets.
        Kernel::Step { .. } => abi::pointers(call_conv, 6),
        // The context, the first strip and the end of the strips, counted from the owner's first, the function of the rule that their
        // weights follow or null, and its offsets.
        Kernel::Strips { .. } => abi::pointers(call_conv, 5),
        // The context, the first weight, rows, floats from one row to the next, columns, and the weights' coefficients.
        // The context, and its offsets.
        Kernel::Sums { .. } => abi::pointers(call_conv, 2),
        // The context, the images of the batch, and its offsets.
        Kernel::Gather { .. } | Kernel::Track { .. } => abi::pointers(call_conv, 3),
        Kernel::Follow { .. } => of_rule(call_conv),
        Kernel::Entry(_) => abi::entry_signature(call_conv),
        Kernel::Export(export) => of_export(call_conv, *export),
        Kernel::Intrinsic(intrinsic) => of_intrinsic(call_conv, *intrinsic),
        // Nobody calls it.
        Kernel::Offsets => abi::pointers(call_conv, 0),
    }
}

/// The signature of the functions of rules.
pub(super) fn of_rule(call_conv: CallConv) -> Signature {
    abi::pointers(call_conv, 6)
}

/// A type of C and what it is to the code generator.
pub(super) const POINTER: Type = I64;
pub(super) const SIZE: Type = I64;
pub(super) const INT: Type = I32;

/// The signature of a function of the interface.
fn of_export(call_conv: CallConv, export: Export) -> Signature {
    let (params, result): (&[Type], Option<Type>) = match export {
        // Images, results, their number, and memory to work in.
        Export::Forward(Prepared::Embedded) => (&[POINTER, POINTER, SIZE, POINTER], None),
        // The same with the prepared weights before the memory.
        Export::Forward(Prepared::Passed) => (&[POINTER, POINTER, SIZE, POINTER, POINTER], None),
        // The same with the state of a training in their place.
        Export::Forward(Prepared::State) => (&[POINTER, POINTER, SIZE, POINTER, POINTER], None),
        // Where each tensor lies, the prepared weights, and memory to work in.
        Export::Prepare => (&[POINTER, POINTER, POINTER], None),
        // The state of a training, where each tensor and each one's momentum lie, and memory to work in.
        Export::Load => (&[POINTER, POINTER, POINTER, POINTER], None),
        // The same without that memory.
        Export::Save => (&[POINTER, POINTER, POINTER], None),
        // The state, images, labels, their number, the step's settings, losses, hits, and memory to work in.
        Export::Step => {
            (&[POINTER, POINTER, POINTER, SIZE, POINTER, POINTER, POINTER, POINTER], Some(INT))
        }
        Export::Supported => (&[], Some(INT)),
        Export::Level => (&[], Some(I64)),
        Export::Size(_) => (&[], Some(SIZE)),
        Export::Constant(_) => (&[], Some(POINTER)),
        Export::ClassName => (&[SIZE], Some(POINTER)),
    };
    let mut signature = Signature::new(call_conv);
    signature.params = params.iter().copied().map(AbiParam::new).collect();
    signature.returns = result.into_iter().map(AbiParam::new).collect();
    signature
}

/// The signature of a function. All settings and answers are 64 bits wide.
fn of_intrinsic(call_conv: CallConv, intrinsic: Intrinsic) -> Signature {
    // The assembler's code takes its argument where System V has it, on Windows too.
    let call_conv = match call_conv {
        CallConv::WindowsFastcall => CallConv::SystemV,
        other => other,
    };
    let mut signature = Signature::new(call_conv);
    let (params, returns) = match intrinsic {
        Intrinsic::Flush | Intrinsic::Detect => (0, 1),
        Intrinsic::Restore => (1, 0),
    };
    signature.params = vec![AbiParam::new(I64); params];
    signature.returns = vec![AbiParam::new(I64); returns];
    signature
}
