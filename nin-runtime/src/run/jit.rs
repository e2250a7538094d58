//! Machine code in this process: mapping it, keeping it alive, calling it.
//!
//! Together with [`call`], the only unsafe code that touches generated code. Code memory is never writable and executable at
//! once, and lives as long as anything that can call into it.
#![allow(unsafe_code)]

pub(crate) mod call;
mod flush;
mod pages;

use std::sync::Mutex;

use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleError, default_libcall_names};

use crate::compiler::abi::{self, Context};
use crate::compiler::codegen::{MachineCode, Target};
use crate::compiler::kernel::{Entry, Kernel};
use crate::error::Error;
use pages::Pages;

/// The type of every entry.
type EntryFn = unsafe extern "C" fn(*const Context);

/// A program's machine code, mapped.
///
/// Invariant: `entries` point into memory that `module` owns; it is `Some` until drop.
pub(crate) struct CodeMemory {
    module: Option<Mutex<JITModule>>,
    entries: Vec<(Entry, EntryFn)>,
    symbols: Vec<Symbol>,
}

/// Where a function lies in this process while its program lives, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The address of its first byte.
    pub address: usize,
    /// Bytes.
    pub bytes: usize,
    /// What it is, such as `infer block 0 step 1`.
    pub name: String,
}

impl CodeMemory {
    /// Maps the functions and links their calls.
    ///
    /// # Errors
    /// [`Error::CodeMemory`] if the system gives no memory, [`Error::Execution`] if it lets no code in it be executed.
    pub(crate) fn link(code: &[MachineCode], target: &Target) -> Result<CodeMemory, Error> {
        let bytes: usize = code.iter().map(|function| function.bytes.len()).sum();
        // One contiguous reservation keeps calls within reach of each other; room for alignment between functions.
        let reserve = (bytes + 64 * code.len() + (1 << 20)).next_multiple_of(1 << 16);
        let no_memory = |reason: String| Error::CodeMemory { bytes: reserve, reason };
        let memory = Pages::reserve(reserve).map_err(|error| no_memory(error.to_string()))?;
        let mut builder = JITBuilder::with_isa(target.owned_isa(), default_libcall_names());
        builder.memory_provider(Box::new(memory));
        // Generated code names no outside symbol: nothing may be looked up in the process.
        builder.symbol_lookup_fn(Box::new(|_| None));
        let mut module = JITModule::new(builder);
        let linked = define(&mut module, code, target).map_err(no_memory).and_then(|ids| {
            let finished = module.finalize_definitions();
            finished.map_err(|error| Error::Execution { reason: reason(error) })?;
            Ok(ids)
        });
        let ids = match linked {
            Ok(ids) => ids,
            Err(error) => {
                // SAFETY: no function of the module was handed out, so none was or can be called.
                unsafe { module.free_memory() };
                return Err(error);
            }
        };
        let symbol = |(function, &id): (&MachineCode, &FuncId)| Symbol {
            address: module.get_finalized_function(id).addr(),
            bytes: function.bytes.len(),
            name: function.kernel.to_string(),
        };
        let symbols = code.iter().zip(&ids).map(symbol).collect();
        let entries = code.iter().zip(&ids).filter_map(|(function, &id)| match function.kernel {
            Kernel::Entry(entry) => Some((entry, module.get_finalized_function(id))),
            Kernel::Block { .. }
            | Kernel::Step { .. }
            | Kernel::Tile(_)
            | Kernel::Transform(_)
            | Kernel::Export(_)
            | Kernel::Strips { .. }
            | Kernel::Sums { .. }
            | Kernel::Gather { .. }
            | Kernel::Track { .. }
            | Kernel::Follow { .. }
            | Kernel::Intrinsic(_)
            | Kernel::Offsets => None,
        });
        let entries = entries
            .map(|(entry, address)| {
                // SAFETY: the address is that of a finalized function, which was generated with the signature of
                // `EntryFn` (`abi::entry_signature`) and the platform's default calling convention.
                let function = unsafe { std::mem::transmute::<*const u8, EntryFn>(address) };
                (entry, function)
            })
            .collect();
        Ok(CodeMemory { module: Some(Mutex::new(module)), entries, symbols })
    }

    /// Bytes of machine code.
    pub(crate) fn bytes(&self) -> usize {
        self.symbols.iter().map(|symbol| symbol.bytes).sum()
    }

    /// Every function, in the order of their numbers.
    pub(crate) fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// Runs an entry on this thread, with denormals flushed to zero meanwhile.
    ///
    /// # Safety
    /// The context's buffers are sized as the plan says from which the code was generated, its range lies within them, and
    /// during the call nobody else writes what it reads, or touches what it writes.
    unsafe fn call(&self, entry: Entry, context: &Context) {
        let found = self.entries.iter().find(|(name, _)| *name == entry);
        let (_, function) = found.expect("the program has this entry (a bug in nin)");
        let _flushing = flush::Flush::to_zero();
        // SAFETY: the pointer is valid while `self` lives; the rest is the caller's promise.
        unsafe { function(context) };
    }
}

/// Declares and defines every function; their numbers in the module are their positions in `code`.
fn define(
    module: &mut JITModule,
    code: &[MachineCode],
    target: &Target,
) -> Result<Vec<FuncId>, String> {
    let signature = abi::entry_signature(target.call_conv());
    let mut ids = Vec::with_capacity(code.len());
    for (number, _) in code.iter().enumerate() {
        // The module only needs names that differ; signatures matter to it for imports alone.
        let declared =
            module.declare_function(&format!("nin_{number}"), Linkage::Local, &signature);
        let id = declared.map_err(reason)?;
        assert_eq!(
            id.as_u32() as usize,
            number,
            "functions are numbered as declared (a bug in nin)"
        );
        ids.push(id);
    }
    for (function, &id) in code.iter().zip(&ids) {
        let defined =
            module.define_function_bytes(id, function.align, &function.bytes, &function.relocs);
        defined.map_err(reason)?;
    }
    Ok(ids)
}

/// What the system said, or else the module.
fn reason(error: ModuleError) -> String {
    match error {
        ModuleError::Allocation { err } => err.to_string(),
        other => other.to_string(),
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            let module = module.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            // SAFETY: calls borrow `self`, so none is running; the pointers die with `self`.
            unsafe { module.free_memory() };
        }
    }
}
